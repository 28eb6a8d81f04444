//! Stored rows looked at again: whether two rows of one digest truly say the same.

use super::IntakeError;
use super::concluding::Desk;
use super::reading::dedupe_of;
use super::same_again::MarkSorter;
use crate::codes::ReasonCode;
use crate::model::{BatchId, Category};
use crate::records::Dedupe;
use crate::spool::{BatchFolder, Chunk, DuplicateMark, LogReader, Position, StoredRow};
use crate::store::{ChunkRecord, Store};

/// Rows that are compared together, and bytes of what they say: each group reads every chunk of
/// earlier rows at most once.
const GROUP_ROWS: usize = 128 * 1024;
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// The rows of a batch, found by their numbers.
pub(super) struct BatchRows<'a> {
    chunks: Chunks<'a>,
    rows: LogReader,
    duplicates: Option<LogReader>,
}

enum Chunks<'a> {
    /// Of the batch that is being read; the store does not know them yet.
    Own(&'a [ChunkRecord]),
    Stored {
        store: &'a Store,
        batch: BatchId,
        count: u32,
    },
}

impl<'a> BatchRows<'a> {
    pub(super) fn own(
        folder: &BatchFolder,
        chunks: &'a [ChunkRecord],
    ) -> Result<BatchRows<'a>, IntakeError> {
        let rows = LogReader::open(&folder.rows())?;
        Ok(BatchRows { chunks: Chunks::Own(chunks), rows, duplicates: None })
    }

    /// `None` where the batch's rows are no longer kept.
    pub(super) fn stored(
        desk: &'a Desk,
        batch: BatchId,
        count: u32,
    ) -> Result<Option<BatchRows<'a>>, IntakeError> {
        let folder = desk.spool.batch(batch);
        let Some(rows) = LogReader::open_if_there(&folder.rows())? else { return Ok(None) };
        let duplicates = LogReader::open_if_there(&folder.duplicates())?;
        let chunks = Chunks::Stored { store: &desk.store, batch, count };
        Ok(Some(BatchRows { chunks, rows, duplicates }))
    }

    /// The chunk that holds a row.
    pub(super) fn chunk_with(&self, row: u64) -> Result<Option<(ChunkRecord, Chunk)>, IntakeError> {
        let Some(record) = self.record_with(row)? else { return Ok(None) };
        let position = Position { offset: record.offset, bytes: record.bytes };
        let marks = match (&self.duplicates, record.duplicates) {
            (Some(log), Some((offset, bytes))) => Some((log, Position { offset, bytes })),
            _ => None,
        };
        let chunk = Chunk::read(&self.rows, position, marks)?;
        Ok(Some((record, chunk)))
    }

    /// Chunks follow each other without gaps: the last one that begins at or before the row.
    fn record_with(&self, row: u64) -> Result<Option<ChunkRecord>, IntakeError> {
        let found = match &self.chunks {
            Chunks::Own(chunks) => {
                let behind = chunks.partition_point(|chunk| chunk.first_row <= row);
                behind.checked_sub(1).map(|at| chunks[at].clone())
            }
            Chunks::Stored { store, batch, count } => {
                let (mut low, mut high) = (0, *count);
                while high.saturating_sub(low) > 1 {
                    let middle = low + (high - low) / 2;
                    match store.chunk(*batch, middle)? {
                        Some(chunk) if chunk.first_row <= row => low = middle,
                        _ => high = middle,
                    }
                }
                store.chunk(*batch, low)?
            }
        };
        Ok(found.filter(|chunk| {
            (chunk.first_row..chunk.first_row + u64::from(chunk.rows)).contains(&row)
        }))
    }
}

/// A mark that rests on a digest, and what its row says.
struct Doubt {
    row: u64,
    mark: DuplicateMark,
    said: String,
}

