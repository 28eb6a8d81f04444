//! One spelling for a name, wherever people write it.

/// The name of a column or placeholder: trimmed, lower case, space and hyphen as underscore.
pub fn normalise_name(name: &str) -> String {
    let underscore = |c: char| if matches!(c, ' ' | '-') || c.is_control() { '_' } else { c };
    let seen = |c: &char| !is_invisible(*c);
    let trimmed = name.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    trimmed.chars().filter(seen).map(underscore).flat_map(char::to_lowercase).collect()
}

/// Byte order marks, zero widths and marks of direction: what comes along when text is copied.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
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
            ("\u{feff}phone", "phone"),
            ("\u{200e} pho\u{200b}ne ", "phone"),
            ("x_order\n number", "x_order__number"),
            ("x_\u{1b}[31m", "x__[31m"),
        ] {
            assert_eq!(normalise_name(given), want);
        }
    }
}
