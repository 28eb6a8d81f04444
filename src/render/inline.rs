//! What a row's own text may do.
//!
//! A template of the operator is trusted with the whole language. A row's text comes from outside, and a
//! few bytes of it could ask for gigabytes (`{{ "a" * 99999999 }}`) long before any cap on the output is
//! reached. So it may name variables, choose with `if`, and use filters that never make text much longer.

use super::scan::{end_of_tag, next_tag, words};
use super::template::TemplateError;

/// Filters whose result is about as long as what they are given.
const FILTERS: &[&str] = &[
    "abs",
    "capitalize",
    "d",
    "default",
    "e",
    "escape",
    "first",
    "float",
    "int",
    "last",
    "length",
    "lower",
    "round",
    "title",
    "trim",
    "upper",
];
const STATEMENTS: &[&str] = &["if", "elif", "else", "endif"];
/// The engine reads a tag, and a chain of `elif`, by calling itself: a cell full of minus signs would use up
/// the stack, and the process would end. A tag of a row's own text has at most so many bytes,
const TAG_MAX_BYTES: usize = 1000;
/// and a text so many tags.
const TAGS_MAX: usize = 500;
const PROBLEM: &str =
    "a row's own text may use names, filters such as upper or default, and if, but nothing else";

/// Refuses whatever is not on the lists.
pub(super) fn check(text: &str) -> Result<(), TemplateError> {
    let (mut rest, mut tags) = (text, 0);
    while let Some(start) = next_tag(rest) {
        let tag = &rest[start..];
        let line = || text[..text.len() - tag.len()].matches('\n').count() + 1;
        let end = end_of_tag(tag).ok_or_else(|| TemplateError::Unclosed { line: line() })?;
        let refused = |problem: String| Err(TemplateError::Syntax { line: line(), problem });
        tags += 1;
        if end > TAG_MAX_BYTES {
            return refused(format!(
                "a tag in a row's own text has more than {TAG_MAX_BYTES} bytes"
            ));
        }
        if tags > TAGS_MAX {
            return refused(format!("a row's own text has more than {TAGS_MAX} tags"));
        }
        if !harmless(&tag[..end]) {
            return refused(PROBLEM.to_owned());
        }
        rest = &tag[end..];
    }
    Ok(())
}

fn harmless(tag: &str) -> bool {
    if tag.starts_with("{#") {
        return true;
    }
    let inside = without_quoted(&tag[2..tag.len() - 2]);
    if tag.starts_with("{%") && !words(&inside).next().is_some_and(|w| STATEMENTS.contains(&w)) {
        return false;
    }
    if inside.contains(['*', '~', '+', '[', '{']) {
        return false;
    }
    // Every call is a filter's, and every filter is on the list.
    let calls = inside.match_indices('(').filter_map(|(at, _)| words(&inside[..at]).last());
    let filters = inside.split('|').skip(1).map(|after| words(after).next().unwrap_or_default());
    let named_before_bracket =
        |at: usize| inside[..at].trim_end().ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let is_call = inside.match_indices('(').map(|(at, _)| named_before_bracket(at));
    filters.chain(calls.zip(is_call).filter(|(_, call)| *call).map(|(word, _)| word)).all(|word| {
        FILTERS.contains(&word)
            || matches!(word, "if" | "elif" | "and" | "or" | "not" | "in" | "is")
    })
}

/// The tag with its texts in quotes left out.
fn without_quoted(inside: &str) -> String {
    let mut outside = String::with_capacity(inside.len());
    let mut quote = None;
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match quote {
            Some(_) if c == '\\' => {
                chars.next();
            }
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => outside.push(c),
        }
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{Template, TemplateSource};

    #[test]
    fn a_rows_own_text_may_name_choose_and_polish() {
        for text in [
            "Dear {{ First Name }}, {{1}}",
            "{{ name | default('friend (*~+[{)') | upper }}",
            "{% if vip and (not late) %}{{ vip }}{% elif x == 'a' %}b{% else %}c{% endif %}",
            "{{ nobody if nobody else 'you' }} {# note #}",
            "{{ amount | round(2) }} {{ a - b }}",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_rows_own_text_cannot_ask_for_memory_or_the_engines_inside() {
        for text in [
            "{{ 'a' * 99999999 }}",
            "{% set x = 'a' %}",
            "{% for a in range(99) %}{% endfor %}",
            "{{ a ~ a }}",
            "{{ debug() }}",
            "{{ range (9) }}",
            "{{ a | replace('', a) }}",
            "{{ a | indent(99999999) }}",
            "{{ a|upper|center(9) }}",
            "{{ a.b() }}",
            "{{ [a, a] }}",
            "{% if a %}{% set b = a %}{% endif %}",
        ] {
            assert!(matches!(check(text), Err(TemplateError::Syntax { line: 1, .. })), "{text}");
        }
        assert_eq!(check("\n{{ a"), Err(TemplateError::Unclosed { line: 2 }));
    }

    /// A test's thread has the stack of the threads that read files: what is let through must fit.
    #[test]
    fn a_text_that_would_use_up_the_stack_is_refused() {
        for (before, deep, behind) in [
            ("{{ ", "-", "1 }}"),
            ("{{ ", "- ", "1 }}"),
            ("{{ ", "not ", "1 }}"),
            ("{{ ", "1 if a else ", "1 }}"),
            ("{{ 1", " == 1", " }}"),
            ("{{ 1", " and 1", " }}"),
            ("{{ 1", " in 1", " }}"),
            ("{{ 1", "//1", " }}"),
            ("{{ 1", "-1", " }}"),
            ("{{ 1", " is odd", " }}"),
            ("{{ a", "|upper", " }}"),
            ("{% if a %}", "{% elif a %}", "{% endif %}"),
            ("", "{{ a if a else 1 }}", ""),
        ] {
            let text = |times: usize| format!("{before}{}{behind}", deep.repeat(times));
            let cell = text((60 << 10) / deep.len());
            assert!(matches!(check(&cell), Err(TemplateError::Syntax { .. })), "{deep}");
            let longest = (1..=TAG_MAX_BYTES).rev().map(text).find(|text| check(text).is_ok());
            let longest = longest.unwrap();
            let text = TemplateSource { text: longest, ..TemplateSource::default() };
            // Whether it is a template or not: what counts is that an answer comes.
            if let Ok(template) = Template::compile_inline(text) {
                let _any = template.render(&|_| Some("1"));
            }
        }
    }
}
