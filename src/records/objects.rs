//! One JSON object a line: the names in it are columns, its values are cells.
//!
//! The columns of a file are all the names that its lines use, in the order they first come. Numbers
//! stay as they are written, `null` is a blank cell, and what would not fit into a cell is refused.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Read};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::cursor::{Cursor, Found};
use super::layout::standard_name;
use super::problem::ReadError;
use super::settings::ReadSettings;
use super::source::Source;

/// Spellings of names that are remembered, for each column there may be.
const SPELLINGS_A_COLUMN: usize = 8;
/// Longer names are looked up anew in each line.
const SPELLING_MAX_BYTES: usize = 256;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no object; it ends in the middle of one where `cut` says so.
    Malformed { message: String, cut: bool },
    /// The value at this position is a list or an object.
    Nested(usize),
    /// The name of this position stands in the object twice.
    Twice(usize),
    /// A name that was not there when the columns were looked for.
    Unknown(String),
}

/// The columns of one file, and the values of one line.
pub(super) struct Objects {
    /// Own name to standard name, as the profile has it.
    mapping: Vec<(String, String)>,
    /// Standard name to position.
    columns: HashMap<String, usize>,
    /// Names as they were met, to positions; `None` is a name that is blank.
    spellings: HashMap<String, Option<usize>>,
    values: Vec<String>,
    given: Vec<bool>,
}

impl Objects {
    pub(super) fn new(names: &[String], settings: &ReadSettings) -> Objects {
        let standard = |name: &String| meaning(name, &settings.columns);
        Objects {
            mapping: settings.columns.clone(),
            columns: names.iter().map(standard).zip(0..).collect(),
            spellings: HashMap::new(),
            values: vec![String::new(); names.len()],
            given: vec![false; names.len()],
        }
    }

    /// Reads one line into `values`. Where a value cannot be a cell, the others are still read.
    pub(super) fn read(&mut self, line: &str) -> Result<(), Fault> {
        self.values.iter_mut().for_each(String::clear);
        self.given.fill(false);
        let mut fault = None;
        for (name, value) in fields(line).map_err(|error| malformed(&error))? {
            let position = match self.position(&name) {
                Ok(Some(position)) => position,
                Ok(None) => continue,
                Err(unknown) => {
                    fault.get_or_insert(unknown);
                    continue;
                }
            };
            if std::mem::replace(&mut self.given[position], true) {
                fault.get_or_insert(Fault::Twice(position));
                continue;
            }
            match set(&mut self.values[position], value.get()) {
                Ok(true) => {}
                Ok(false) => {
                    fault.get_or_insert(Fault::Nested(position));
                }
                Err(error) => {
                    let message = format!("the text of {name:?} cannot be read: {}", what(&error));
                    return Err(Fault::Malformed { message, cut: false });
                }
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// The values of the line that was read last, one a column.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    fn position(&mut self, name: &str) -> Result<Option<usize>, Fault> {
        if let Some(position) = self.spellings.get(name) {
            return Ok(*position);
        }
        let standard = meaning(name, &self.mapping);
        let position = match self.columns.get(&standard) {
            Some(position) => Some(*position),
            None if standard.is_empty() => None,
            None => return Err(Fault::Unknown(name.to_owned())),
        };
        let most = self.columns.len() * SPELLINGS_A_COLUMN;
        if self.spellings.len() < most && name.len() <= SPELLING_MAX_BYTES {
            self.spellings.insert(name.to_owned(), position);
        }
        Ok(position)
    }
}

/// The names that the objects of a file use. A fault of the file ends the search, as do more names than
/// there may be: whoever reads the file meets it again.
pub(super) fn columns(text: impl Read, settings: &ReadSettings) -> io::Result<Vec<String>> {
    let mut cursor = Cursor::new(Source::new(text), settings.form, &settings.limits);
    cursor.source.begin(settings.declared())?;
    cursor.cut_by_lines();
    let (mut names, mut bytes) = (Vec::new(), 0);
    // What names mean, and how they were spelled: a mapping may swap the two.
    let (mut meanings, mut spellings) = (HashSet::new(), HashSet::new());
    loop {
        let found = match cursor.find() {
            Ok(found) => found,
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::Refused(_)) => return Ok(names),
        };
        match found {
            Found::End => return Ok(names),
            Found::Record { length, .. } => {
                let line = cursor.source.text_of(&cursor.source.window()[..length]);
                for (name, _) in fields(&line).unwrap_or_default() {
                    if spellings.contains(name.as_ref()) {
                        continue;
                    }
                    let standard = meaning(&name, &settings.columns);
                    if !standard.is_empty() && meanings.insert(standard) {
                        let own = without_nul(name.trim()).into_owned();
                        bytes += own.len();
                        names.push(own);
                    }
                    let most = settings.limits.columns_max * SPELLINGS_A_COLUMN;
                    if spellings.len() < most && name.len() <= SPELLING_MAX_BYTES {
                        spellings.insert(name.into_owned());
                    }
                }
                cursor.pass(length);
            }
            Found::TooLong => match cursor.skip(|_| Ok(())) {
                Err(ReadError::Io(error)) => return Err(error),
                Err(ReadError::Refused(_)) => return Ok(names),
                Ok(()) => {}
            },
        }
        // One more than there may be is enough to be refused; a line brings a bounded number of them.
        let limits = &settings.limits;
        if names.len() > limits.columns_max || bytes > limits.record_max_bytes {
            return Ok(names);
        }
    }
}

/// The standard name of a name in an object.
fn meaning(name: &str, mapping: &[(String, String)]) -> String {
    standard_name(&without_nul(name), mapping)
}

/// JSON can spell a NUL, but no answer can carry one: the sign for an unknown character takes its place.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{FFFD}")),
        false => Cow::Borrowed(text),
    }
}

