//! Which channel a row means, and its address there.

use rlibphonenumber::Region;

use crate::codes::ReasonCode;
use crate::model::ChannelKind;

use super::address;
use super::chain;
use super::checker::RowCheck;
use super::layout::Column;
use super::message::MessageRow;
use super::nearest::{did_you_mean, nearest};
use super::problem::{cut_value, either};

/// Longest address of a channel that has no grammar of its own, in bytes.
const OTHER_MAX_BYTES: usize = 512;

/// Columns that can address a channel, the more particular first.
fn columns_of(channel: ChannelKind) -> &'static [Column] {
    match channel {
        ChannelKind::Email => &[Column::Email],
        ChannelKind::Sms => &[Column::Phone],
        ChannelKind::Whatsapp => &[Column::Whatsapp, Column::Phone],
        ChannelKind::Viber => &[Column::Viber, Column::Phone],
        ChannelKind::Telegram => &[Column::TelegramChatId],
        ChannelKind::Push | ChannelKind::Webhook => &[],
    }
}

/// Settles channel and address of a row, or notes why neither can be. Returns the channel as soon as
/// it is clear, also where the address is not good.
pub(super) fn choose(
    row: &mut RowCheck<'_>,
    region: Option<Region>,
    message: &mut MessageRow,
) -> Option<ChannelKind> {
    match chain::of(row) {
        Ok(Some(steps)) => return chain::choose(row, &steps, region, message),
        Ok(None) => {}
        Err(chain::Unreadable) => return None,
    }
    let channel =
        if row.value(Column::Channel).is_empty() { by_address(row)? } else { by_name(row)? };
    message.channel = channel;
    address(row, channel, true, region, (&mut message.to, &mut message.to_given));
    Some(channel)
}

/// The address of a row on a channel, as it is sent to and as it was given; notes why there is none.
/// `takes_to`: the column `to` may give it.
pub(super) fn address(
    row: &mut RowCheck<'_>,
    channel: ChannelKind,
    takes_to: bool,
    region: Option<Region>,
    (to, to_given): (&mut String, &mut String),
) {
    if let Some(column) = address_column(row, channel, takes_to) {
        to_given.push_str(row.value(column));
        normalise(row, channel, column, region, to);
    }
}

/// True where the row names an address for a channel, be it good or not.
pub(super) fn has_address(row: &RowCheck<'_>, channel: ChannelKind, takes_to: bool) -> bool {
    let is_given = |column: &Column| !row.value(*column).is_empty();
    columns_of(channel).iter().any(is_given) || takes_to && is_given(&Column::To)
}

fn by_name(row: &mut RowCheck<'_>) -> Option<ChannelKind> {
    let given = row.value(Column::Channel);
    let lower = given.to_ascii_lowercase();
    let Some(channel) = ChannelKind::from_text(&lower) else {
        let text = format!("there is no channel {:?}", cut_value(given));
        let hint = match nearest(given, row.checker.channels.iter().map(|c| c.as_str())) {
            Some(known) => did_you_mean(known),
            None => available(row),
        };
        row.fault(Column::Channel, ReasonCode::RowValueNotAllowed, text, hint);
        return None;
    };
    if !row.checker.channels.contains(&channel) {
        let text = format!("the tenant has no provider for {channel}");
        row.fault(Column::Channel, ReasonCode::RowChannelUnavailable, text, available(row));
    }
    Some(channel)
}

