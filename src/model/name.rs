//! One spelling for a name, wherever people write it.

/// The name of a column or placeholder: trimmed, lower case, space and hyphen as underscore. A byte order
/// mark that another program left before it is trimmed, too.
pub fn normalise_name(name: &str) -> String {
    let underscore = |c: char| if matches!(c, ' ' | '-') { '_' } else { c };
    let is_around = |c: char| c.is_whitespace() || c == '\u{feff}';
    name.trim_matches(is_around).chars().map(underscore).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_like_headers() {
        for (given, want) in [
            (" First Name ", "first_name"),
            ("first-name", "first_name"),
            ("\u{feff} e-mail", "e_mail"),
            ("STRASSE", "strasse"),
            ("Größe", "größe"),
        ] {
            assert_eq!(normalise_name(given), want);
        }
    }
}
