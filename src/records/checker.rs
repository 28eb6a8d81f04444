//! From a record to a checked message: what makes a row of a `messages` file good.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rlibphonenumber::Region;

use crate::codes::{ReasonCode, Severity};
use crate::model::{Category, ChannelKind, MaxAge, normalise_name};

use super::address;
use super::directives::Directives;
use super::layout::{Column, Layout, UNBUILT, standard_name};
use super::message::{MessageRow, TenantContext};
use super::moment::Zones;
use super::nearest::{did_you_mean, nearest};
use super::own::unwrapped;
use super::problem::{FileProblem, RowError, cut_value};
use super::recipient;
use super::record::Record;
use super::settings::ReadSettings;
use super::template::Templates;
use super::workbook::NO_VALUE;

/// Longest `row_id`, in characters.
const ROW_ID_MAX_CHARS: usize = 128;
/// Longest of the other short cells, in characters.
const WORD_MAX_CHARS: usize = 1000;
/// ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ \
    BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE \
    DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR \
    GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP \
    KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT \
    MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

/// Where a column's value comes from, the strongest first.
#[derive(Debug, Default)]
struct Origin {
    fixed: Option<String>,
    position: Option<usize>,
    /// The directive's value, else the profile's default.
    fallback: String,
}

/// Checks the rows of one file.
pub struct MessageChecker {
    pub(super) layout: Layout,
    origins: Vec<Origin>,
    /// Columns without a meaning yet that this file gives.
    unbuilt: Vec<Column>,
    /// The tenant's country.
    region: Option<Region>,
    pub(super) timezone: TimeZone,
    pub(super) channels: Vec<ChannelKind>,
    pub(super) default_category: Option<Category>,
    pub(super) templates: Templates,
    pub(super) max_age: MaxAge,
    pub(super) now: Timestamp,
    pub(super) date_format: Option<String>,
    /// Local times are read where each recipient is.
    pub(super) by_recipient: bool,
    pub(super) zones: Zones,
}

impl MessageChecker {
    pub fn new(
        layout: Layout,
        directives: &Directives,
        settings: &ReadSettings,
        tenant: TenantContext,
    ) -> MessageChecker {
        let origin = |column: &Column| {
            let given = |pairs: &[(String, String)]| {
                let is_it = |(name, _): &&(String, String)| {
                    standard_name(&normalise_name(name), &[]) == column.as_str()
                };
                pairs.iter().find(is_it).map(|(_, value)| value.clone())
            };
            Origin {
                fixed: given(&settings.values),
                position: layout.position(*column),
                fallback: directives
                    .get(column.as_str())
                    .map(str::to_owned)
                    .or_else(|| given(&settings.defaults))
                    .unwrap_or_default(),
            }
        };
        let origins: Vec<Origin> = Column::ALL.iter().map(origin).collect();
        let is_given = |column: &Column| {
            let origin = &origins[*column as usize];
            origin.position.is_some() || origin.fixed.is_some() || !origin.fallback.is_empty()
        };
        MessageChecker {
            unbuilt: UNBUILT.into_iter().filter(is_given).collect(),
            region: tenant.default_country.and_then(|country| region(&country)),
            timezone: tenant.timezone,
            channels: tenant.channels,
            default_category: tenant.default_category,
            templates: Templates::new(tenant.templates, &layout),
            max_age: tenant.max_age,
            now: tenant.now,
            date_format: settings.date_format.clone(),
            by_recipient: directives.get("tz_mode") == Some("recipient"),
            zones: Zones::new(),
            layout,
            origins,
        }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is wrong with a template that is named for the whole file; to be asked before the rows.
    pub fn file_problems(&self) -> Vec<FileProblem> {
        let origin = &self.origins[Column::Template as usize];
        let name = match (&origin.fixed, origin.position) {
            (Some(fixed), _) => fixed,
            (None, None) => &origin.fallback,
            (None, Some(_)) => return Vec::new(),
        };
        if name.is_empty() {
            return Vec::new();
        }
        if self.templates.named(name).next().is_none() {
            let message = format!("there is no template {:?}", cut_value(name));
            let problem = FileProblem::new(ReasonCode::HeaderTemplateUnknown, message).value(name);
            return vec![problem.hint(self.templates.hint(name))];
        }
        let has = |variable: &&String| self.layout.variable_names().any(|name| name == **variable);
        let unmet = |variable: &String| {
            let message = format!("the template {name} needs {variable}, and no column gives it");
            let add = format!("add the column var_{variable}");
            let hint = match nearest(variable, self.layout.variable_names()) {
                Some(known) => {
                    format!("{} The file gives {known}", did_you_mean(&format!("var_{variable}")))
                }
                None => add,
            };
            FileProblem::new(ReasonCode::HeaderVariableWithoutColumn, message)
                .value(variable)
                .hint(hint)
        };
        // Variants on other channels may need other variables: only what all of them need is missed.
        let first = self.templates.named(name).next().map(|t| t.variables.as_slice());
        let in_all = |variable: &&String| {
            self.templates.named(name).all(|template| template.variables.contains(variable))
        };
        let needed = first.unwrap_or_default().iter().filter(in_all);
        needed.filter(|variable| !has(variable)).map(unmet).collect()
    }

    /// Checks one row; returns whether it is good. All its problems are added to `errors`, which is empty
    /// before, one each.
    pub fn check(
        &self,
        record: &Record,
        message: &mut MessageRow,
        errors: &mut Vec<RowError>,
    ) -> bool {
        message.clear();
        message.row = record.row;
        message.line = record.line;
        let mut row = RowCheck { checker: self, record, errors };
        row.unbuilt();
        row.damage();
        row.words(message);
        let region = row.country(message);
        let channel = recipient::choose(&mut row, region, message);
        row.content(channel, message);
        row.times(channel, message);
        row.priority(message);
        !errors.iter().any(|error| error.severity == Severity::Error)
    }
}

pub(super) fn is_country(text: &str) -> bool {
    COUNTRIES.split(' ').any(|country| country.eq_ignore_ascii_case(text))
}

/// The region of a country that has telephone numbers.
fn region(country: &str) -> Option<Region> {
    country.to_ascii_uppercase().parse().ok()
}

/// One row under check.
pub(super) struct RowCheck<'a> {
    pub(super) checker: &'a MessageChecker,
    pub(super) record: &'a Record,
    pub(super) errors: &'a mut Vec<RowError>,
}

