//! The files of streams: lines that wait in the store become a numbered file now and then.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::OutboxError;
use super::settings::Settings;
use crate::files::AnswerTree;
use crate::model::{Stream, TenantId};
use crate::report::StreamSheet;
use crate::store::{Store, StreamFile, StreamLine, StreamRecord};

/// A line waits at most this long for others to come into the same file.
const ROLL_AFTER: Duration = Duration::from_secs(60);
/// Lines read from the store at a time.
const PAGE: usize = 500;

/// Writes every file of a stream that is due, or that was begun. What fails is tried at the next tick;
/// only a failing store is fatal. Gives the streams of which a file was put into an outbox.
pub(super) fn publish_streams(
    store: &Store,
    settings: &Settings,
    now: Timestamp,
) -> Result<Vec<Stream>, OutboxError> {
    let (mut published, mut failed) = (Vec::new(), HashSet::new());
    loop {
        let mut due = store.streams()?;
        due.retain(|(tenant, stream, record)| {
            is_due(record, now) && !failed.contains(&(tenant.clone(), *stream))
        });
        if due.is_empty() {
            return Ok(published);
        }
        for (tenant, stream, _) in due {
            match publish_next(store, settings, &tenant, stream, now) {
                Ok(()) => published.push(stream),
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%tenant, %stream, error, "answer delayed, tried again later");
                    failed.insert((tenant, stream));
                }
            }
        }
    }
}

fn is_due(record: &StreamRecord, now: Timestamp) -> bool {
    let wait = SignedDuration::try_from(ROLL_AFTER).expect("a minute");
    let is_old = record.waiting_since.is_some_and(|since| now.duration_since(since) >= wait);
    record.file.is_some() || is_old || record.is_full()
}

fn publish_next(
    store: &Store,
    settings: &Settings,
    tenant: &TenantId,
    stream: Stream,
    now: Timestamp,
) -> Result<(), OutboxError> {
    let answers =
        (settings.tenant)(tenant).ok_or_else(|| OutboxError::UnknownTenant(tenant.clone()))?;
    let tree = AnswerTree::open(&settings.data_dir, tenant)?;
    let date = now.to_zoned(answers.timezone).date();
    let Some(file) = store.begin_stream_file(tenant, stream, date)? else { return Ok(()) };
    let name = StreamSheet::name(stream, file.date, file.number);
    let folder = format!("{}outbox", stream.realm().root());
    tree.publish(&folder, &name, |out| write(store, tenant, stream, &file, out))?;
    store.end_stream_file(tenant, stream, &file, now)?;
    let lines = file.last_line + 1 - file.first_line;
    let test = stream.realm().is_test().then_some(true);
    tracing::info!(%tenant, file = name, lines, test, "stream published");
    Ok(())
}

fn write(
    store: &Store,
    tenant: &TenantId,
    stream: Stream,
    file: &StreamFile,
    out: &mut dyn Write,
) -> Result<(), OutboxError> {
    let mut x_columns: Vec<String> = Vec::new();
    each_line(store, (tenant, stream), file, |line| {
        for (name, _) in &line.x {
            if !x_columns.contains(name) {
                x_columns.push(name.clone());
            }
        }
        Ok(())
    })?;
    let mut sheet = StreamSheet::start(out, stream, x_columns)?;
    each_line(store, (tenant, stream), file, |line| {
        Ok(sheet.write(line.number, &line.cells, &line.x)?)
    })
}

fn each_line(
    store: &Store,
    (tenant, stream): (&TenantId, Stream),
    file: &StreamFile,
    mut each: impl FnMut(&StreamLine) -> Result<(), OutboxError>,
) -> Result<(), OutboxError> {
    let mut next = file.first_line;
    while next <= file.last_line {
        let page = store.stream_lines(tenant, stream, next, PAGE)?;
        page.iter().filter(|line| line.number <= file.last_line).try_for_each(&mut each)?;
        match page.last() {
            Some(line) => next = line.number + 1,
            None => break,
        }
    }
    Ok(())
}
