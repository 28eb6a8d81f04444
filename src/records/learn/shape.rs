//! The outer form of a sample: encoding, delimiter, quote, where the table begins.

use std::collections::HashMap;

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::super::directives::DirectiveLine;
use super::super::layout::looks_like_data;
use super::super::settings::{DELIMITERS, ReadSettings};
use super::NoProposal;
use super::words;

/// Records that are looked at.
const RECORDS_MAX: usize = 500;

/// A sample as a table.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) encoding: Option<&'static str>,
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    /// Lines above the table that are no directives.
    pub(super) skip_lines: usize,
    /// The names of the columns; `None` where the first line is data.
    pub(super) header: Option<Vec<String>>,
    /// Data records as wide as the table.
    pub(super) rows: Vec<Vec<String>>,
    pub(super) width: usize,
    pub(super) doubts: Vec<String>,
}

/// One reading of the sample, and how well it fits.
struct Reading {
    delimiter: u8,
    quote: Option<u8>,
    /// Each record with its line, counted from 1.
    records: Vec<(u64, Vec<String>)>,
    width: usize,
    /// Share of lines that begin a record as wide as most: quotes that swallow lines lower it.
    evenness: f64,
}

impl Shape {
    pub(super) fn of(sample: &[u8]) -> Result<Shape, NoProposal> {
        let mut doubts = Vec::new();
        let (text, encoding) = decoded(sample, &mut doubts)?;
        let text = table_lines(&text);
        let best = best(&text).ok_or(NoProposal::Empty)?;
        let starts = |(_, cells): &(u64, Vec<String>)| cells.len() == best.width;
        let is_short = |(_, cells): &(u64, Vec<String>)| cells.len() + 1 == best.width;
        let mut at = best.records.iter().position(starts).ok_or(NoProposal::Empty)?;
        // Lines of data may end in a delimiter where the header does not.
        if at > 0 && is_short(&best.records[at - 1]) && is_header(&best.records[at - 1].1) {
            at -= 1;
        }
        let (first_line, first) = &best.records[at];
        let header = is_header(first).then(|| first.clone());
        if header.is_some() && !first.iter().any(|cell| words::meaning(cell).is_some()) {
            doubts
                .push("the first line is taken for the header; header = \"none\" otherwise".into());
        }
        if best.quote != Some(b'"') {
            doubts.push("quotes in the sample do not enclose cells as usual".into());
        }
        let skip_lines = lines_above(&text, *first_line);
        let rows = best.records[at + usize::from(header.is_some())..].iter();
        let rows =
            rows.map(|(_, cells)| cells.clone()).filter(|cells| cells.len() >= best.width - 1);
        Ok(Shape {
            encoding,
            delimiter: best.delimiter,
            quote: best.quote,
            skip_lines,
            width: header.as_ref().map_or(best.width, Vec::len),
            rows: rows.collect(),
            header,
            doubts,
        })
    }
}

fn decoded(
    sample: &[u8],
    doubts: &mut Vec<String>,
) -> Result<(String, Option<&'static str>), NoProposal> {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(sample) {
        return Ok((encoding.decode_without_bom_handling(&sample[mark..]).0.into_owned(), None));
    }
    let zeros = |from: usize| sample.iter().skip(from).step_by(2).filter(|b| **b == 0).count();
    let half = sample.len() / 2;
    for (encoding, high) in [(UTF_16LE, 1), (UTF_16BE, 0)] {
        if half > 4 && zeros(high) > half * 8 / 10 && zeros(1 - high) == 0 {
            doubts.push(format!("the file looks like {} without a mark", encoding.name()));
            return Ok((encoding.decode(sample).0.into_owned(), Some(encoding.name())));
        }
    }
    if sample.contains(&0) {
        return Err(NoProposal::NotText);
    }
    match std::str::from_utf8(sample) {
        Ok(text) => Ok((text.to_owned(), None)),
        // The sample may end inside a character.
        Err(error) if error.error_len().is_none() => {
            Ok((UTF_8.decode(&sample[..error.valid_up_to()]).0.into_owned(), None))
        }
        Err(_) => {
            doubts.push(
                "the bytes are no UTF-8: windows-1252 is a guess; look at the accents in a preview"
                    .into(),
            );
            Ok((WINDOWS_1252.decode(sample).0.into_owned(), Some("windows-1252")))
        }
    }
}