impl<'a> RowCheck<'a> {
    /// The value of a column: fixed by the profile, else the cell, else directive, else default.
    pub(super) fn value(&self, column: Column) -> &'a str {
        let origin = &self.checker.origins[column as usize];
        if let Some(fixed) = &origin.fixed {
            return fixed;
        }
        let Some(at) = origin.position else { return &origin.fallback };
        let cell = self.record.get(at).unwrap_or_default();
        let is_body = matches!(column, Column::Text | Column::Html);
        let trimmed = trimmed(cell);
        match trimmed {
            "" => &origin.fallback,
            "\\N" => "",
            _ if is_body => cell,
            _ => unwrapped(trimmed),
        }
    }

    /// True where the profile fixes the value for every row.
    pub(super) fn is_fixed(&self, column: Column) -> bool {
        self.checker.origins[column as usize].fixed.is_some()
    }

    /// True where the row's own cell gives the value.
    pub(super) fn is_own(&self, column: Column) -> bool {
        let origin = &self.checker.origins[column as usize];
        let cell = origin.position.and_then(|at| self.record.get(at)).unwrap_or_default();
        origin.fixed.is_none() && !cell.trim().is_empty()
    }

    /// Notes a problem of a column's value.
    pub(super) fn fault(
        &mut self,
        column: Column,
        code: ReasonCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let origin = &self.checker.origins[column as usize];
        let at = origin.position.filter(|_| origin.fixed.is_none());
        let name = cut_value(at.map_or(column.as_str(), |at| self.checker.layout.name_at(at)));
        let value = cut_value(self.value(column));
        if is_damaged(&value) && at.is_some() {
            // That was said, and nothing else is wrong with it.
            return;
        }
        self.push(at, name, value, code, message.into(), hint.into());
    }

    /// Notes what does not keep the row from being sent.
    pub(super) fn warn(&mut self, column: Column, code: ReasonCode, message: String, hint: &str) {
        let before = self.errors.len();
        self.fault(column, code, message, hint);
        for warning in &mut self.errors[before..] {
            warning.severity = Severity::Warning;
        }
    }

    /// Notes a problem with the advice that goes with its code.
    pub(super) fn plain_fault(
        &mut self,
        column: Column,
        code: ReasonCode,
        message: impl Into<String>,
    ) {
        self.fault(column, code, message, code.advice());
    }

    /// Notes a problem that belongs to no single cell.
    pub(super) fn row_fault(
        &mut self,
        code: ReasonCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(None, String::new(), String::new(), code, message.into(), hint.into());
    }

    pub(super) fn push(
        &mut self,
        at: Option<usize>,
        column_name: String,
        value: String,
        code: ReasonCode,
        message: String,
        hint: String,
    ) {
        self.errors.push(RowError {
            line: self.record.line,
            row: self.record.row,
            row_id: cut_value(self.value(Column::RowId)),
            column: at.map(|at| at + 1),
            column_name,
            code,
            severity: code.severity(),
            message,
            value,
            hint,
        });
    }

    fn unbuilt(&mut self) {
        for column in &self.checker.unbuilt {
            if !self.value(*column).is_empty() {
                let message = format!("{} is not available in this version", column.as_str());
                self.fault(
                    *column,
                    ReasonCode::RowValueNotAllowed,
                    message,
                    "leave the cell empty or remove the column",
                );
            }
        }
    }

    /// Cells in which a spreadsheet left an error instead of a value.
    fn damage(&mut self) {
        // Looked through to the end: without a way out in the middle it goes by whole registers.
        if !self.record.text.bytes().fold(false, |found, byte| found | (byte == b'#')) {
            return;
        }
        for (at, cell) in self.record.iter().enumerate() {
            let cell = cell.trim();
            let name = self.checker.layout.name_at(at);
            if is_damaged(cell) && !name.starts_with('_') && !name.is_empty() {
                let code = ReasonCode::RowCellDamaged;
                let (message, hint) = damage_of(cell);
                let hint = hint.to_owned();
                self.push(Some(at), cut_value(name), cut_value(cell), code, message, hint);
            }
        }
    }

    /// Copies the short cells: no control characters, no endless values.
    fn words(&mut self, message: &mut MessageRow) {
        for (column, target, most) in [
            (Column::RowId, &mut message.row_id, ROW_ID_MAX_CHARS),
            (Column::Campaign, &mut message.campaign, WORD_MAX_CHARS),
            (Column::Subject, &mut message.subject, WORD_MAX_CHARS),
            (Column::Sender, &mut message.sender, WORD_MAX_CHARS),
            (Column::ReplyTo, &mut message.reply_to, WORD_MAX_CHARS),
            (Column::Template, &mut message.template, WORD_MAX_CHARS),
        ] {
            let value = self.value(column);
            if value.is_empty() {
                continue;
            }
            if value.len() > most && value.chars().count() > most {
                let text = format!("{} has more than {most} characters", column.as_str());
                self.plain_fault(column, ReasonCode::RowValueTooLong, text);
            }
            // Only a record that holds a control character, or a value from elsewhere, can have one.
            if (self.record.has_controls || !self.is_own(column) || !value.is_ascii())
                && value.contains(char::is_control)
            {
                let text = format!("{} holds a control character or line end", column.as_str());
                self.plain_fault(column, ReasonCode::RowControlCharacter, text);
            }
            target.push_str(value);
        }
        if address::is_scientific(&message.row_id) && message.row_id.contains('+') {
            let text = "a spreadsheet program rounded the row_id";
            self.plain_fault(Column::RowId, ReasonCode::RowCellDamaged, text);
        }
        if !message.reply_to.is_empty() && !address::is_mailbox(&message.reply_to) {
            let text = "reply_to is not a valid email address";
            self.plain_fault(Column::ReplyTo, ReasonCode::RowEmailInvalid, text);
        }
    }

    /// The row's country, else the tenant's.
    fn country(&mut self, message: &mut MessageRow) -> Option<Region> {
        let given = self.value(Column::Country);
        if given.is_empty() {
            return self.checker.region;
        }
        message.country.push_str(given);
        message.country.make_ascii_uppercase();
        if !is_country(&message.country) {
            let code = ReasonCode::RowCountryUnknown;
            let text = format!("there is no country {:?}", cut_value(given));
            let hint = match message.country.as_str() {
                // Common, and not in ISO 3166.
                "UK" => did_you_mean("GB"),
                "EL" => did_you_mean("GR"),
                _ => code.advice().to_owned(),
            };
            self.fault(Column::Country, code, text, hint);
            return self.checker.region;
        }
        region(&message.country)
    }
}

