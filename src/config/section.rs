//! A table of the file, read by asking for its keys.
//!
//! Serde stops at the first unknown key or wrong type; here everything is reported. What is asked for
//! is known; when the section is dropped, whatever was not asked for is reported as unknown. A value
//! that cannot be read is reported and replaced by the default, so that reading goes on.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Complaint, Findings, Key, Problem};
use crate::records::nearest;

/// One configuration file: its name for messages, and its text to find lines in.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// The tenant whose own file this is; the main file has none.
    pub(super) tenant: Option<String>,
}

impl Source {
    /// A file of which nothing is read yet.
    pub(super) fn named(name: &str) -> Source {
        Source { name: name.to_owned(), text: String::new(), tenant: None }
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        let before = self.text.as_bytes().iter().take(byte);
        before.filter(|b| **b == b'\n').count() + 1
    }

    /// A problem of the whole file.
    pub(super) fn problem(&self, line: Option<usize>, why: impl Into<String>) -> Problem {
        Problem {
            file: self.name.clone(),
            line,
            key_path: String::new(),
            found: None,
            why: why.into(),
            allowed: None,
            hint: None,
        }
    }
}

/// A value as it stands in the file.
pub(super) type Item<'a> = Spanned<DeValue<'a>>;

/// Longest piece of a value that a message repeats, in characters.
const FOUND_MAX_CHARS: usize = 80;

/// One table. Dropping it reports the keys nobody asked for.
pub(super) struct Section<'a> {
    source: &'a Source,
    findings: &'a Findings,
    path: String,
    /// `None` where the file does not have the table: every key then has its default.
    table: Option<&'a DeTable<'a>>,
    line: Option<usize>,
    asked: RefCell<Vec<&'static str>>,
    /// Set where keys that nobody asked for are no problem.
    open: Cell<bool>,
}

