//! Everything partners were answered in a simulated house, wherever it stands now.

use std::collections::BTreeMap;
use std::path::Path;

use crate::stage::files_below;

pub(crate) type Cells = BTreeMap<String, String>;

/// One answer, as it lies in an outbox or in the archive of answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) tenant: String,
    pub(crate) path: String,
    pub(crate) rows: Vec<Cells>,
}

impl Answer {
    pub(crate) fn is_current(&self) -> bool {
        !self.path.contains("archive/")
    }

    /// The batch it is about; unknown of an answer without rows.
    pub(crate) fn batch(&self) -> Option<&str> {
        self.rows.first().map(|row| row["batch_id"].as_str())
    }
}

/// The original of a file, as it was archived.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) tenant: String,
    pub(crate) batch: String,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct House {
    pub(crate) acks: Vec<Answer>,
    pub(crate) results: Vec<Answer>,
    pub(crate) finals: Vec<Answer>,
    pub(crate) summaries: Vec<Answer>,
    pub(crate) originals: Vec<Original>,
}

impl House {
    /// Reads a data directory; an answer that cannot be read is a problem.
    pub(crate) fn read(data: &Path, problems: &mut Vec<String>) -> House {
        let mut house = House::default();
        for (path, bytes) in files_below(&data.join("tenants")) {
            let Some((tenant, below)) = path.split_once('/') else { continue };
            let name = below.rsplit('/').next().unwrap_or_default();
            if below.starts_with("spec/") || below.starts_with("inbox/") {
                continue;
            }
            if below.starts_with("archive/accepted/") || below.starts_with("archive/rejected/") {
                let Some((batch, name)) = name.split_once('_') else {
                    problems.push(format!("archived without a batch: {path}"));
                    continue;
                };
                let (tenant, batch) = (tenant.to_owned(), batch.to_owned());
                house.originals.push(Original { tenant, batch, name: name.to_owned(), bytes });
                continue;
            }
            if name.ends_with(".rejected.csv") {
                // In the form of the file it came from, directives before the header.
                continue;
            }
            if name.starts_with('.') {
                problems.push(format!("left behind: {path}"));
                continue;
            }
            let rows = match parse(&bytes) {
                Ok(rows) => rows,
                Err(error) => {
                    problems.push(format!("{path}: {error}"));
                    continue;
                }
            };
            let answer = Answer { tenant: tenant.to_owned(), path: below.to_owned(), rows };
            match name.rsplit('.').nth(1) {
                Some("ack") => house.acks.push(answer),
                Some("result") => house.results.push(answer),
                Some("final") => house.finals.push(answer),
                Some("summary") => house.summaries.push(answer),
                Some("progress") => problems.push(format!("left behind: {path}")),
                _ => {}
            }
        }
        house
    }

    /// The answer of a kind that holds now for a batch.
    pub(crate) fn current<'a>(answers: &'a [Answer], batch: &str) -> Option<&'a Answer> {
        let of_batch = || answers.iter().filter(|answer| answer.batch() == Some(batch));
        of_batch().find(|answer| answer.is_current()).or_else(|| of_batch().next_back())
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Cells>, csv::Error> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers()?.clone();
    let cells = |record: csv::StringRecord| {
        header.iter().zip(&record).map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect()
    };
    reader.records().map(|record| record.map(cells)).collect()
}
