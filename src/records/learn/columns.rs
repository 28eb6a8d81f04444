//! What each column of a sample holds, by its name and by its cells.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use rlibphonenumber::Region;

use super::super::layout::{Column, standard_name};
use super::super::{address, moment};
use super::shape::Shape;
use super::words::{folded, meaning};
use crate::model::{ChannelKind, Kind};

/// Formats of times that exports have, the less ambiguous first.
const DATE_FORMATS: [&str; 10] = [
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%Y-%m-%d",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
];

/// What is proposed for a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Its own name already says it.
    AsItIs,
    /// The standard name it should have.
    Named(String),
}

/// What was found in the columns of a table.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) columns: Vec<Meaning>,
    /// Each column's standard name.
    standard: Vec<String>,
    pub(super) date_format: Option<&'static str>,
    pub(super) has_national_numbers: bool,
    pub(super) doubts: Vec<String>,
}

impl Found {
    pub(super) fn in_table(shape: &Shape, region: Option<Region>) -> Found {
        let mut found = Found::default();
        for at in 0..shape.width {
            let own =
                shape.header.as_ref().and_then(|names| names.get(at)).map_or("", |n| n.as_str());
            let cells: Vec<&str> = shape
                .rows
                .iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.trim())
                .filter(|cell| !cell.is_empty())
                .collect();
            found.add(at, own, &cells, shape.rows.len(), region);
            if shape.header.is_none() && !found.has_body() && is_mostly(&cells, is_sentence) {
                found.standard[at] = "text".to_owned();
            }
        }
        found
    }

    fn add(&mut self, at: usize, own: &str, cells: &[&str], rows: usize, region: Option<Region>) {
        let by_name = meaning(own);
        let wanted = match by_name {
            Some(name) if self.fits(name, cells, rows, region) => Some(name),
            // A flag or a postal address may well be called mail.
            Some(_) => None,
            None if is_mostly(cells, is_email) => Some("email"),
            None if is_mostly(cells, |cell| is_dialled(cell, region)) => Some("phone"),
            None => None,
        };
        let taken = |name: &str, standard: &[String]| standard.iter().any(|s| s == name);
        let current = standard_name(own, &[]);
        let is_built = Column::of_kind(&current, Kind::Messages).is_none_or(Column::is_built);
        let standard = match wanted.filter(|name| !taken(name, &self.standard)) {
            Some(name) => name.to_owned(),
            None if keeps_its_name(&current, by_name)
                && is_built
                && !taken(&current, &self.standard) =>
            {
                current.clone()
            }
            None => self.own_name(at, own),
        };
        if standard == "phone" {
            self.has_national_numbers = cells.iter().any(|cell| !is_international(cell));
        }
        if standard == "send_at" {
            self.learn_dates(cells);
        }
        if standard == "row_id" && current != standard {
            self.doubts.push(format!(
                "{own:?} is taken for row_id, the key of one message: a value that comes again later is not \
                 sent; call the column x_<name> if it is the key of a customer or an order"
            ));
        }
        let is_same = standard == current;
        self.columns.push(if is_same { Meaning::AsItIs } else { Meaning::Named(standard.clone()) });
        self.standard.push(standard);
    }

    /// Whether the cells are what the column's name says.
    fn fits(&self, name: &str, cells: &[&str], rows: usize, region: Option<Region>) -> bool {
        let all = |test: &dyn Fn(&str) -> bool| cells.iter().all(|cell| test(cell));
        match name {
            "email" => cells.is_empty() || is_some(cells, is_email),
            "phone" => cells.is_empty() || is_some(cells, |cell| looks_dialled(cell, region)),
            "country" => {
                all(&|cell| cell.len() == 2 && cell.bytes().all(|b| b.is_ascii_alphabetic()))
            }
            "lang" => all(&|cell| matches!(cell.len(), 2 | 5) && cell.is_ascii()),
            "channel" => all(&|cell| ChannelKind::from_text(&cell.to_ascii_lowercase()).is_some()),
            "send_at" => cells.is_empty() || date_format(cells).is_some(),
            "row_id" => {
                let mut unique: Vec<&&str> = cells.iter().collect();
                unique.sort_unstable();
                unique.dedup();
                rows > 0 && unique.len() == rows && all(&|cell| cell.chars().count() <= 128)
            }
            _ => true,
        }
    }

    fn learn_dates(&mut self, cells: &[&str]) {
        self.date_format = date_format(cells).flatten();
        let swapped = self.date_format.filter(|format| format.contains("%d/%m"));
        if swapped.is_some_and(|format| reads(&format.replace("%d/%m", "%m/%d"), cells)) {
            let doubt = "no date tells its day from its month: date_format is a guess";
            self.doubts.push(doubt.to_owned());
        }
    }

    /// A name of the partner's own, which comes back in the answers.
    fn own_name(&self, at: usize, own: &str) -> String {
        let folded = folded(own);
        let base = if folded.is_empty() { format!("column_{}", at + 1) } else { folded };
        let mut name = format!("x_{base}");
        let mut number = 2;
        while self.standard.contains(&name) {
            name = format!("x_{base}_{number}");
            number += 1;
        }
        name
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.standard.clone()
    }

    pub(super) fn has_address(&self) -> bool {
        let is_address = |name: &String| Column::ADDRESSES.iter().any(|c| c.as_str() == name);
        self.standard.iter().any(is_address)
    }

    /// Both kinds of address, and nothing that says which of them is meant.
    pub(super) fn leaves_a_choice(&self) -> bool {
        let has = |name: &str| self.standard.iter().any(|standard| standard == name);
        has("email") && has("phone") && !has("channel")
    }

    pub(super) fn has_body(&self) -> bool {
        self.standard.iter().any(|name| ["text", "html", "template"].contains(&name.as_str()))
    }
}

