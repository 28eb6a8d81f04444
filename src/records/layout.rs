//! From a header to what each column means.

use std::collections::HashMap;

use crate::codes::ReasonCode;
use crate::model::{Kind, is_invisible, normalise_name};

use super::address;
use super::directives::Directives;
use super::nearest::{did_you_mean, nearest};
use super::own::{Own, unwrapped};
use super::problem::{FileProblem, cut_value};
use super::record::Record;
use super::settings::ReadSettings;

/// Gives each standard column its name, from one table.
macro_rules! columns {
    ($($variant:ident $text:literal,)+) => {
        /// A standard column of `messages` and `control` files.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Column { $($variant,)+ }

        impl Column {
            pub const ALL: &'static [Column] = &[$(Column::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Column::$variant => $text,)+ }
            }

            /// The column of this normalised name; aliases are resolved before.
            fn from_text(text: &str) -> Option<Column> {
                match text { $($text => Some(Column::$variant),)+ _ => None }
            }
        }
    };
}

columns! {
    To "to",
    Email "email",
    Phone "phone",
    Whatsapp "whatsapp",
    TelegramChatId "telegram_chat_id",
    Viber "viber",
    ContactId "contact_id",
    RowId "row_id",
    Channel "channel",
    Fallback "fallback",
    Template "template",
    Text "text",
    Html "html",
    Lang "lang",
    Subject "subject",
    Sender "sender",
    ReplyTo "reply_to",
    Category "category",
    SendAt "send_at",
    ExpiresAt "expires_at",
    Tz "tz",
    Window "window",
    Priority "priority",
    Country "country",
    Campaign "campaign",
    Media "media",
    InReplyTo "in_reply_to",
    ConsentChannel "consent_channel",
    ConsentAction "consent_action",
    ConsentAt "consent_at",
    ConsentSource "consent_source",
    ConsentMethod "consent_method",
    ConsentPurpose "consent_purpose",
    ConsentProof "consent_proof",
    Op "op",
    Target "target",
    Reason "reason",
}

impl Column {
    pub(super) const COUNT: usize = Column::ALL.len();

    /// Columns that give the recipient's address.
    pub(super) const ADDRESSES: [Column; 6] = [
        Column::To,
        Column::Email,
        Column::Phone,
        Column::Whatsapp,
        Column::TelegramChatId,
        Column::Viber,
    ];

    const BODIES: [Column; 3] = [Column::Template, Column::Text, Column::Html];

    /// The columns of `control` files; those of `messages` are all others.
    const CONTROL: [Column; 3] = [Column::Op, Column::Target, Column::Reason];

    /// The column of this normalised name in files of a kind; aliases are resolved before.
    pub fn of_kind(name: &str, kind: Kind) -> Option<Column> {
        Column::from_text(name).filter(|column| column.is_of(kind))
    }

    pub fn is_of(self, kind: Kind) -> bool {
        Column::CONTROL.contains(&self) == (kind == Kind::Control)
    }

    /// Other words for it in a header.
    pub fn aliases(self) -> impl Iterator<Item = &'static str> {
        ALIASES.iter().filter(move |(_, column)| *column == self).map(|(word, _)| *word)
    }

    /// The column of a header cell of a messages file, as a file or a profile writes it; aliases count.
    pub fn from_header(cell: &str) -> Option<Column> {
        Column::of_kind(&standard_name(cell, &[]), Kind::Messages)
    }

    /// False for columns that the contract names and this version refuses.
    pub fn is_built(self) -> bool {
        !UNBUILT.contains(&self)
    }
}

/// Named by the contract, refused until they are built.
pub(super) const UNBUILT: [Column; 10] = [
    Column::ContactId,
    Column::Media,
    Column::InReplyTo,
    Column::ConsentChannel,
    Column::ConsentAction,
    Column::ConsentAt,
    Column::ConsentSource,
    Column::ConsentMethod,
    Column::ConsentPurpose,
    Column::ConsentProof,
];

/// Words that common exports use, and the standard names they stand for.
const ALIASES: [(&str, Column); 5] = [
    ("msisdn", Column::Phone),
    ("mobile", Column::Phone),
    ("phone_number", Column::Phone),
    ("e_mail", Column::Email),
    ("mail", Column::Email),
];

/// The standard name of a normalised one.
fn alias(name: &str) -> &str {
    ALIASES.iter().find(|(word, _)| *word == name).map_or(name, |(_, column)| column.as_str())
}