impl<'a> Section<'a> {
    /// The top table of a file.
    pub(super) fn top(
        source: &'a Source,
        findings: &'a Findings,
        table: &'a DeTable<'a>,
    ) -> Section<'a> {
        let path = String::new();
        Section {
            source,
            findings,
            path,
            table: Some(table),
            line: None,
            asked: RefCell::default(),
            open: Cell::new(false),
        }
    }

    /// Whether the file has this table.
    pub(super) fn is_given(&self) -> bool {
        self.table.is_some()
    }

    /// The same table read once more, for its values only: what it holds was reported before.
    pub(super) fn again<'b>(&self, unheard: &'b Findings) -> Section<'b>
    where
        'a: 'b,
    {
        Section {
            source: self.source,
            findings: unheard,
            path: self.path.clone(),
            table: self.table,
            line: self.line,
            asked: RefCell::default(),
            open: Cell::new(true),
        }
    }

    /// Does not report keys that nobody asks for.
    pub(super) fn set_aside(&self) {
        self.open.set(true);
    }

    /// The value of `key`, or `default`.
    pub(super) fn value<T: Debug>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Item<'a>) -> Result<T, Complaint>,
    ) -> T {
        let item = self.ask(key);
        let value = item.and_then(|item| self.report(key, item, read(item)));
        let value = value.unwrap_or(default);
        let in_force = format!("{value:?}");
        self.record(key, item.is_some(), in_force);
        value
    }

    /// The value of a key that has no default of its own.
    pub(super) fn optional<T: Debug>(
        &self,
        key: &'static str,
        fallback: Option<T>,
        read: impl FnOnce(&Item<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        self.value(key, fallback, |item| read(item).map(Some))
    }

    /// The value of a key that must be there; `None` once its absence or its value was reported.
    pub(super) fn required<T: Debug>(
        &self,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&Item<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        if !self.has(key) {
            self.complain(key, Complaint::new("is missing").allowed(allowed));
        }
        self.optional(key, None, read)
    }

    /// A key of the contract that this version does not act on: only its default may stand.
    pub(super) fn not_yet(&self, key: &'static str, default: Option<&str>) {
        let item = self.ask(key);
        if let Some(default) = default {
            self.record(key, item.is_some(), default.to_owned());
        }
        let Some(item) = item else { return };
        if default.is_none_or(|default| plain(item.get_ref()) != default) {
            let mut complaint = Complaint::not_yet();
            complaint.allowed = default.map(|default| format!("{default}, or left out"));
            complaint.hint = default.is_none().then(|| "leave the key out".to_owned());
            self.report::<()>(key, item, Err(complaint));
        }
    }

    /// A table within; where the file has none, one without keys.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let item = self.ask(key);
        let path = self.path_of(key);
        self.within(path, item, key)
    }

    /// A table within, whose keys are names of the operator's choice, each naming a table, in the
    /// order of the file.
    pub(super) fn named_sections(&self, key: &'static str) -> Vec<(String, Section<'a>)> {
        let named = self.named(key);
        let within = |(name, item): (String, &'a Item<'a>)| {
            let path = format!("{}.{}", self.path_of(key), shown_key(&name));
            let section = self.within(path, Some(item), key);
            (name, section)
        };
        named.into_iter().map(within).collect()
    }

    /// A table within, whose keys are names of the operator's choice, in the order of the file.
    pub(super) fn named(&self, key: &'static str) -> Vec<(String, &'a Item<'a>)> {
        let open = self.section(key);
        open.set_aside();
        let mut entries: Vec<_> = open.table.iter().flat_map(|table| table.iter()).collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        entries.into_iter().map(|(name, item)| (name.get_ref().to_string(), item)).collect()
    }

    /// Reads every value of [`Section::named`], leaving out those that cannot be read.
    pub(super) fn named_values<T: Debug>(
        &self,
        key: &'static str,
        read: impl Fn(&str, &Item<'a>) -> Result<T, Complaint>,
    ) -> Vec<(String, T)> {
        let mut values = Vec::new();
        for (name, item) in self.named(key) {
            let below = format!("{key}.{}", shown_key(&name));
            if let Some(value) = self.report(&below, item, read(&name, item)) {
                values.push((name, value));
            }
        }
        let in_force = format!("{values:?}");
        self.record(key, self.has(key), in_force);
        values
    }

    /// Whether the file gives the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Reports a problem with the value of `key`, or with its absence.
    pub(super) fn complain(&self, key: &str, complaint: Complaint) {
        self.findings.problem(self.problem_at(key, complaint));
    }

    /// How many problems have been reported so far, here and elsewhere.
    pub(super) fn problems(&self) -> usize {
        self.findings.problems.borrow().len()
    }

    /// Reports something odd that does not keep the program from starting.
    pub(super) fn warn(&self, key: &str, complaint: Complaint) {
        self.findings.warning(self.problem_at(key, complaint));
    }

    fn problem_at(&self, key: &str, complaint: Complaint) -> Problem {
        match self.find(key) {
            Some((line, item)) => self.problem(key, Some(line), Some(item), complaint),
            None => self.problem(key, self.line, None, complaint),
        }
    }

    /// Keys of the main file are kept, to know what a reload changes and what the example lacks.
    fn record(&self, key: &str, given: bool, in_force: String) {
        if self.source.tenant.is_none() {
            self.findings.key(self.path_of(key), Key { given, in_force });
        }
    }

    fn ask(&self, key: &'static str) -> Option<&'a Item<'a>> {
        self.asked.borrow_mut().push(key);
        self.find(key).map(|(_, item)| item)
    }

    fn find(&self, key: &str) -> Option<(usize, &'a Item<'a>)> {
        let (name, item) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((self.source.line(name.span().start), item))
    }

    fn within(&self, path: String, item: Option<&'a Item<'a>>, key: &str) -> Section<'a> {
        let table = item.and_then(|item| {
            let complaint = || Complaint::must_be("a table");
            let table = item.get_ref().as_table();
            if table.is_none() {
                self.report::<()>(key, item, Err(complaint()));
            }
            table
        });
        Section {
            source: self.source,
            findings: self.findings,
            path,
            table,
            line: item.map(|item| self.source.line(item.span().start)),
            asked: RefCell::default(),
            open: Cell::new(false),
        }
    }

    fn report<T>(&self, key: &str, item: &Item<'a>, read: Result<T, Complaint>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(complaint) => {
                let line = self.source.line(item.span().start);
                let problem = self.problem(key, Some(line), Some(item), complaint);
                self.findings.problem(problem);
                None
            }
        }
    }

    fn problem(
        &self,
        key: &str,
        line: Option<usize>,
        item: Option<&Item<'a>>,
        complaint: Complaint,
    ) -> Problem {
        let Complaint { why, allowed, hint, show, element } = complaint;
        let list = item.and_then(|item| item.get_ref().as_array());
        let of_list = element.and_then(|element| list?.get(element));
        let line = of_list.map(|item| self.source.line(item.span().start)).or(line);
        let item = of_list.or(item);
        let place = element.map_or_else(String::new, |element| format!("[{element}]"));
        Problem {
            file: self.source.name.clone(),
            line,
            key_path: format!("{}{place}", self.path_of(key)),
            found: item.filter(|_| show).and_then(|item| shown(item.get_ref())),
            why,
            allowed,
            hint,
        }
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let Some(table) = self.table.filter(|_| !self.open.get()) else { return };
        let asked = self.asked.borrow();
        for (name, _) in table {
            let key: &str = name.get_ref();
            if asked.contains(&key) {
                continue;
            }
            let mut complaint = Complaint::new("is not a known key").secret();
            complaint.hint = match meant(key, &asked) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None => Some(format!("known here: {}", known(&asked))),
            };
            let line = self.source.line(name.span().start);
            let problem = self.problem(&shown_key(key), Some(line), None, complaint);
            self.findings.problem(problem);
        }
    }
}

fn known(asked: &[&str]) -> String {
    let mut keys: Vec<&str> = asked.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys.join(", ")
}

/// The known word that was probably meant: a few letters off, or longer or shorter at its end.
pub(super) fn meant<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let begins = |known: &&&str| {
        known.len().min(word.len()) >= 4 && (known.starts_with(word) || word.starts_with(**known))
    };
    let begun = || known.iter().find(begins).copied();
    nearest(word, known.iter().copied()).or_else(begun)
}

/// A key as it would have to be written in the file.
fn shown_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") }
}

/// The value for a message; tables and lists show only what they are.
fn shown(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) if text.chars().count() > FOUND_MAX_CHARS => {
            let cut: String = text.chars().take(FOUND_MAX_CHARS).collect();
            format!("{cut:?}…")
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Array(_) => "the list".to_owned(),
        DeValue::Table(_) => "the table".to_owned(),
        other => plain(other),
    })
}

/// The value as plain text, to compare or to show.
pub(super) fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) if items.is_empty() => "[]".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
