//! One spelling for a name, wherever people write it.

/// The name of a column or placeholder: trimmed, lower case, space and hyphen as underscore.
pub fn normalise_name(name: &str) -> String {
    let underscore = |c: char| if matches!(c, ' ' | '-') { '_' } else { c };
    name.trim().chars().map(underscore).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_like_headers() {
        for (given, want) in [
            (" First Name ", "first_name"),
            ("first-name", "first_name"),
            ("STRASSE", "strasse"),
            ("Größe", "größe"),
        ] {
            assert_eq!(normalise_name(given), want);
        }
    }
}
