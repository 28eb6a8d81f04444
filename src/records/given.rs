//! What a profile may say of columns: names that mean something in its files, and values that a row
//! could have.

use jiff::tz::TimeZone;

use crate::codes::ReasonCode;
use crate::model::Kind;

use super::checker::{is_country, is_lang};
use super::layout::{Column, is_known, standard_name};
use super::moment::{self, Zones};
use super::nearest::{did_you_mean, nearest};
use super::{address, directives};

/// What is wrong with a name or a value of a profile, and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misgiven {
    /// A fragment that follows the name or the value.
    pub why: String,
    pub hint: Option<String>,
}

impl Misgiven {
    fn new(why: impl Into<String>, hint: Option<String>) -> Result<(), Misgiven> {
        Err(Misgiven { why: why.into(), hint })
    }
}

/// Whether a file of this kind may have a column of this name. What is neither a column nor probably meant
/// to be one is a template variable.
pub fn check_column(name: &str, kind: Kind) -> Result<(), Misgiven> {
    let name = standard_name(name, &[]);
    if !matches!(kind, Kind::Messages | Kind::Control) {
        return Ok(());
    }
    match Column::of_kind(&name, kind) {
        Some(column) if !column.is_built() => {
            let why = format!("names the column {name}, which this version does not have");
            return Misgiven::new(why, None);
        }
        Some(_) => return Ok(()),
        None if is_known(&name, kind) => return Ok(()),
        None => {}
    }
    let words = Column::ALL.iter().filter(|column| column.is_of(kind)).map(|c| c.as_str());
    match (nearest(&name, words), kind) {
        (Some(known), Kind::Control) => {
            Misgiven::new("names no known column", Some(did_you_mean(known)))
        }
        (Some(known), _) => {
            let hint = format!("{} A variable of this name is var_{name}", did_you_mean(known));
            Misgiven::new("names no known column", Some(hint))
        }
        (None, Kind::Control) => {
            let hint = "a control file has the columns op, target, reason and x_*";
            Misgiven::new("names no known column", Some(hint.to_owned()))
        }
        (None, _) => Ok(()),
    }
}

/// Whether a profile can give this value to a column of all rows.
pub fn check_given(
    name: &str,
    value: &str,
    kind: Kind,
    date_format: Option<&str>,
) -> Result<(), Misgiven> {
    check_column(name, kind)?;
    let name = standard_name(name, &[]);
    if name.starts_with('_') {
        let hint = "columns that begin with _ are ignored; x_ brings one back in the answers";
        return Misgiven::new("is given to a column that nobody reads", Some(hint.to_owned()));
    }
    let Some(column) = Column::of_kind(&name, kind).filter(|_| !matches!(value, "" | "\\N")) else {
        return Ok(());
    };
    let lower = value.to_ascii_lowercase();
    let when = |good: bool, code: ReasonCode| if good { Ok(()) } else { Err(code.advice().into()) };
    let checked = match column {
        Column::Channel => directives::allowed(&name, &lower, &Zones::new()),
        Column::Category | Column::Fallback | Column::Tz | Column::Window => {
            directives::allowed(&name, value, &Zones::new())
        }
        Column::SendAt | Column::ExpiresAt => when(
            moment::instant(value, date_format, &TimeZone::UTC).is_some(),
            ReasonCode::RowTimeInvalid,
        ),
        Column::Priority => {
            when(matches!(value.parse::<u8>(), Ok(1..=9)), ReasonCode::RowNumberInvalid)
        }
        Column::Country => when(is_country(value), ReasonCode::RowCountryUnknown),
        Column::Lang => when(is_lang(value), ReasonCode::RowLangUnknown),
        Column::ReplyTo => when(address::is_mailbox(value), ReasonCode::RowEmailInvalid),
        _ => Ok(()),
    };
    checked.or_else(|hint| Misgiven::new(format!("is no {name} that a row could have"), Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expected: Result<(), &str>) {
        let found = check_given(name, value, Kind::Messages, Some("%d.%m.%Y"));
        match (&found, expected) {
            (Ok(()), Ok(())) => {}
            (Err(wrong), Err(part)) => {
                let text = format!("{} {}", wrong.why, wrong.hint.clone().unwrap_or_default());
                assert!(text.contains(part), "{name}: {text}");
            }
            _ => panic!("{name} = {value:?}: {found:?}"),
        }
    }

    #[test]
    fn names_and_values_that_no_row_could_have_are_complained_of() {
        for (name, value) in [
            ("channel", "SMS"),
            ("Category", "utility"),
            ("window", "08:00-20:00"),
            ("window", ""),
            ("tz", "Europe/Berlin"),
            ("country", "de"),
            ("lang", "de-AT"),
            ("send_at", "22.11.2026"),
            ("first_name", "Kunde"),
            ("var_sedner", "any"),
            ("x_sys", "ERP"),
            ("mail", "a@x.example"),
        ] {
            check(name, value, Ok(()));
        }
        for (name, value, part) in [
            ("categroy", "transactional", "did you mean `category`?"),
            ("media", "a.jpg", "the column media, which this version does not have"),
            ("priority", "10", "priority that a row could have"),
            ("fallback", "sms>fax", "whatsapp:10m>sms>email"),
            ("_note", "x", "nobody reads"),
            ("category", "ads", "use marketing"),
            ("channel", "fax", "use email"),
            ("window", "9-20", "09:00-20:00"),
            ("tz", "Mars/Base", "IANA"),
            ("country", "Germany", "country that a row could have"),
            ("lang", "deutsch!", "lang that a row could have"),
            ("expires_at", "tomorrow", "expires_at that a row could have"),
            ("reply_to", "nobody", "reply_to that a row could have"),
        ] {
            check(name, value, Err(part));
        }
        let control = |name| check_column(name, Kind::Control).is_ok();
        assert!(control("op") && control("x_who") && !control("email") && !control("tragte"));
        assert!(check_column("attr_colour", Kind::Contacts).is_ok());
    }
}
