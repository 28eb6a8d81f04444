//! A profile proposed from a sample: what the file looks like, for the operator to confirm.
//!
//! Here, and nowhere else, things are guessed, and each guess says so: what is proposed counts only
//! once somebody has put it into the configuration.

mod columns;
mod shape;
mod words;

use rlibphonenumber::Region;

use self::columns::{Found, Meaning};
use self::shape::Shape;
use super::settings::HeaderMode;
use crate::model::normalise_name;

/// What a profile for files like the sample would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub name: String,
    /// The pattern of file names.
    pub pattern: String,
    pub delimiter: u8,
    pub quote: Option<u8>,
    /// A WHATWG name; `None` for UTF-8 and for what has a byte order mark.
    pub encoding: Option<&'static str>,
    pub header: HeaderMode,
    pub skip_lines: usize,
    pub date_format: Option<&'static str>,
    /// The file's own name and the standard name.
    pub columns: Vec<(String, String)>,
    pub defaults: Vec<(String, String)>,
    /// What somebody has to look at.
    pub to_confirm: Vec<String>,
}

/// Why there is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProposal {
    #[error("the sample is empty")]
    Empty,
    #[error("the sample is no text: unpack it, or save it as CSV")]
    NotText,
    #[error(
        "no column holds email addresses or phone numbers; name the country of national numbers"
    )]
    NoAddress,
}

/// Proposes a profile. `sample` is the file or its beginning, `country` two letters for phone numbers
/// that have no country code.
pub fn learn(sample: &[u8], file: &str, country: Option<&str>) -> Result<Proposal, NoProposal> {
    let region: Option<Region> = country.and_then(|country| country.parse().ok());
    let shape = Shape::of(sample)?;
    let found = Found::in_table(&shape, region);
    if !found.has_address() {
        return Err(NoProposal::NoAddress);
    }
    let mut to_confirm = shape.doubts.clone();
    to_confirm.extend(found.doubts.iter().cloned());
    let mut defaults = Vec::new();
    if found.has_national_numbers
        && let Some(country) = country
    {
        defaults.push(("country".to_owned(), country.to_owned()));
    }
    if found.leaves_a_choice() {
        defaults.push(("channel".to_owned(), "email".to_owned()));
        to_confirm
            .push("rows have an email address and a phone number: which channel is meant?".into());
    }
    if !found.has_body() {
        defaults.push(("template".to_owned(), "NAME".to_owned()));
        to_confirm
            .push("no column holds a text: put the name of a template in NAME's place".to_owned());
    }
    let (header, columns, skip_lines) = header(&shape, &found);
    let (name, pattern) = names(file);
    Ok(Proposal {
        name,
        pattern,
        delimiter: shape.delimiter,
        quote: shape.quote,
        encoding: shape.encoding,
        header,
        skip_lines,
        date_format: found.date_format,
        columns,
        defaults,
        to_confirm,
    })
}

/// A header whose names are not told apart is passed over, and the columns are listed.
fn header(shape: &Shape, found: &Found) -> (HeaderMode, Vec<(String, String)>, usize) {
    let Some(names) = &shape.header else {
        return (HeaderMode::Columns(found.names()), Vec::new(), shape.skip_lines);
    };
    let mut seen: Vec<String> = Vec::new();
    for name in names.iter().map(|name| normalise_name(name)).filter(|name| !name.is_empty()) {
        if seen.contains(&name) {
            return (HeaderMode::Columns(found.names()), Vec::new(), shape.skip_lines + 1);
        }
        seen.push(name);
    }
    let mapped = names.iter().zip(&found.columns).filter_map(|(own, meaning)| match meaning {
        Meaning::AsItIs => None,
        Meaning::Named(standard) => Some((own.trim().to_owned(), standard.clone())),
    });
    let mapped = mapped.filter(|(own, _)| !own.is_empty()).collect();
    (HeaderMode::Present, mapped, shape.skip_lines)
}

/// A name for the profile, and a pattern: runs of digits differ from file to file.
fn names(file: &str) -> (String, String) {
    let mut pattern = String::new();
    for letter in file.chars() {
        match letter {
            '0'..='9' if pattern.ends_with('*') => {}
            '0'..='9' => pattern.push('*'),
            '*' | '?' | '[' | ']' | '{' | '}' | '\\' => pattern.extend(['\\', letter]),
            // Dates and times are one run, whatever stands between their digits.
            '-' | '_' | 'T' | 'Z' | '.' if pattern.ends_with('*') => pattern.push(letter),
            _ => pattern.push(letter),
        }
    }
    for between in ["*-*", "*_*", "*T*", "*.*"] {
        while pattern.contains(between) {
            pattern = pattern.replace(between, "*");
        }
    }
    let stem = pattern.rsplit_once('.').map_or(pattern.as_str(), |(stem, _)| stem);
    let mut name = String::new();
    for letter in stem.chars().flat_map(char::to_lowercase) {
        match letter {
            'a'..='z' => name.push(letter),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let name = name.trim_matches('-').chars().take(40).collect::<String>();
    let name = if name.is_empty() { "learned".to_owned() } else { name };
    if pattern.trim_matches('*').is_empty() { (name, file.to_owned()) } else { (name, pattern) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_a_name_become_a_pattern() {
        for (file, name, pattern) in [
            ("INV_2026-11-22.csv", "inv", "INV_*.csv"),
            ("INV_20261122T101500Z_s7.csv", "inv-z-s", "INV_*Z_s*.csv"),
            ("KUNDEN.TXT", "kunden", "KUNDEN.TXT"),
            ("export[1].csv", "export", "export\\[*\\].csv"),
            ("2026.csv", "learned", "*.csv"),
            ("20261122", "learned", "20261122"),
        ] {
            assert_eq!(names(file), (name.to_owned(), pattern.to_owned()), "{file}");
        }
    }

    #[test]
    fn what_is_no_table_of_addresses_gets_no_proposal() {
        assert_eq!(learn(b"", "a.csv", None), Err(NoProposal::Empty));
        assert_eq!(learn(b"\n\n", "a.csv", None), Err(NoProposal::Empty));
        assert_eq!(learn(b"PK\x03\x04\x00\x00", "a.xlsx", None), Err(NoProposal::NotText));
        assert_eq!(learn(b"a,b\n1,2\n", "a.csv", None), Err(NoProposal::NoAddress));
    }
}