/// Writes a JSON value as a cell; false for a list or an object, which is written as it came.
fn set(cell: &mut String, json: &str) -> Result<bool, serde_json::Error> {
    match json.as_bytes() {
        [b'"', ..] if !json.contains('\\') => cell.push_str(&json[1..json.len() - 1]),
        // Only now is looked at what the escapes stand for.
        [b'"', ..] => cell.push_str(&serde_json::from_str::<String>(json)?),
        b"null" => {}
        [first, ..] => {
            cell.push_str(json);
            return Ok(!matches!(first, b'{' | b'['));
        }
        [] => {}
    }
    Ok(true)
}

fn malformed(error: &serde_json::Error) -> Fault {
    let (what, at) = (what(error), error.column());
    let message = format!("the line is no JSON object: {what}, at character {at}");
    Fault::Malformed { message, cut: error.is_eof() }
}

/// The error without its place, which is one in the value only.
fn what(error: &serde_json::Error) -> String {
    error.to_string().split(" at line ").next().unwrap_or_default().to_owned()
}

/// Names and values of the object that a line holds.
fn fields(line: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, serde_json::Error> {
    serde_json::from_str::<Fields<'_>>(line).map(|fields| fields.0)
}

struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Fields<'de>, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        input.deserialize_map(Object)
    }
}

