//! Small things all kinds of answers share.

use std::borrow::Cow;

use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, UntilHint};

/// Longest provider code or id kept, in bytes.
const CODE_BYTES_MAX: usize = 64;
const ID_BYTES_MAX: usize = 256;

pub(super) fn transient() -> Outcome {
    Outcome::Transient(UntilHint(None))
}

/// Not connected, or lost before anything could have been taken.
pub(super) fn lost(detail: impl Into<Cow<'static, str>>) -> Attempt {
    Attempt::new(transient(), Some(ReasonCode::DeliveryNetwork), detail)
}

/// Handed over, and no answer to trust.
pub(super) fn unknown(detail: impl Into<Cow<'static, str>>) -> Attempt {
    Attempt::new(Outcome::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown), detail)
}

/// A provider's code: at most 64 bytes, no controls.
pub(super) fn clean_code(text: &str) -> String {
    cut(text, CODE_BYTES_MAX)
}

/// A provider's message id: at most 256 bytes, no controls.
pub(super) fn clean_id(text: &str) -> String {
    cut(text, ID_BYTES_MAX)
}

fn cut(text: &str, bytes_max: usize) -> String {
    let text = text.trim();
    if text.len() <= bytes_max && !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut clean = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if clean.len() + c.len_utf8() > bytes_max {
            break;
        }
        clean.push(c);
    }
    clean
}

/// A header's value on one line.
pub(super) fn one_line(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}