/// The text, in which lines that are not of the table are blank: `sep=`, directives, the trailer.
fn table_lines(text: &str) -> String {
    let mut is_above = true;
    let mut keep = |line: &str| {
        let directive = DirectiveLine::parse(1, line).is_some_and(|d| d.is_known());
        let is_sep = line.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("sep="));
        let is_apart = (is_above && (directive || is_sep)) || line.starts_with("#EOF");
        is_above &= is_apart || line.trim().is_empty();
        !is_apart
    };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.lines().map(|line| if keep(line) { line } else { "\u{0}" }).collect::<Vec<_>>().join("\n")
}

/// Lines above the table that the reader has to pass over.
fn lines_above(text: &str, first_line: u64) -> usize {
    let above: Vec<&str> = text
        .lines()
        .take(first_line.saturating_sub(1) as usize)
        .filter(|l| *l != "\u{0}")
        .collect();
    // Blank lines are passed over anyway, unless lines to skip stand around them.
    above.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1)
}

/// The reading under which most records are as wide as each other; the usual quote before others.
fn best(text: &str) -> Option<Reading> {
    let quotes = [Some(b'"'), None, Some(b'\'')];
    let readings = quotes.into_iter().flat_map(|quote| {
        DELIMITERS.into_iter().filter_map(move |delimiter| Reading::of(text, delimiter, quote))
    });
    let mut best: Option<Reading> = None;
    for reading in readings {
        // An apostrophe is a quote only where cells begin and end with it.
        if reading.quote == Some(b'\'') && !reading.is_quoted_throughout(text) {
            continue;
        }
        let is_better = best.as_ref().is_none_or(|best| {
            let margin = if reading.quote == best.quote { 0.0 } else { 0.05 };
            match (reading.width > 1, best.width > 1) {
                (true, false) => reading.quote == best.quote || best.records.len() < 2,
                (false, true) => false,
                _ if reading.quote == best.quote => {
                    (reading.evenness * reading.width.min(4) as f64, reading.width)
                        > (best.evenness * best.width.min(4) as f64, best.width)
                }
                _ => reading.evenness > best.evenness + margin,
            }
        });
        if is_better {
            best = Some(reading);
        }
    }
    best
}

impl Reading {
    fn of(text: &str, delimiter: u8, quote: Option<u8>) -> Option<Reading> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .quoting(quote.is_some())
            .quote(quote.unwrap_or(b'"'))
            .from_reader(text.as_bytes());
        let mut records = Vec::new();
        for record in reader.records().take(RECORDS_MAX) {
            let record = record.ok()?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() == 1 && matches!(record[0].trim(), "" | "\u{0}") {
                continue;
            }
            records.push((line, record.iter().map(str::to_owned).collect::<Vec<_>>()));
        }
        let mut widths: HashMap<usize, usize> = HashMap::new();
        for (_, cells) in &records {
            *widths.entry(cells.len()).or_default() += 1;
        }
        let (width, count) = widths.into_iter().max_by_key(|(width, count)| (*count, *width))?;
        let read = reader.position().line() as usize;
        let lines = text.lines().take(read).filter(|line| !matches!(line.trim(), "" | "\u{0}"));
        let evenness = count as f64 / lines.count().max(count) as f64;
        Some(Reading { delimiter, quote, records, width, evenness })
    }

    fn is_quoted_throughout(&self, text: &str) -> bool {
        let delimiter = char::from(self.delimiter);
        let mut lines = text.lines().filter(|line| line.contains(delimiter)).peekable();
        let quoted = |cell: &str| cell.len() >= 2 && cell.starts_with('\'') && cell.ends_with('\'');
        lines.peek().is_some() && lines.all(|line| line.split(delimiter).any(|c| quoted(c.trim())))
    }
}

/// Names, not data.
fn is_header(cells: &[String]) -> bool {
    let is_name = |cell: &String| cell.chars().any(char::is_alphabetic);
    let named = cells.iter().filter(|cell| is_name(cell)).count();
    looks_like_data(cells, &ReadSettings::default()).is_none()
        && named * 2 > cells.len().saturating_sub(1)
}