/// A name, borrowed from the line where nothing in it is escaped.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Name<'de>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        input.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::ReasonCode;
    use crate::records::{Directives, Layout};

    fn read(names: &str, line: &str) -> (Vec<String>, Result<(), Fault>) {
        let names: Vec<String> = names.split('|').map(str::to_owned).collect();
        let mut objects = Objects::new(&names, &ReadSettings::default());
        let read = objects.read(line);
        (objects.values().map(str::to_owned).collect(), read)
    }

    #[test]
    fn values_become_cells_as_they_are_written() {
        for (line, cells) in [
            (r#"{"email":"a","n":1.50}"#, ["a", "1.50"]),
            (r#"{"n":1e3,"E-Mail":"ü\n\u00e9\ud83d\ude00"}"#, ["ü\né😀", "1e3"]),
            (r#" {"n":12345678901234567890,"email":null} "#, ["", "12345678901234567890"]),
            (r#"{"n":true}"#, ["", "true"]),
            (r#"{"":"nameless","n":-0}"#, ["", "-0"]),
            ("{}", ["", ""]),
        ] {
            let (found, read) = read("email|n", line);
            assert_eq!(read, Ok(()), "{line}");
            assert_eq!(found, cells, "{line}");
        }
    }

    #[test]
    fn what_is_no_cell_or_no_object_is_named() {
        for (line, fault) in [
            (r#"{"email":["a"]}"#, Fault::Nested(0)),
            (r#"{"n":{"a":[1]}}"#, Fault::Nested(1)),
            (r#"{"email":"a","Mail":"b"}"#, Fault::Twice(0)),
            (r#"{"x_new":1}"#, Fault::Unknown("x_new".to_owned())),
        ] {
            assert_eq!(read("email|n", line).1, Err(fault), "{line}");
        }
        for (line, is_cut, part) in [
            (r#"{"email":"a"#, true, "EOF"),
            (r#"{"email":"a",}"#, false, "character 14"),
            ("[1]", false, "expected an object"),
            ("7", false, "expected an object"),
            ("email,n", false, "expected value"),
            (r#"{"email":"\ud800"}"#, false, "the text of \"email\" cannot be read"),
            (r#"{"n":1} {"n":2}"#, false, "trailing characters"),
            (r#"{"n":01}"#, false, "number"),
        ] {
            let Err(Fault::Malformed { message, cut }) = read("email|n", line).1 else {
                panic!("{line}: not refused")
            };
            assert!(cut == is_cut && message.contains(part), "{line}: {message}");
        }
        let deep = format!("{{\"n\":{}", "[".repeat(100_000));
        assert!(matches!(read("n", &deep).1, Err(Fault::Malformed { .. })));
    }

    #[test]
    fn columns_are_all_names_in_the_order_they_come() {
        let text = "#ref=a\n{\"email\":1}\nno object\n{\"x_b\":[],\"Mail\":2,\"x_a\":3}\n";
        let found = columns(text.as_bytes(), &ReadSettings::default()).unwrap();
        assert_eq!(found, ["email", "x_b", "x_a"]);
        let found =
            columns(&b"{\"a\":1}\n\xFF\n{\"b\":1}\n"[..], &ReadSettings::default()).unwrap();
        assert_eq!(found, ["a"]);
    }

    #[test]
    fn a_mapping_may_give_the_name_of_one_column_to_another() {
        let pair = |own: &str, standard: &str| (own.to_owned(), standard.to_owned());
        let columns_of = vec![pair("phone", "x_landline"), pair("mobile", "phone")];
        let settings = ReadSettings { columns: columns_of, ..ReadSettings::default() };
        let line = r#"{"phone":"030","mobile":"0151"}"#;
        let names = columns(line.as_bytes(), &settings).unwrap();
        assert_eq!(names, ["phone", "mobile"]);
        let mut objects = Objects::new(&names, &settings);
        assert_eq!(objects.read(line), Ok(()));
        assert_eq!(objects.values().collect::<Vec<_>>(), ["030", "0151"]);
    }

    #[test]
    fn names_that_grow_from_line_to_line_are_not_gathered() {
        let long = "n".repeat(1000);
        let text: String = (0..100)
            .map(|n| format!("{{\"x_{n}_{long}\":1,\" x_{long}{}\":1}}\n", " ".repeat(n)))
            .collect();
        let mut settings = ReadSettings::default();
        settings.limits.record_max_bytes = 10_000;
        let names = columns(text.as_bytes(), &settings).unwrap();
        assert!((9..=11).contains(&names.len()), "{}", names.len());
        let built = Layout::build(&names, &settings, &Directives::default());
        let codes: Vec<_> = built.unwrap_err().iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [ReasonCode::HeaderTooManyColumns]);
    }

    #[test]
    fn a_nul_in_a_name_is_no_nul_in_an_answer() {
        let line = r#"{"x_a\u0000b":"1","email":"a"}"#;
        let names = columns(line.as_bytes(), &ReadSettings::default()).unwrap();
        assert_eq!(names, ["x_a\u{FFFD}b", "email"]);
        assert_eq!(read(&names.join("|"), line).1, Ok(()));
    }
}
