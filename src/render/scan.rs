//! Cuts a template's text into literals and placeholders.
//!
//! Where every placeholder is a name, with or without a default, the segments are the whole template.
//! Where one is not, the text is rewritten with normalised names for the engine.

use std::collections::BTreeSet;

use super::name::placeholder_name;
use super::template::TemplateError;
use crate::model::normalise_name;

/// One piece of a simple template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    Value { name: String, default: Option<String> },
}

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) segments: Vec<Segment>,
    /// Set where segments do not suffice.
    pub(super) complex: Option<Complex>,
}

/// A text for the engine.
#[derive(Debug, Default)]
pub(super) struct Complex {
    pub(super) source: String,
    /// Names that are no identifiers of the language; number `n` is written `dropchute_value_n`.
    pub(super) aliases: Vec<String>,
    /// Names whose absence the template handles: they have a default or stand in a tag's test.
    pub(super) optional: BTreeSet<String>,
}

pub(super) const ALIAS_PREFIX: &str = "dropchute_value_";

pub(super) fn scan(text: &str, params: &[String]) -> Result<Scanned, TemplateError> {
    let mut scan = Scan { params, segments: Vec::new(), complex: Complex::default(), simple: true };
    let mut rest = text;
    while let Some(start) = next_tag(rest) {
        scan.literal(&rest[..start]);
        let tag = &rest[start..];
        let line = || text[..text.len() - tag.len()].matches('\n').count() + 1;
        let end = end_of_tag(tag).ok_or_else(|| TemplateError::Unclosed { line: line() })?;
        match &tag[..2] {
            "{{" => scan.placeholder(&tag[2..end - 2])?,
            _ if refers_to_others(&tag[..end]) => {
                let problem = "a template cannot refer to other templates".to_owned();
                return Err(TemplateError::Syntax { line: line(), problem });
            }
            _ => scan.other(&tag[..end]),
        }
        rest = &tag[end..];
    }
    scan.literal(rest);
    let complex = (!scan.simple).then_some(scan.complex);
    Ok(Scanned { segments: scan.segments, complex })
}

struct Scan<'a> {
    params: &'a [String],
    segments: Vec<Segment>,
    complex: Complex,
    simple: bool,
}

impl Scan<'_> {
    fn literal(&mut self, text: &str) {
        if !text.is_empty() {
            self.segments.push(Segment::Literal(text.to_owned()));
            self.complex.source.push_str(text);
        }
    }

    fn placeholder(&mut self, inside: &str) -> Result<(), TemplateError> {
        let (head, filters) = split_filters(inside);
        let Some(written) = placeholder_name(head) else {
            self.simple = false;
            if words(inside).any(|word| word == "if") {
                self.complex.optional.extend(words(inside).map(normalise_name));
            }
            self.push_source(inside);
            return Ok(());
        };
        let name = self.mapped(written)?;
        let default = filters.map(simple_default);
        if filters.is_some_and(|filters| after_default(filters).is_some()) {
            self.complex.optional.insert(name.clone());
        }
        let identifier = self.identifier(&name);
        self.push_source(&match filters {
            Some(filters) => format!(" {identifier} |{filters}"),
            None => format!(" {identifier} "),
        });
        match default {
            Some(None) => self.simple = false,
            Some(default) => self.segments.push(Segment::Value { name, default }),
            None => self.segments.push(Segment::Value { name, default: None }),
        }
        Ok(())
    }

    /// A `{% tag %}` or a comment.
    fn other(&mut self, tag: &str) {
        self.simple = false;
        if tag.starts_with("{%") {
            self.complex.optional.extend(words(tag).map(normalise_name));
        }
        self.complex.source.push_str(tag);
    }

    fn push_source(&mut self, inside: &str) {
        self.complex.source.push_str("{{");
        self.complex.source.push_str(inside);
        self.complex.source.push_str("}}");
    }

    /// `1` means the template's first param.
    fn mapped(&self, name: String) -> Result<String, TemplateError> {
        if !name.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(name);
        }
        let position: usize = name.parse().unwrap_or(0);
        let param = position.checked_sub(1).and_then(|index| self.params.get(index));
        param
            .map(|param| normalise_name(param))
            .ok_or(TemplateError::ParamOutOfRange { position: name, params: self.params.len() })
    }

    fn identifier(&mut self, name: &str) -> String {
        let ascii = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if ascii && !name.starts_with(|c: char| c.is_ascii_digit()) {
            return name.to_owned();
        }
        let known = self.complex.aliases.iter().position(|alias| alias == name);
        let index = known.unwrap_or_else(|| {
            self.complex.aliases.push(name.to_owned());
            self.complex.aliases.len() - 1
        });
        format!("{ALIAS_PREFIX}{index}")
    }
}

pub(super) fn next_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes.windows(2).position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// The length of the tag that `text` begins with; quotes may hold the closing marks.
pub(super) fn end_of_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let closing: &[u8; 2] = match bytes[1] {
        b'{' => b"}}",
        b'%' => b"%}",
        _ => return text.find("#}").map(|at| at + 2),
    };
    let mut quote = None;
    let mut at = 2;
    while at < bytes.len() {
        let byte = bytes[at];
        match quote {
            Some(_) if byte == b'\\' => at += 1,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None if bytes[at..].starts_with(closing) => return Some(at + 2),
            None => {}
        }
        at += 1;
    }
    None
}

/// The head and, after the first `|`, the filters. A head that is a name holds no quotes.
fn split_filters(inside: &str) -> (&str, Option<&str>) {
    match inside.split_once('|') {
        Some((head, filters)) => (head, Some(filters)),
        None => (inside, None),
    }
}

/// There is no loader, so these would fail for every row instead of once.
fn refers_to_others(tag: &str) -> bool {
    tag.starts_with("{%")
        && words(tag)
            .next()
            .is_some_and(|word| matches!(word, "include" | "import" | "from" | "extends"))
}

/// What follows `default`, or `d` for short.
fn after_default(filters: &str) -> Option<&str> {
    let filters = filters.trim();
    let name_ends =
        filters.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(filters.len());
    let (name, rest) = filters.split_at(name_ends);
    matches!(name, "default" | "d").then_some(rest)
}

/// The text of `default("text")` when that is all there is.
fn simple_default(filters: &str) -> Option<String> {
    let call = after_default(filters)?;
    let quoted = call.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = quoted.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let text = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    (!text.contains(quote) && !text.contains('\\')).then(|| text.to_owned())
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}
