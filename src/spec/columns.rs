//! The table of columns: what a file may hold.

use super::tables::csv;
use crate::intake::TenantSettings;
use crate::model::{Category, ControlOp, Kind};
use crate::records::Column;

/// One column of a file: whether it must be there, how it is written, what it means, and
/// an example.
struct About {
    column: Column,
    required: &'static str,
    format: &'static str,
    meaning: &'static str,
    example: &'static str,
}

const fn about(
    column: Column,
    required: &'static str,
    format: &'static str,
    meaning: &'static str,
    example: &'static str,
) -> About {
    About { column, required, format, meaning, example }
}

const ADDRESS: &str = "one of the addresses";
const BODY: &str = "one of template, text, html";
const NUMBER: &str = "with +, or in the row's or the tenant's country";
const TIME: &str = "2026-11-22T10:00:00Z, or 2026-11-22 10:00 in tz";
const SHORT: &str = "at most 1000 characters";
const CHANNELS: &str = "one of the tenant's channels";
const CATEGORIES: &str = "one of the categories";
const OPERATIONS: &str = "one of the operations";

/// Every column this version takes, in the order of the contract.
const MESSAGES: &[About] = &[
    about(
        Column::RowId,
        "no",
        "at most 128 characters",
        "your key of this message; one that was used is not sent again",
        "A-1001",
    ),
    about(
        Column::Channel,
        "where the addresses leave a choice",
        CHANNELS,
        "how the message goes out",
        "email",
    ),
    about(
        Column::Fallback,
        "no",
        "channels in their order, each with a time for its receipt if it has one",
        "what is tried where the channels before it failed or gave no receipt in time",
        "whatsapp:10m>sms>email",
    ),
    about(
        Column::To,
        ADDRESS,
        "as its channel has it; channel must be given",
        "the recipient",
        "ann@example.com",
    ),
    about(Column::Email, ADDRESS, "one address", "the recipient of an email", "ann@example.com"),
    about(
        Column::Phone,
        ADDRESS,
        NUMBER,
        "the recipient of an sms, of whatsapp and viber too",
        "+12015550123",
    ),
    about(Column::Whatsapp, ADDRESS, NUMBER, "the recipient on whatsapp", "+12015550123"),
    about(Column::Viber, ADDRESS, NUMBER, "the recipient on viber", "+12015550123"),
    about(
        Column::TelegramChatId,
        ADDRESS,
        "a number, or @name",
        "the recipient's chat on telegram",
        "123456789",
    ),
    about(
        Column::Template,
        BODY,
        "a name of templates.csv",
        "which template makes the message",
        "invoice",
    ),
    about(
        Column::Text,
        BODY,
        "text; {{ name }} stands for a variable",
        "the message itself",
        "Dear {{ first_name }}",
    ),
    about(
        Column::Html,
        BODY,
        "HTML, for email only",
        "the message itself, beside or without text",
        "<p>Dear {{ first_name }}</p>",
    ),
    about(Column::Subject, "no", SHORT, "the subject of an email", "Your invoice"),
    about(Column::Lang, "no", "en, de-AT", "chooses between templates of one name", "en"),
    about(
        Column::Sender,
        "no",
        "a sender of the tenant",
        "whom the message comes from; by default the first",
        "ACME",
    ),
    about(
        Column::ReplyTo,
        "no",
        "an email address",
        "where answers to an email go",
        "service@example.com",
    ),
    about(Column::Category, "no", CATEGORIES, "why the message is sent", "transactional"),
    about(Column::SendAt, "no", TIME, "not before this time", "2026-12-01 09:00"),
    about(Column::ExpiresAt, "no", TIME, "not after this time", "2026-12-01T18:00:00Z"),
    about(
        Column::Tz,
        "no",
        "Europe/Berlin",
        "the zone of this row's times and window",
        "Europe/Berlin",
    ),
    about(Column::Window, "no", "09:00-20:00", "hours in which it may go out", "09:00-20:00"),
    about(Column::Priority, "no", "1 to 9", "1 goes out first, 9 last; 5 where none is given", "5"),
    about(Column::Country, "no", "two letters", "the country of a phone number without one", "DE"),
    about(Column::Campaign, "no", SHORT, "comes back in the answers", "november"),
];

/// The columns of `control` files.
const CONTROL: &[About] = &[
    about(Column::Op, "yes", OPERATIONS, "what to do", "cancel"),
    about(
        Column::Target,
        "yes",
        "file:<name>, batch:<batch_id>, campaign:<name> or row:<row_id>",
        "what to act on",
        "file:messages_november.csv",
    ),
    about(
        Column::Reason,
        "no",
        "at most 200 characters",
        "why; it is kept in the operator's log",
        "wrong price",
    ),
];

/// Columns of the partner's own names.
const OWN: [[&str; 6]; 3] = [
    ["var_<name>", "what the template needs", "text", "", "a variable of template or text", "Ann"],
    ["x_<name>", "no", "text", "", "comes back unchanged in every answer about the row", "4711"],
    ["_<name>", "no", "anything", "", "is ignored", ""],
];

pub(super) fn table(tenant: &TenantSettings) -> Vec<u8> {
    let channels: Vec<&str> = tenant.channels.iter().map(|channel| channel.as_str()).collect();
    let categories: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
    let operations: Vec<&str> = ControlOp::ALL.iter().map(|op| op.as_str()).collect();
    let known = |kind: Kind, about: &'static About| {
        let format = match about.format {
            CHANNELS => channels.join("|").into(),
            CATEGORIES => categories.join("|").into(),
            OPERATIONS => operations.join("|").into(),
            format => format.into(),
        };
        vec![
            kind.as_str().into(),
            about.column.as_str().into(),
            about.required.into(),
            format,
            about.column.aliases().collect::<Vec<_>>().join("|").into(),
            about.meaning.into(),
            about.example.into(),
        ]
    };
    let messages = MESSAGES.iter().map(|about| known(Kind::Messages, about));
    let kind = Kind::Messages.as_str();
    let own =
        OWN.iter().map(|cells| [kind].iter().chain(cells).map(|cell| (*cell).into()).collect());
    let control = CONTROL.iter().map(|about| known(Kind::Control, about));
    let header = ["kind", "column", "required", "format", "aliases", "meaning", "example"];
    csv(&header, messages.chain(own).chain(control))
}

/// What a sample writes into a column of this name; nothing where the column is better left empty.
pub(super) fn example(column: Column) -> &'static str {
    MESSAGES.iter().find(|about| about.column == column).map_or("", |about| about.example)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_column_that_is_taken_once() {
        for column in Column::ALL {
            let found =
                MESSAGES.iter().chain(CONTROL).filter(|about| about.column == *column).count();
            assert_eq!(found, usize::from(column.is_built()), "{}", column.as_str());
        }
    }
}
