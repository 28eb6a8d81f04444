//! Patterns of file names: `*`, `?`, and sets such as `[a-z]` or `[!0-9]`.

/// Whether a name holds anything that stands for other letters.
pub(super) fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Whether `name` fits. Takes time in proportion to the two lengths, whatever they hold.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when the star has to take one byte more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(bytes) = step(&pattern[p..], name[n]) {
            p += bytes;
            n += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (p, n) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of the pattern take this byte of the name.
fn step(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match set(pattern) {
            Some((length, negated, inside)) => (within(inside, byte) != negated).then_some(length),
            // A bracket that is never closed is a letter.
            None => (byte == b'[').then_some(1),
        },
        letter => (letter == byte).then_some(1),
    }
}

/// The length of the set at the beginning, whether it is negated, and what is between its brackets.
fn set(pattern: &[u8]) -> Option<(usize, bool, &[u8])> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    // `[]a]` holds a bracket: the first one does not close.
    let close = pattern.iter().skip(start + 1).position(|byte| *byte == b']')? + start + 1;
    Some((close + 1, negated, &pattern[start..close]))
}

fn within(mut inside: &[u8], byte: u8) -> bool {
    while let Some((first, rest)) = inside.split_first() {
        let last = match rest {
            [b'-', last, ..] => {
                inside = &rest[2..];
                last
            }
            _ => {
                inside = rest;
                first
            }
        };
        if (*first..=*last).contains(&byte) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        let rows: &[(&str, &str, bool)] = &[
            ("*", "", true),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.tmp", false),
            ("a*b*c", "aXXbYYbc", true),
            ("a*b*c", "aXXcYYb", false),
            ("?", "", false),
            ("??", "ab", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[^a]", "a", false),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[", "[", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("", "", true),
            ("", "a", false),
            ("***", "abc", true),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), *expected, "{pattern} {name}");
        }
        assert!(is_pattern(b"a[") && !is_pattern(b"a]"));
    }

    #[test]
    fn a_nasty_pattern_takes_no_time() {
        assert!(!fits(&b"*a".repeat(100), &[b'a'; 99]));
        assert!(!fits(&[&b"*a".repeat(100)[..], b"b"].concat(), &[b'a'; 255]));
    }
}
