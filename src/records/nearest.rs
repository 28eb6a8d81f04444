//! "Did you mean": the candidate with the smallest edit distance.

/// Longer words are not compared: a typo is found in short names, and the work stays bounded.
const WORD_MAX_CHARS: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be a slip of the pen: at most one edit
/// in three characters, three at the most. Case does not count.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(WORD_MAX_CHARS + 1).collect();
    if word.is_empty() || word.len() > WORD_MAX_CHARS {
        return None;
    }
    let allowed = (word.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A known word, as a hint asks for it.
pub(super) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// Optimal string alignment distance: insert, delete, replace, or swap two neighbours.
fn distance(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().take(WORD_MAX_CHARS + 1).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replace = last[j] + usize::from(a != b);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_find_their_word() {
        let names = ["phone", "email", "template", "text"];
        for (word, found) in [
            ("phoen", Some("phone")),
            ("E-Mial", Some("email")),
            ("tempalte", Some("template")),
            ("tetx", Some("text")),
            ("kdnr", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), found, "{word}");
        }
    }
}