impl Desk {
    /// Lets only those marks stand whose rows say the same, at most one a row.
    pub(super) fn confirm(
        &self,
        folder: &BatchFolder,
        chunks: &[ChunkRecord],
        dedupe: Option<Dedupe>,
        marks: MarkSorter,
    ) -> Result<MarkSorter, IntakeError> {
        if marks.len() == 0 {
            return Ok(marks);
        }
        let mut confirmed = MarkSorter::new(folder.scratch().with_extension("confirmed"));
        let mut marks = marks.sorted()?;
        let own = BatchRows::own(folder, chunks)?;
        let (mut doubts, mut bytes) = (Vec::new(), 0);
        for record in chunks {
            let found = marks.of_chunk(record.first_row, record.rows)?;
            let Some(chunk) = found.first().map(|_| own.chunk_with(record.first_row)) else {
                continue;
            };
            let Some((_, chunk)) = chunk? else { continue };
            let rows = chunk.rows()?;
            for marks in found.chunk_by(|one, other| one.index == other.index) {
                let row = &rows[marks[0].index as usize];
                if let Some(lead) = marks.iter().find(|mark| is_lead(mark)) {
                    confirmed.push(row.row, false, lead.batch, lead.row)?;
                    continue;
                }
                for mark in marks {
                    let said = said(row, mark.code, dedupe);
                    bytes += said.len();
                    doubts.push(Doubt { row: row.row, mark: *mark, said });
                }
            }
            if doubts.len() >= GROUP_ROWS || bytes >= GROUP_BYTES {
                self.settle(&own, dedupe, &mut doubts, &mut confirmed)?;
                bytes = 0;
            }
        }
        self.settle(&own, dedupe, &mut doubts, &mut confirmed)?;
        Ok(confirmed)
    }

    /// Compares a group with the earlier rows, batch by batch and chunk by chunk.
    fn settle(
        &self,
        own: &BatchRows<'_>,
        dedupe: Option<Dedupe>,
        doubts: &mut Vec<Doubt>,
        confirmed: &mut MarkSorter,
    ) -> Result<(), IntakeError> {
        doubts.sort_unstable_by_key(|doubt| (doubt.mark.batch, doubt.mark.row));
        let mut same = Vec::with_capacity(doubts.len());
        for of_batch in doubts.chunk_by(|one, other| one.mark.batch == other.mark.batch) {
            let stored = match of_batch[0].mark.batch {
                None => None,
                Some(batch) => {
                    let count = self.store.batch(batch)?.map_or(0, |record| record.chunks);
                    match BatchRows::stored(self, batch, count)? {
                        Some(rows) => Some(rows),
                        // The row is not kept any more: the digest has to be believed.
                        None => {
                            same.extend(of_batch.iter().map(|doubt| (doubt.row, doubt.mark)));
                            continue;
                        }
                    }
                }
            };
            let rows = stored.as_ref().unwrap_or(own);
            let mut rest = of_batch;
            while let Some(first) = rest.first() {
                let Some((record, chunk)) = rows.chunk_with(first.mark.row)? else {
                    same.push((first.row, first.mark));
                    rest = &rest[1..];
                    continue;
                };
                let end = record.first_row + u64::from(record.rows);
                let (here, others) =
                    rest.split_at(rest.partition_point(|doubt| doubt.mark.row < end));
                let earlier = chunk.rows()?;
                for Doubt { row, mark, said: now } in here {
                    let then = &earlier[(mark.row - record.first_row) as usize];
                    if said(then, mark.code, dedupe) == *now {
                        same.push((*row, *mark));
                    }
                }
                rest = others;
            }
        }
        doubts.clear();
        same.sort_unstable_by_key(|(row, mark)| (*row, mark.batch));
        same.dedup_by_key(|(row, _)| *row);
        for (row, mark) in same {
            confirmed.push(row, mark.code == ReasonCode::RowIdUsed, mark.batch, mark.row)?;
        }
        Ok(())
    }
}

/// The rows of an earlier version were compared as a whole.
fn is_lead(mark: &DuplicateMark) -> bool {
    mark.batch.is_some() && mark.code == ReasonCode::RowDuplicate
}