/// What each column of one file means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The header as the file or the profile names it, without trailing empty cells.
    names: Vec<String>,
    /// Fields a row may have when the surplus is empty: the trailing delimiter of every line.
    width_max: usize,
    positions: [Option<usize>; Column::COUNT],
    /// The `x_*` columns.
    extras: Vec<Own>,
    variables: Vec<Own>,
}

impl Layout {
    /// Names of the `x_*` columns, in the file's order; those that only the profile gives come last.
    pub fn x_columns(&self) -> impl Iterator<Item = &str> {
        self.extras.iter().map(|extra| extra.name.as_str())
    }

    /// The `x_*` values of a row, in the order of `x_columns`.
    pub fn x_values<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = &'a str> {
        self.extras.iter().map(|extra| extra.unchanged(record))
    }

    /// Names of the template variables: `var_<name>`, and columns that are not known.
    pub fn variable_names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.name.as_str())
    }

    /// The template variables of a row; empty where the cell is blank.
    pub fn variables<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.variables.iter().map(|variable| (variable.name.as_str(), variable.value(record)))
    }

    /// The value of the variable of this number, in the order of `variable_names`.
    pub(super) fn value_of<'a>(&'a self, number: usize, record: &'a Record) -> &'a str {
        self.variables[number].value(record)
    }

    /// The value of one template variable, or `None` where it has none in this row.
    pub fn variable<'a>(&'a self, name: &str, record: &'a Record) -> Option<&'a str> {
        let variable = self.variables.iter().find(|variable| variable.name == name)?;
        Some(variable.value(record)).filter(|value| !value.is_empty())
    }

    /// The columns that can give a template's variable: standard columns, `x_*` and `_*` keep their
    /// own meaning, so only `var_…` gives a variable of such a name.
    pub fn columns_for(variable: &str) -> String {
        if is_known(variable, Kind::Messages) {
            format!("var_{variable}")
        } else {
            format!("{variable} or var_{variable}")
        }
    }

    /// Where a standard column stands, 0-based.
    pub fn position(&self, column: Column) -> Option<usize> {
        self.positions[column as usize]
    }

    /// The name of a column as the file has it.
    pub fn name_at(&self, position: usize) -> &str {
        self.names.get(position).map_or("", String::as_str)
    }

    /// Columns the header names.
    pub fn width(&self) -> usize {
        self.names.len()
    }

    pub(super) fn width_max(&self) -> usize {
        self.width_max
    }

    /// Reads a header; warnings come with the layout, problems instead of it.
    pub(super) fn build(
        cells: &[String],
        settings: &ReadSettings,
        directives: &Directives,
    ) -> Result<(Layout, Vec<FileProblem>), Vec<FileProblem>> {
        let named = cells.iter().rposition(|cell| !cell.trim().is_empty()).map_or(0, |at| at + 1);
        if named > settings.limits.columns_max {
            let message = format!(
                "the header has {named} columns, more than {}",
                settings.limits.columns_max
            );
            return Err(vec![FileProblem::new(ReasonCode::HeaderTooManyColumns, message)]);
        }
        let (bytes, most) =
            (cells.iter().map(String::len).sum::<usize>(), settings.limits.record_max_bytes);
        if bytes > most {
            let message = format!("the names of the columns have more than {most} bytes together");
            return Err(vec![FileProblem::new(ReasonCode::HeaderTooManyColumns, message)]);
        }
        let mut building = Building {
            layout: Layout {
                names: cells[..named].iter().map(|cell| visible(cell).to_owned()).collect(),
                width_max: cells.len().max(named + 1),
                positions: [None; Column::COUNT],
                extras: Vec::new(),
                variables: Vec::new(),
            },
            kind: settings.kind,
            taken: HashMap::new(),
            warnings: Vec::new(),
            problems: Vec::new(),
        };
        // A file without a header cannot say whether its lines end in a delimiter, so each may; so may
        // its rows when they come back corrected, below a header of ours.
        if cells.len() == named && matches!(settings.header, super::HeaderMode::Present) {
            building.layout.width_max = named;
        }
        for (position, cell) in cells[..named].iter().enumerate() {
            building.place(position, cell, &standard_name(cell, &settings.columns));
        }
        building.given(settings);
        building.require(settings, directives);
        if building.problems.is_empty() {
            Ok((building.layout, building.warnings))
        } else {
            Err(building.problems)
        }
    }
}

