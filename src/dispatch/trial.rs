//! Messages rendered and not sent: to be looked at.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::error::DispatchError;
use super::message::{Composer, Unrenderable};
use super::question::{calendar, question};
use super::settings::{Route, Routes};
use crate::codes::ReasonCode;
use crate::model::{ChannelKind, OutgoingMessage};
use crate::policy::{Verdict, decide};
use crate::spool::{
    BatchFolder, Chunk, LogReader, Position, RowHead, RowState, Spool, SpoolError, StoredRow,
};
use crate::store::{BatchRecord, ChunkRecord, Store};

/// The message of an accepted row on one step of its chain, or why it has none.
#[derive(Debug, Clone)]
pub struct TrialMessage {
    pub row: u64,
    /// 0 for the row's own channel, then those that are tried behind it.
    pub step: u8,
    pub priority: u8,
    pub message: Result<OutgoingMessage, ReasonCode>,
}

/// The messages of the first accepted rows.
pub fn first_messages(
    store: &Store,
    spool: &Spool,
    route: &Route,
    record: &BatchRecord,
    most: usize,
) -> Result<Vec<TrialMessage>, DispatchError> {
    let mut messages = Vec::new();
    let rows = Rows::open(&spool.batch(record.id))?;
    let mut composer = Composer::new(record, &rows.head, route);
    let mut count = 0;
    rows.each_accepted(store, record, &mut |row, _| {
        if count == most {
            return ControlFlow::Break(());
        }
        count += 1;
        for step in 0..=row.fallback.len() as u8 {
            let on_step = row.on_step(step);
            let Some(channel) = on_step.channel else { continue };
            let message = composer.compose((&on_step, step), channel, 1);
            let message = message.map_err(|Unrenderable(code)| code);
            messages.push(TrialMessage { row: row.row, step, priority: row.priority, message });
        }
        ControlFlow::Continue(())
    })?;
    Ok(messages)
}

/// What batches would send, told without sending it and without getting in the way of who does.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    store: Store,
    spool: Spool,
    routes: Routes,
}

impl Rehearsal {
    pub fn new(store: Store, spool: Spool, routes: Routes) -> Rehearsal {
        Rehearsal { store, spool, routes }
    }

    /// Every message of a batch in the order of its rows, as things stood when the file was judged.
    /// Left out are rows that policy keeps back, and those that cannot be rendered.
    pub fn each_message(
        &self,
        record: &BatchRecord,
        each: &mut dyn FnMut(&StoredRow<'_>, OutgoingMessage) -> ControlFlow<()>,
    ) -> Result<(), DispatchError> {
        let Some(route) = self.routes.of(&record.tenant) else { return Ok(()) };
        let rows = Rows::open(&self.spool.batch(record.id))?;
        let mut composer = Composer::new(record, &rows.head, &route);
        let calendar = calendar(&route);
        let at = record.validated_at.unwrap_or(record.claimed_at);
        rows.each_accepted(&self.store, record, &mut |row, channel| {
            let expires_at = row.expires_at.unwrap_or(jiff::Timestamp::MAX);
            let question = question(&route, row, channel, expires_at, (&calendar, at));
            let goes_out = matches!(decide(&question, at), Verdict::Send | Verdict::Wait { .. });
            match composer.compose((row, 0), channel, 1) {
                Ok(message) if goes_out => each(row, message),
                _ => ControlFlow::Continue(()),
            }
        })
    }
}

/// The stored rows of a batch, opened for reading only: dispatch may be writing beside it.
struct Rows {
    log: LogReader,
    duplicates: Option<LogReader>,
    duplicates_path: PathBuf,
    head: RowHead,
}

impl Rows {
    fn open(folder: &BatchFolder) -> Result<Rows, DispatchError> {
        let mut log = LogReader::open(&folder.rows())?;
        let mut body = Vec::new();
        let head = match log.next(&mut body)? {
            Some((RowHead::KIND, _)) => RowHead::from_bytes(&body).map_err(SpoolError::from)?,
            _ => return Err(SpoolError::Damaged { path: folder.rows(), offset: 0 }.into()),
        };
        let duplicates_path = folder.duplicates();
        let duplicates = LogReader::open_if_there(&duplicates_path)?;
        Ok(Rows { log, duplicates, duplicates_path, head })
    }

    /// Hands on the accepted rows until `each` has enough.
    fn each_accepted(
        &self,
        store: &Store,
        record: &BatchRecord,
        each: &mut dyn FnMut(&StoredRow<'_>, ChannelKind) -> ControlFlow<()>,
    ) -> Result<(), DispatchError> {
        let mut from = 0;
        while let Some(chunk) = store.chunks(record.id, from, 1)?.pop() {
            from = chunk.number + 1;
            for row in self.chunk(&chunk)?.rows()? {
                let (RowState::Accepted, Some(channel)) = (row.state, row.channel) else {
                    continue;
                };
                if each(&row, channel).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn chunk(&self, chunk: &ChunkRecord) -> Result<Chunk, DispatchError> {
        let position = Position { offset: chunk.offset, bytes: chunk.bytes };
        let marks = match (&self.duplicates, chunk.duplicates) {
            (Some(log), Some((offset, bytes))) => Some((log, Position { offset, bytes })),
            (None, Some(_)) => {
                return Err(SpoolError::Missing { path: self.duplicates_path.clone() }.into());
            }
            (_, None) => None,
        };
        Ok(Chunk::read(&self.log, position, marks)?)
    }
}
