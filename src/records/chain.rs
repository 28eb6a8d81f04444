//! Fallback chains: which channels a row goes out on one after the other, and its address on each.

use rlibphonenumber::Region;

use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind};

use super::checker::RowCheck;
use super::layout::Column;
use super::message::{FurtherStep, MessageRow};
use super::problem::cut_value;
use super::recipient;

/// The longest time that a step can wait for its receipt: three days, as a final answer does.
const RECEIPT_WAIT_MAX_S: u32 = 72 * 3600;
/// How a chain is written.
pub(super) const CHAIN_HINT: &str = "write channels in their order, each once, like whatsapp:10m>sms>email; a time ends in s, m or h";

/// One step as the cell names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) channel: ChannelKind,
    /// 0 where the step names no time.
    pub(super) receipt_within_s: u32,
}

/// Reads a chain; `None` where it is not one.
pub(super) fn parse(text: &str) -> Option<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for part in text.split('>') {
        let (channel, wait) = part.split_once(':').unwrap_or((part, ""));
        let channel = ChannelKind::from_text(&channel.trim().to_ascii_lowercase())?;
        let receipt_within_s = if part.contains(':') { seconds(wait.trim())? } else { 0 };
        if steps.iter().any(|step| step.channel == channel) {
            return None;
        }
        steps.push(Step { channel, receipt_within_s });
    }
    Some(steps)
}

fn seconds(text: &str) -> Option<u32> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let each = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
    let seconds = digits.parse::<u32>().ok().filter(|_| is_plain)?.checked_mul(each)?;
    (1..=RECEIPT_WAIT_MAX_S).contains(&seconds).then_some(seconds)
}

/// The row's chain is none; that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The row's chain, if it has one.
pub(super) fn of(row: &mut RowCheck<'_>) -> Result<Option<Vec<Step>>, Unreadable> {
    let given = row.value(Column::Fallback);
    if given.is_empty() {
        return Ok(None);
    }
    let Some(steps) = parse(given) else {
        let text = format!("{:?} is no chain of channels", cut_value(given));
        row.fault(Column::Fallback, ReasonCode::RowValueNotAllowed, text, CHAIN_HINT);
        return Err(Unreadable);
    };
    let channel = row.value(Column::Channel);
    if channel.is_empty() || channel.eq_ignore_ascii_case(steps[0].channel.as_str()) {
        return Ok(Some(steps));
    }
    match (row.is_own(Column::Channel), row.is_own(Column::Fallback)) {
        // The row outranks what directive or profile say for all rows.
        (false, true) => Ok(Some(steps)),
        (true, false) => Ok(None),
        _ => {
            let first = steps[0].channel;
            let text = format!("the chain begins with {first}, and channel says {channel}");
            let hint = "let channel be the first step, or leave it empty";
            row.fault(Column::Fallback, ReasonCode::RowValueNotAllowed, text, hint);
            Err(Unreadable)
        }
    }
}

/// Settles the addresses of all steps; those without one are left out. Returns the channel of the first
/// that is left.
pub(super) fn choose(
    row: &mut RowCheck<'_>,
    steps: &[Step],
    region: Option<Region>,
    message: &mut MessageRow,
) -> Option<ChannelKind> {
    let mut first = None;
    for (at, step) in steps.iter().enumerate() {
        let channel = step.channel;
        if !row.checker.channels.contains(&channel) {
            let text = format!("the tenant has no provider for {channel}");
            let hint = recipient::available(row);
            row.fault(Column::Fallback, ReasonCode::RowChannelUnavailable, text, hint);
        }
        // `to` is meant for the first step, and for others that a number of the same kind serves.
        let takes_to = at == 0 || is_by_phone(channel) && is_by_phone(steps[0].channel);
        if !recipient::has_address(row, channel, takes_to) {
            let text = format!("the row has no address for {channel}: the step is left out");
            row.warn(Column::Fallback, ReasonCode::RowAddressMissing, text, CHAIN_LEFT_OUT);
            continue;
        }
        let (mut to, mut to_given) = (String::new(), String::new());
        recipient::address(row, channel, takes_to, region, (&mut to, &mut to_given));
        if first.is_none() {
            first = Some(channel);
            message.channel = channel;
            message.receipt_within_s = step.receipt_within_s;
            (message.to, message.to_given) = (to, to_given);
        } else {
            message.further.push(FurtherStep {
                channel,
                receipt_within_s: step.receipt_within_s,
                to,
                to_given,
                template_at: None,
                category: Category::Marketing,
            });
        }
    }
    if first.is_none() {
        let code = ReasonCode::RowAddressMissing;
        row.row_fault(code, "the row has no address for any step of its chain", code.advice());
    }
    first
}

/// What to do about a step that is left out.
const CHAIN_LEFT_OUT: &str = "fill the address, or take the step out of the chain";

pub(super) fn is_by_phone(channel: ChannelKind) -> bool {
    matches!(channel, ChannelKind::Sms | ChannelKind::Whatsapp | ChannelKind::Viber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_read_as_partners_write_them() {
        let step = |channel, receipt_within_s| Step { channel, receipt_within_s };
        let (sms, email) = (ChannelKind::Sms, ChannelKind::Email);
        for (text, steps) in [
            ("sms", vec![step(sms, 0)]),
            ("WhatsApp:10m > sms>email", {
                vec![step(ChannelKind::Whatsapp, 600), step(sms, 0), step(email, 0)]
            }),
            ("sms : 90s>email:72h", vec![step(sms, 90), step(email, 259_200)]),
        ] {
            assert_eq!(parse(text), Some(steps), "{text}");
        }
        for text in [
            "",
            ">",
            "sms>",
            "sms>fax",
            "sms>sms",
            "sms:",
            "sms:10",
            "sms:0s",
            "sms:73h",
            "sms:+5m",
            "sms:1.5h",
            "sms:ü",
            "sms:99999999999h",
            "sms:1m:2m",
            "sms,email",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