/// A name without what stands around it and is not seen.
fn visible(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// The standard name of a header cell: the profile's mapping first, then aliases.
pub(super) fn standard_name(cell: &str, mapping: &[(String, String)]) -> String {
    let name = normalise_name(cell);
    match mapping.iter().find(|(own, _)| normalise_name(own) == name) {
        Some((_, standard)) => alias(&normalise_name(standard)).to_owned(),
        None => alias(&name).to_owned(),
    }
}

/// True for a name that has a meaning of its own: what tells a header from data.
pub(super) fn is_known(name: &str, kind: Kind) -> bool {
    Column::of_kind(name, kind).is_some()
        || ["x_", "var_", "_"]
            .iter()
            .any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
}

/// A header cell that is an address or a number rather than a name.
pub(super) fn looks_like_data(cells: &[String], settings: &ReadSettings) -> Option<usize> {
    let digits = |cell: &str| cell.bytes().filter(u8::is_ascii_digit).count();
    let is_address = |cell: &String| {
        let cell = unwrapped(cell.trim());
        let phone = cell.strip_prefix('+').is_some_and(|rest| {
            digits(rest) >= 7 && !rest.bytes().any(|b| b.is_ascii_alphabetic())
        });
        phone || address::is_email(cell)
    };
    let is_number = |cell: &String| {
        let cell = unwrapped(cell.trim());
        digits(cell) >= 1 && cell.bytes().all(|b| b.is_ascii_digit() || b".,-/ ".contains(&b))
    };
    let is_name = |cell: &String| is_known(&standard_name(cell, &settings.columns), settings.kind);
    let known = cells.iter().any(is_name);
    cells
        .iter()
        .position(is_address)
        .or_else(|| cells.iter().position(is_number).filter(|_| !known))
}

/// What is said of columns that are missing, the hint, and the columns that would do.
type Missing = (&'static str, &'static str, &'static [Column]);

/// A layout under construction.
struct Building {
    layout: Layout,
    kind: Kind,
    /// Standard name to the position that has it.
    taken: HashMap<String, usize>,
    warnings: Vec<FileProblem>,
    problems: Vec<FileProblem>,
}

impl Building {
    fn place(&mut self, position: usize, cell: &str, name: &str) {
        if name.starts_with('_') {
            return;
        }
        if name.is_empty() {
            let message = format!("column {} has no name and is ignored", position + 1);
            let warning = FileProblem::new(ReasonCode::HeaderColumnUnknown, message)
                .at_column(position, cell)
                .hint("name the column or remove it");
            return self.warnings.push(warning);
        }
        let known = is_known(name, self.kind);
        let variable = if known { name.strip_prefix("var_") } else { Some(name) };
        // A column `city` and a column `var_city` are the same variable; `email` and `var_email` are
        // not.
        let key = variable.map_or_else(|| name.to_owned(), |variable| format!("var_{variable}"));
        if let Some(earlier) = self.taken.insert(key, position) {
            let (first, second, name) = (earlier + 1, position + 1, cut_value(name));
            let message = format!("columns {first} and {second} both mean {name:?}");
            let problem = FileProblem::new(ReasonCode::HeaderColumnTwice, message);
            return self.problems.push(problem.at_column(position, cell));
        }
        if !known {
            self.warnings.push(unknown(position, cell, name, self.kind));
        }
        match (Column::of_kind(name, self.kind), variable) {
            (Some(column), _) => self.layout.positions[column as usize] = Some(position),
            (None, Some(variable)) => {
                self.layout.variables.push(Own::new(variable, Some(position)));
            }
            (None, None) => self.layout.extras.push(Own::new(name, Some(position))),
        }
    }

    /// Adds what a profile's `values` and `defaults` say about variables and `x_*` columns.
    fn given(&mut self, settings: &ReadSettings) {
        let fixed = settings.values.iter().map(|pair| (pair, true));
        let defaults = settings.defaults.iter().map(|pair| (pair, false));
        for ((name, value), is_fixed) in fixed.chain(defaults) {
            let name = standard_name(name, &[]);
            if Column::of_kind(&name, self.kind).is_some() || name.starts_with('_') {
                continue;
            }
            let (all, name) = match name.strip_prefix("var_") {
                Some(variable) => (&mut self.layout.variables, variable),
                None if is_known(&name, self.kind) => (&mut self.layout.extras, name.as_str()),
                None => (&mut self.layout.variables, name.as_str()),
            };
            let at = all.iter().position(|own| own.name == name).unwrap_or_else(|| {
                all.push(Own::new(name, None));
                all.len() - 1
            });
            if is_fixed {
                all[at].fixed = Some(value.clone());
            } else {
                all[at].default.clone_from(value);
            }
        }
    }

    /// A messages file needs an address column, and something to say; a control file what to do, and
    /// on what.
    fn require(&mut self, settings: &ReadSettings, directives: &Directives) {
        let given = |column: &Column| {
            let named = |pairs: &[(String, String)]| {
                pairs.iter().any(|(name, _)| alias(&normalise_name(name)) == column.as_str())
            };
            self.layout.position(*column).is_some()
                || directives.get(column.as_str()).is_some()
                || named(&settings.values)
                || named(&settings.defaults)
        };
        let mut missing = Vec::new();
        if self.kind == Kind::Control {
            if !given(&Column::Op) {
                missing.push(("nothing says what to do", "add the column op", &[Column::Op][..]));
            }
            if !given(&Column::Target) {
                let why = "nothing says what to act on";
                missing.push((why, "add the column target", &[Column::Target][..]));
            }
        } else {
            missing.extend(self.missing_of_messages(given));
        }
        for (message, hint, wanted) in missing {
            let problem = FileProblem::new(ReasonCode::HeaderColumnMissing, message);
            self.problems.push(match self.misspelt(wanted) {
                Some((at, column)) => {
                    let name = self.layout.names[at].clone();
                    problem.at_column(at, &name).value(&name).hint(did_you_mean(column.as_str()))
                }
                None => {
                    let is_ours = self.layout.names.first().is_some_and(|name| name == "spec");
                    let own = "this is an answer: correct <name>.rejected.csv and drop that";
                    let hint = if is_ours { own } else { hint };
                    problem.value(&self.layout.names.join(", ")).hint(hint)
                }
            });
        }
    }

    fn missing_of_messages(&self, given: impl Fn(&Column) -> bool + Copy) -> Vec<Missing> {
        let mut missing = Vec::new();
        if !Column::ADDRESSES.iter().any(given) {
            missing.push((
                "no column holds an address",
                "add one of the columns email, phone, whatsapp, telegram_chat_id, viber, or to with channel",
                &Column::ADDRESSES[..],
            ));
        }
        if !Column::BODIES.iter().any(given) {
            missing.push((
                "nothing says what to send",
                "add the column template, text or html, or the line #template=<name> before the header",
                &Column::BODIES[..],
            ));
        }
        missing
    }

    /// A column that is not known and was probably meant to be one of those wanted.
    fn misspelt(&self, wanted: &[Column]) -> Option<(usize, Column)> {
        self.layout.names.iter().enumerate().find_map(|(at, own)| {
            let name = normalise_name(own);
            let words = wanted.iter().map(|column| column.as_str());
            let near = nearest(&name, words).filter(|_| !is_known(alias(&name), self.kind))?;
            Some((at, Column::from_text(near)?))
        })
    }
}

fn unknown(position: usize, cell: &str, name: &str, kind: Kind) -> FileProblem {
    let message = format!("the column {:?} is not known", cut_value(cell.trim()));
    let shown = cut_value(name);
    let columns = Column::ALL.iter().filter(|column| column.is_of(kind));
    let hint = match nearest(name, columns.map(|column| column.as_str())) {
        Some(known) if kind == Kind::Control => {
            format!("{} It is ignored", did_you_mean(known))
        }
        None if kind == Kind::Control => "it is ignored".to_owned(),
        Some(known) => format!("{} As it is, it is the variable {shown}", did_you_mean(known)),
        None => format!("it can be used as the template variable {shown}"),
    };
    FileProblem::new(ReasonCode::HeaderColumnUnknown, message).at_column(position, cell).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(header: &str) -> Result<(Layout, Vec<FileProblem>), Vec<FileProblem>> {
        let cells: Vec<String> = header.split(',').map(str::to_owned).collect();
        let settings = ReadSettings {
            columns: vec![("Handy Nr".into(), "phone".into()), ("KDNR".into(), "x_kdnr".into())],
            ..ReadSettings::default()
        };
        Layout::build(&cells, &settings, &Directives::default())
    }

    #[test]
    fn a_variable_named_like_a_standard_column_comes_from_var() {
        for (variable, columns) in [
            ("first_name", "first_name or var_first_name"),
            ("email", "var_email"),
            ("row_id", "var_row_id"),
            ("x_note", "var_x_note"),
        ] {
            assert_eq!(Layout::columns_for(variable), columns);
        }
    }

    #[test]
    fn headers_are_read_by_name() {
        let (layout, warnings) =
            build("E-Mail, handy-nr ,TEXT,kdnr,var_First Name,Citty,_line,x_Ref").unwrap();
        assert_eq!(layout.position(Column::Email), Some(0));
        assert_eq!(layout.position(Column::Phone), Some(1));
        assert_eq!(layout.position(Column::Text), Some(2));
        assert_eq!(layout.x_columns().collect::<Vec<_>>(), ["x_kdnr", "x_ref"]);
        assert_eq!(layout.variable_names().collect::<Vec<_>>(), ["first_name", "citty"]);
        assert_eq!(warnings.len(), 1);
        assert_eq!((warnings[0].column, warnings[0].column_name.as_str()), (Some(6), "Citty"));
    }

    #[test]
    fn a_header_that_cannot_work_is_refused_with_all_its_problems() {
        for (header, codes) in [
            ("name,city", vec![ReasonCode::HeaderColumnMissing, ReasonCode::HeaderColumnMissing]),
            ("email,mail,text", vec![ReasonCode::HeaderColumnTwice]),
            ("email,text,city,var_city", vec![ReasonCode::HeaderColumnTwice]),
            ("phone,mobile", vec![ReasonCode::HeaderColumnTwice, ReasonCode::HeaderColumnMissing]),
        ] {
            let found: Vec<ReasonCode> =
                build(header).unwrap_err().iter().map(|problem| problem.code).collect();
            assert_eq!(found, codes, "{header}");
        }
        let many = vec!["a"; 513].join(",");
        assert_eq!(build(&many).unwrap_err()[0].code, ReasonCode::HeaderTooManyColumns);
    }

    #[test]
    fn a_slip_in_a_column_name_gets_a_hint() {
        let (_, warnings) = build("email,text,sedner").unwrap();
        assert!(warnings[0].hint.contains("did you mean `sender`?"), "{}", warnings[0].hint);
    }

    #[test]
    fn data_is_told_from_names() {
        for (line, expected) in [
            ("email,text", None),
            ("email,a@b.example,Hello", Some(1)),
            ("sms,+49 151 12345678,Hello", Some(1)),
            ("4915112345678,Hello", Some(0)),
            ("phone,text,2024", None),
        ] {
            let cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            assert_eq!(looks_like_data(&cells, &ReadSettings::default()), expected, "{line}");
        }
    }

    #[test]
    fn a_number_beside_a_name_of_the_profile_is_a_name() {
        let cells = ["2024".to_owned(), "Handy".to_owned()];
        let columns = vec![("Handy".to_owned(), "phone".to_owned())];
        let mapped = ReadSettings { columns, ..ReadSettings::default() };
        assert_eq!(looks_like_data(&cells, &ReadSettings::default()), Some(0));
        assert_eq!(looks_like_data(&cells, &mapped), None);
    }

    #[test]
    fn values_and_defaults_of_a_profile_reach_variables_and_x_columns() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let settings = ReadSettings {
            values: vec![pair("x_sys", "ERP"), pair("City", "Berlin"), pair("x_run", "7")],
            defaults: vec![pair("first_name", "Kunde"), pair("x_ref", "none"), pair("e-mail", "a")],
            ..ReadSettings::default()
        };
        let cells = ["email", "text", "x_ref", "first_name", "x_sys"].map(str::to_owned);
        let (layout, _) = Layout::build(&cells, &settings, &Directives::default()).unwrap();
        assert_eq!(layout.x_columns().collect::<Vec<_>>(), ["x_ref", "x_sys", "x_run"]);
        assert_eq!(layout.variable_names().collect::<Vec<_>>(), ["first_name", "city"]);
        for (row, x, variables) in [
            (["a", "b", " ", "", "own"], ["none", "ERP", "7"], ["Kunde", "Berlin"]),
            (["a", "b", " r ", "Ann", ""], [" r ", "ERP", "7"], ["Ann", "Berlin"]),
        ] {
            let mut record = Record::new();
            row.iter().for_each(|cell| record.push(cell));
            assert_eq!(layout.x_values(&record).collect::<Vec<_>>(), x);
            let found: Vec<&str> = layout.variables(&record).map(|(_, value)| value).collect();
            assert_eq!(found, variables);
        }
    }
}