/// What a row says, as far as it makes two rows the same.
fn said(row: &StoredRow<'_>, code: ReasonCode, dedupe: Option<Dedupe>) -> String {
    if code == ReasonCode::RowIdUsed {
        return row.row_id.to_owned();
    }
    let mut said = String::new();
    let mut add = |text: &str| {
        said.push_str(text);
        said.push('\0');
    };
    add(row.channel.map_or("", |channel| channel.as_str()));
    add(row.to);
    if dedupe_of(dedupe, row.category.unwrap_or(Category::Marketing)) == Dedupe::Exact {
        for text in [row.template, row.lang, row.subject, row.text, row.html, row.sender] {
            add(text);
        }
        add(&row.send_at.map_or(String::new(), |at| at.to_string()));
        row.variables.iter().for_each(|text| add(text));
    }
    said
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::batch::{BatchEvent, BatchState};
    use crate::intake::writer::RowWriter;
    use crate::model::ChannelKind;
    use crate::policy::Verdict;
    use crate::spool::{RowHead, Spool};
    use crate::store::{Acceptance, BatchRecord, ControlRecord, Facts, SimulatedDisk};

    fn row<'a>(row: u64, row_id: &'a str, to: &'a str, text: &'a str) -> StoredRow<'a> {
        let channel = Some(ChannelKind::Email);
        StoredRow { row, row_id, to, text, channel, ..StoredRow::default() }
    }

    /// Writes the rows of a batch, as reading its file does.
    fn lay(desk: &Desk, batch: u64, rows: &[StoredRow<'_>]) -> (BatchFolder, Vec<ChunkRecord>) {
        let folder = desk.spool.batch(BatchId::from_u64(batch));
        folder.create().unwrap();
        let mut writer = RowWriter::create(&folder).unwrap();
        writer.head(&RowHead::default()).unwrap();
        for row in rows {
            writer.push(row, Some((Verdict::Send, Timestamp::UNIX_EPOCH))).unwrap();
        }
        let chunks = writer.finish(&folder).unwrap();
        (folder, chunks)
    }

    fn accept(desk: &Desk, batch: u64, chunks: &[ChunkRecord]) {
        let record = BatchRecord {
            id: BatchId::from_u64(batch),
            tenant: "acme".parse().unwrap(),
            path: "inbox/a.csv".to_owned(),
            state: BatchState::Claimed,
            account: String::new(),
            proof: None,
            received_at: Timestamp::UNIX_EPOCH,
            claimed_at: Timestamp::UNIX_EPOCH,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: chunks.len() as u32,
            hold: None,
            control: ControlRecord::default(),
        };
        let record = desk.store.open_batch(record).unwrap();
        desk.store.put_chunks(record.id, chunks).unwrap();
        desk.store.conclude(record, BatchEvent::FileAccepted, &Acceptance::default()).unwrap();
    }

    #[test]
    fn rows_of_one_digest_are_duplicates_only_where_they_say_the_same() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let desk = Desk { store, spool: Spool::open(data.path()).unwrap() };
        let (_, chunks) = lay(&desk, 4, &[row(1, "other", "", ""), row(2, "used", "", "")]);
        accept(&desk, 4, &chunks);
        let rows = [
            row(1, "a", "x@example.org", ""),
            row(2, "b", "x@example.org", ""),
            row(3, "a", "y@example.org", ""),
            row(4, "", "x@example.org", "Hi"),
            row(5, "", "x@example.org", "Ho"),
            row(6, "", "x@example.org", "Hi"),
            row(7, "", "z@example.org", "Hi"),
            row(8, "used", "x@example.org", "Hi"),
            row(9, "fresh", "x@example.org", "Hi"),
            row(10, "gone", "x@example.org", "Hi"),
        ];
        let (folder, chunks) = lay(&desk, 5, &rows);
        let (earlier, gone) = (Some(BatchId::from_u64(4)), Some(BatchId::from_u64(3)));
        for (dedupe, expected) in
            [(Dedupe::Exact, &[3, 6, 8, 10][..]), (Dedupe::Recipient, &[3, 5, 6, 8, 10][..])]
        {
            let mut marks = MarkSorter::new(data.path().join("marks"));
            for (row, about_id, batch, first) in [
                (2, true, None, 1),
                (3, true, None, 1),
                (5, false, None, 4),
                (6, false, None, 4),
                (7, false, None, 4),
                (8, true, earlier, 2),
                (9, true, earlier, 1),
                (10, true, gone, 7),
                // Twice the same row: it is a duplicate once.
                (8, true, earlier, 1),
            ] {
                marks.push(row, about_id, batch, first).unwrap();
            }
            let marks = desk.confirm(&folder, &chunks, Some(dedupe), marks).unwrap();
            assert_eq!(marks.len(), expected.len() as u64);
            let marks = marks.sorted().unwrap().of_chunk(1, 10).unwrap();
            let found: Vec<u64> = marks.iter().map(|mark| u64::from(mark.index) + 1).collect();
            assert_eq!(found, expected, "{dedupe:?}");
        }
    }
}
