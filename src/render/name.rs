//! What in a placeholder is a name.

use crate::model::normalise_name;

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
    fn expressions_are_not_names() {
        for expression in ["a - b", "x if y else z", "a.b", "1 + 1", "'x'", "-a", "true", "f(x)"] {
            assert_eq!(placeholder_name(expression), None, "{expression}");
        }
        assert_eq!(placeholder_name(" First Name ").as_deref(), Some("first_name"));
    }
}
