//! The first messages of a batch, rendered and not sent.

use std::collections::HashSet;

use super::error::DispatchError;
use super::live::LiveBatch;
use super::message::{Composer, Unrenderable};
use super::settings::Route;
use crate::codes::ReasonCode;
use crate::model::OutgoingMessage;
use crate::spool::{RowState, Spool};
use crate::store::{BatchRecord, Store};

/// The message of an accepted row, or why it has none.
#[derive(Debug, Clone)]
pub struct TrialMessage {
    pub row: u64,
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
    let live = LiveBatch::open(spool, record.clone(), &HashSet::new())?;
    let mut composer = Composer::new(&live, route);
    let (mut messages, mut from) = (Vec::new(), 0);
    while messages.len() < most {
        let Some(chunk) = store.chunks(record.id, from, 1)?.pop() else { break };
        from = chunk.number + 1;
        for row in live.chunk(&chunk)?.rows()? {
            let (RowState::Accepted, Some(channel)) = (row.state, row.channel) else { continue };
            if messages.len() == most {
                break;
            }
            let message = composer.compose(&row, channel, 1).map_err(|Unrenderable(code)| code);
            messages.push(TrialMessage { row: row.row, message });
        }
    }
    Ok(messages)
}