/// The one channel that the row's addresses leave among the tenant's.
fn by_address(row: &mut RowCheck<'_>) -> Option<ChannelKind> {
    let is_given = |column: &Column| !row.value(*column).is_empty();
    let reachable = |channel: &&ChannelKind| columns_of(**channel).iter().any(is_given);
    let mut choices = row.checker.channels.iter().filter(reachable);
    let (first, second) = (choices.next().copied(), choices.next());
    match (first, second) {
        (Some(channel), None) => return Some(channel),
        (Some(_), Some(_)) => {
            let choices = row.checker.channels.iter().filter(reachable).map(|c| c.as_str());
            let hint = format!("fill the column channel with {}", either(choices));
            let text = "the row's addresses leave more than one choice of channel";
            row.row_fault(ReasonCode::RowAddressConflict, text, hint);
        }
        (None, _) if is_given(&Column::To) => {
            let text = "the column to needs to know its channel";
            row.fault(Column::Channel, ReasonCode::RowValueMissing, text, available(row));
        }
        (None, _) => match Column::ADDRESSES.into_iter().find(is_given) {
            Some(column) => {
                let text = format!("the tenant has no channel for {}", column.as_str());
                row.fault(column, ReasonCode::RowChannelUnavailable, text, available(row));
            }
            None => {
                let code = ReasonCode::RowAddressMissing;
                row.row_fault(code, "the row has no address", code.advice());
            }
        },
    }
    None
}

pub(super) fn available(row: &RowCheck<'_>) -> String {
    match row.checker.channels.as_slice() {
        [] => "ask the operator for a provider".to_owned(),
        channels => format!("use {}", either(channels.iter().map(|channel| channel.as_str()))),
    }
}

/// The column that holds the address for the channel; `to` serves every channel.
fn address_column(row: &mut RowCheck<'_>, channel: ChannelKind, takes_to: bool) -> Option<Column> {
    let is_given = |column: &Column| !row.value(*column).is_empty();
    let own = columns_of(channel).iter().copied().find(is_given);
    match (own, takes_to && is_given(&Column::To)) {
        (Some(own), true) if row.value(own) != row.value(Column::To) => {
            let text = format!("to and {} differ", own.as_str());
            row.fault(Column::To, ReasonCode::RowAddressConflict, text, "keep one of the two");
            None
        }
        (Some(own), _) => Some(own),
        (None, true) => Some(Column::To),
        (None, false) => {
            let other = Column::ADDRESSES.into_iter().find(is_given);
            match other {
                Some(other) => {
                    let text = format!("{} cannot be used for {channel}", other.as_str());
                    row.plain_fault(other, ReasonCode::RowAddressUnfitForChannel, text);
                }
                None => {
                    let text = format!("the row has no address for {channel}");
                    let code = ReasonCode::RowAddressMissing;
                    row.row_fault(code, text, code.advice());
                }
            }
            None
        }
    }
}

fn normalise(
    row: &mut RowCheck<'_>,
    channel: ChannelKind,
    column: Column,
    region: Option<Region>,
    to: &mut String,
) {
    let given = row.value(column);
    let by_phone = chain::is_by_phone(channel);
    let looks_phone = given.strip_prefix('+').unwrap_or(given).bytes().all(|b| b.is_ascii_digit());
    let unfit = (by_phone && given.contains('@'))
        || (channel == ChannelKind::Email && looks_phone && column == Column::To);
    if unfit {
        let text = format!("the address cannot be used for {channel}");
        return row.plain_fault(column, ReasonCode::RowAddressUnfitForChannel, text);
    }
    let checked = match channel {
        ChannelKind::Email => address::email(given, to),
        _ if by_phone => address::phone(given, region, to),
        ChannelKind::Telegram if is_chat(given) => {
            to.push_str(given);
            return;
        }
        ChannelKind::Telegram => {
            let text = "the chat id is neither a number nor a channel's @name";
            let hint = "write the id that the bot received";
            return row.fault(column, ReasonCode::RowValueNotAllowed, text, hint);
        }
        _ => {
            to.push_str(given);
            if given.len() > OTHER_MAX_BYTES || given.contains(char::is_control) {
                let text = "the address is too long or holds a control character";
                row.plain_fault(column, ReasonCode::RowAddressUnfitForChannel, text);
            }
            return;
        }
    };
    if let Err(fault) = checked {
        to.clear();
        row.fault(column, fault.code, fault.message, fault.hint);
    }
}

/// A Telegram chat: a number, negative for groups, or a channel's public name.
fn is_chat(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let is_name = text.strip_prefix('@').is_some_and(|name| {
        (4..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
    is_number || is_name
}