/// The cell without white space around it. Most have none: two looks settle that, since this is asked
/// many times a row.
fn trimmed(cell: &str) -> &str {
    match cell.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => cell,
        _ => cell.trim(),
    }
}

/// What happened to a damaged cell, and what to do.
fn damage_of(cell: &str) -> (String, &'static str) {
    if cell == NO_VALUE {
        let message = "the cell holds a formula, and its value was not saved with it".to_owned();
        return (message, "open the file in a spreadsheet program and save it, or write the value");
    }
    let message = format!("the cell holds the spreadsheet error {}", cut_value(cell));
    (message, "widen or repair the column and export again")
}

/// `#NAME?`, `#REF!` and their kin, or a column too narrow for its number.
fn is_damaged(cell: &str) -> bool {
    const ERRORS: [&str; 9] =
        [NO_VALUE, "#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#N/A", "#NUM!", "#NULL!", "#SPILL!"];
    ERRORS.contains(&cell) || (cell.len() >= 4 && cell.bytes().all(|b| b == b'#'))
}

/// A language tag by its shape (RFC 5646, 2.1), underscore taken for hyphen.
pub(super) fn is_lang(tag: &str) -> bool {
    let mut parts = tag.split(['-', '_']);
    let language = parts.next().unwrap_or_default();
    let letters = language.bytes().all(|b| b.is_ascii_alphabetic());
    (2..=3).contains(&language.len())
        && letters
        && tag.len() <= 35
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}