/// Names that the reader understands as they stand.
fn keeps_its_name(current: &str, by_name: Option<&str>) -> bool {
    let is_marked = ["x_", "var_", "_"].iter().any(|prefix| current.starts_with(prefix));
    by_name.is_none() && (is_marked || Column::of_kind(current, Kind::Messages).is_some())
}

fn is_mostly(cells: &[&str], test: impl Fn(&str) -> bool) -> bool {
    !cells.is_empty() && cells.iter().filter(|cell| test(cell)).count() * 5 >= cells.len() * 4
}

fn is_some(cells: &[&str], test: impl Fn(&str) -> bool) -> bool {
    cells.iter().filter(|cell| test(cell)).count() * 5 >= cells.len()
}

fn is_sentence(cell: &str) -> bool {
    cell.split_whitespace().filter(|word| word.contains(char::is_alphabetic)).count() >= 3
}

fn is_email(cell: &str) -> bool {
    address::is_email(cell)
}

fn is_international(cell: &str) -> bool {
    let cell = cell.trim_start_matches(['\'', '=', '"', '(']);
    cell.starts_with('+') || cell.starts_with("00")
}

/// A valid number that is also written like one: customer numbers may be valid by chance.
fn is_dialled(cell: &str, region: Option<Region>) -> bool {
    let is_national = region.is_some() && cell.starts_with(['0', '(']) && cell.len() >= 7;
    (is_international(cell) || is_national) && is_phone(cell, region)
}

fn is_phone(cell: &str, region: Option<Region>) -> bool {
    address::phone(cell, region, &mut String::new()).is_ok()
}

/// Digits as numbers have them, whatever country they belong to.
fn looks_dialled(cell: &str, region: Option<Region>) -> bool {
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    is_phone(cell, region) || address::is_scientific(cell) || (7..=15).contains(&digits)
}

/// The format that reads every cell; `Some(None)` where the program needs none.
fn date_format(cells: &[&str]) -> Option<Option<&'static str>> {
    let plain = |cell: &&str| moment::instant(cell, None, &TimeZone::UTC).is_some();
    if !cells.is_empty() && cells.iter().all(plain) {
        return Some(None);
    }
    DATE_FORMATS.iter().find(|format| reads(format, cells)).map(|format| Some(*format))
}

fn reads(format: &str, cells: &[&str]) -> bool {
    cells.iter().all(|cell| strtime::parse(format, cell).is_ok_and(|t| t.to_date().is_ok()))
}
