//! One spelling for a name, wherever people write it.

/// The name of a column or placeholder: trimmed, lower case, space and hyphen as underscore.
pub fn normalise_name(name: &str) -> String {
    name.trim()
        .chars()
        .map(|c| if c == ' ' || c == '-' { '_' } else { c })
        .flat_map(char::to_lowercase)
        .collect()
}

/// Words that make a run of words an expression instead of a name with blanks in it.
const OPERATORS: &[&str] = &["and", "or", "not", "if", "else", "in", "is", "-"];
/// Words that are values of the language.
const CONSTANTS: &[&str] = &["true", "false", "none", "loop"];

/// The normalised name, where the head of a placeholder is a name and no expression.
pub(super) fn placeholder_name(head: &str) -> Option<String> {
    let head = head.trim();
    let first = head.chars().next()?;
    if !(first.is_alphanumeric() || first == '_') {
        return None;
    }
    if !head.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ' ' | '-')) {
        return None;
    }
    if head.split(' ').any(|word| OPERATORS.contains(&word)) {
        return None;
    }
    let name = normalise_name(head);
    (!CONSTANTS.contains(&name.as_str())).then_some(name)
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

    #[test]
    fn expressions_are_not_names() {
        for expression in ["a - b", "x if y else z", "a.b", "1 + 1", "'x'", "-a", "true", "f(x)"] {
            assert_eq!(placeholder_name(expression), None, "{expression}");
        }
        assert_eq!(placeholder_name(" First Name ").as_deref(), Some("first_name"));
    }
}
