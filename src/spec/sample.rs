//! Sample files: one for each way in which a tenant's files are taken, shown only if it would be.

use jiff::Timestamp;

use super::columns::example;
use crate::files::is_temporary_name;
use crate::intake::{MinProof, ProfileSettings, TenantSettings, known_as};
use crate::model::{ChannelKind, Kind, Proof, normalise_name};
use crate::records::{
    Column, HeaderMode, MessageChecker, MessageRow, ReadSettings, Record, RecordReader, Step,
    TemplateNeeds, TextEncoding,
};

/// A file that is accepted as it is; one of kind control once the file it names was answered.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    /// The folder that makes its kind known.
    pub(super) folder: &'static str,
    pub(super) about: String,
    pub(super) bytes: Vec<u8>,
}

/// Channels in the order in which a sample prefers them, with the column that addresses each.
const CHANNELS: [(ChannelKind, Column); 5] = [
    (ChannelKind::Email, Column::Email),
    (ChannelKind::Sms, Column::Phone),
    (ChannelKind::Whatsapp, Column::Whatsapp),
    (ChannelKind::Viber, Column::Viber),
    (ChannelKind::Telegram, Column::TelegramChatId),
];
const FOLDERS: [&str; 2] = ["inbox", "inbox/messages"];
/// The sample of a file without a profile.
const PLAIN: &str = "messages_sample.csv";
const TEXT: &str = "Your appointment is tomorrow at ten";

/// Every sample of a tenant.
pub(super) fn all(tenant: &TenantSettings) -> Vec<Sample> {
    let plain = [(PLAIN, text_rows(tenant)), ("messages_templates.csv", templates(tenant))];
    let abouts = ["every channel, with a text in the file", "every template of templates.csv"];
    let mut samples: Vec<Sample> = plain
        .into_iter()
        .zip(abouts)
        .filter_map(|((name, draft), about)| {
            let bytes = draft?.bytes(&tenant.plain)?;
            Sample::of(tenant, &tenant.plain, name.to_owned(), about.to_owned(), bytes)
        })
        .collect();
    for profile in &tenant.profiles {
        let Some(bytes) = of_profile(tenant, profile).and_then(|draft| draft.bytes(profile)) else {
            continue;
        };
        let names = [instance(profile), Some(format!("messages.{}_sample.csv", profile.name))];
        let about = format!("files of the profile {}", profile.name);
        let sample = names
            .into_iter()
            .flatten()
            .find_map(|name| Sample::of(tenant, profile, name, about.clone(), bytes.clone()));
        samples.extend(sample);
    }
    let control = samples.iter().any(|sample| sample.name == PLAIN).then(|| control(tenant));
    samples.extend(control.flatten());
    samples
}

/// A control file that asks for the answers of the first sample again, where an account may do so.
fn control(tenant: &TenantSettings) -> Option<Sample> {
    let may = |account: &String| {
        tenant.account_rights.get(account).is_some_and(|rights| rights.control)
            && tenant.account_kinds.get(account).is_some_and(|kinds| kinds.contains(&Kind::Control))
    };
    let (name, folder) = ("control_sample.csv", FOLDERS[0]);
    let leads = known_as(tenant, &format!("{folder}/{name}")) == Some((Kind::Control, ""));
    if !leads || !(tenant.account_rights.is_empty() || tenant.account_rights.keys().any(may)) {
        return None;
    }
    let mut text = format!("op,target,reason\nresend_report,file:{PLAIN},the answers were lost\n");
    if wants_trailer(&tenant.plain) {
        text.push_str("#EOF rows=1\n");
    }
    let about = format!("asks for the answers of {PLAIN} again: drop that first");
    Some(Sample { name: name.to_owned(), folder, about, bytes: text.into_bytes() })
}

/// Only a trailer can prove in the file itself that it is whole.
fn wants_trailer(profile: &ProfileSettings) -> bool {
    profile.min_proof == MinProof::Strong || profile.only_proof == Some(Proof::Trailer)
}

impl Sample {
    /// The sample, if the name leads to the profile and the program takes the file.
    fn of(
        tenant: &TenantSettings,
        profile: &ProfileSettings,
        name: String,
        about: String,
        bytes: Vec<u8>,
    ) -> Option<Sample> {
        let is_odd = name.contains(|c: char| c == '/' || c.is_control());
        let is_passed_over = tenant.temporary.iter().any(|pattern| pattern.is_match(&name));
        if is_odd || is_passed_over || is_temporary_name(name.as_bytes()) {
            return None;
        }
        let expected = Some((Kind::Messages, profile.name.as_str()));
        let leads = |folder: &&&str| known_as(tenant, &format!("{folder}/{name}")) == expected;
        let folder = FOLDERS.iter().find(leads)?;
        is_taken(tenant, profile, &bytes).then_some(Sample { name, folder, about, bytes })
    }
}

/// Asks the program's own reader and rules.
fn is_taken(tenant: &TenantSettings, profile: &ProfileSettings, bytes: &[u8]) -> bool {
    let settings = profile.read.clone();
    let mut reader = RecordReader::new(bytes, settings.clone());
    let Ok(opened) = reader.open() else { return false };
    // No sample holds a time, so that none can be too late.
    let context = tenant.context(profile, Timestamp::UNIX_EPOCH);
    let checker = MessageChecker::new(opened.layout, &opened.directives, &settings, context);
    let (mut record, mut row, mut errors) = (Record::new(), MessageRow::default(), Vec::new());
    let mut rows = 0;
    loop {
        match reader.next(&mut record) {
            Ok(Some(Step::Row)) if checker.check(&record, &mut row, &mut errors) => rows += 1,
            Ok(None) => return rows > 0 && checker.file_problems().is_empty(),
            _ => return false,
        }
    }
}

/// A file under construction: its header, and what makes each row.
struct Draft<'a> {
    header: Vec<String>,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    id: String,
    channel: ChannelKind,
    address: Column,
    template: Option<&'a TemplateNeeds>,
}

/// What a cell of the header means in this profile.
fn meaning(cell: &str, settings: &ReadSettings) -> String {
    let name = normalise_name(cell);
    let mapped = settings.columns.iter().find(|(own, _)| normalise_name(own) == name);
    let name = mapped.map_or(name, |(_, standard)| normalise_name(standard));
    Column::from_header(&name).map_or(name, |column| column.as_str().to_owned())
}

fn reachable(tenant: &TenantSettings) -> impl Iterator<Item = (ChannelKind, Column)> + '_ {
    CHANNELS.into_iter().filter(|(channel, _)| {
        let has_sender = tenant.senders.get(channel).is_some_and(|senders| !senders.is_empty());
        tenant.channels.contains(channel) && (has_sender || *channel != ChannelKind::Email)
    })
}

fn text_rows(tenant: &TenantSettings) -> Option<Draft<'static>> {
    let row = |(at, (channel, address)): (usize, (ChannelKind, Column))| Row {
        id: format!("sample-{}", at + 1),
        channel,
        address,
        template: None,
    };
    let rows: Vec<Row<'_>> = reachable(tenant).enumerate().map(row).collect();
    let by_email = rows.iter().any(|row| row.channel == ChannelKind::Email);
    let subject = by_email.then_some("subject");
    let own = ["var_first_name", "x_reference"];
    Draft::with(rows, subject.into_iter().chain(["text"]).chain(own))
}

fn templates(tenant: &TenantSettings) -> Option<Draft<'_>> {
    let mut rows = Vec::new();
    for template in &tenant.templates {
        let Some((channel, address)) = reachable(tenant).find(|(c, _)| *c == template.channel)
        else {
            continue;
        };
        let id = format!("template-{}", rows.len() + 1);
        rows.push(Row { id, channel, address, template: Some(template) });
    }
    let mut own: Vec<String> = vec!["template".to_owned(), "lang".to_owned()];
    for variable in rows.iter().filter_map(|row| row.template).flat_map(|t| &t.variables) {
        let column = format!("var_{variable}");
        if !own.contains(&column) {
            own.push(column);
        }
    }
    Draft::with(rows, own.iter().map(String::as_str))
}

impl<'a> Draft<'a> {
    /// A file with a column for each address that its rows have; nothing where it has no rows.
    fn with<'n>(rows: Vec<Row<'a>>, own: impl Iterator<Item = &'n str>) -> Option<Draft<'a>> {
        let mut header: Vec<String> = ["row_id", "channel"].map(str::to_owned).to_vec();
        for row in &rows {
            if !header.iter().any(|name| name == row.address.as_str()) {
                header.push(row.address.as_str().to_owned());
            }
        }
        header.extend(own.map(str::to_owned));
        (!rows.is_empty()).then_some(Draft { header, rows })
    }

    /// The file in the profile's dialect; nothing where that cannot carry it.
    fn bytes(&self, profile: &ProfileSettings) -> Option<Vec<u8>> {
        let settings = &profile.read;
        let delimiter = char::from(settings.delimiter.unwrap_or(b','));
        let mut text = String::new();
        for line in 1..=settings.skip_lines {
            text.push_str(&format!("line {line} above the header is passed over\n"));
        }
        let mut lines = Vec::new();
        if settings.header == HeaderMode::Present {
            lines.push(self.header.clone());
        }
        for row in &self.rows {
            let cell = |name: &String| row.cell(&meaning(name, settings));
            lines.push(self.header.iter().map(cell).collect());
        }
        for cells in lines {
            let cells: Option<Vec<String>> =
                cells.iter().map(|cell| quoted(cell, delimiter, settings.quote)).collect();
            text.push_str(&cells?.join(&delimiter.to_string()));
            text.push('\n');
        }
        if wants_trailer(profile) {
            text.push_str(&format!("#EOF rows={}\n", self.rows.len()));
        }
        let encoding = settings.encoding.unwrap_or(TextEncoding::UTF_8);
        Some(encoding.encode(&text))
    }
}

impl Row<'_> {
    /// The cell below a column of this meaning.
    fn cell(&self, name: &str) -> String {
        let Some(column) = Column::of_kind(name, Kind::Messages) else {
            let variable = name.strip_prefix("var_").unwrap_or(name);
            let is_needed = self.template.is_none_or(|t| t.variables.iter().any(|v| v == variable));
            let example = if name.starts_with("x_") {
                "4711"
            } else if name.starts_with('_') || !is_needed {
                ""
            } else if variable.contains("name") {
                "Ann"
            } else {
                "17"
            };
            return example.to_owned();
        };
        match column {
            Column::RowId => self.id.clone(),
            Column::Channel => self.channel.as_str().to_owned(),
            Column::Template => self.template.map_or_else(String::new, |t| t.name.clone()),
            Column::Lang => self.template.map_or_else(String::new, |t| t.lang.clone()),
            Column::Text if self.template.is_none() => TEXT.to_owned(),
            Column::Subject if self.template.is_none() && self.channel == ChannelKind::Email => {
                example(Column::Subject).to_owned()
            }
            // A chat has a number of its own, and any other address a column of its own.
            Column::To if self.address == Column::To => CHANNELS
                .iter()
                .find(|(channel, _)| *channel == self.channel)
                .map_or_else(String::new, |(_, address)| example(*address).to_owned()),
            column if column == self.address => example(column).to_owned(),
            _ => String::new(),
        }
    }
}

/// One row in the columns of a profile, with what its mapping lacks added where there is a header.
fn of_profile<'a>(tenant: &'a TenantSettings, profile: &ProfileSettings) -> Option<Draft<'a>> {
    let settings = &profile.read;
    let (mut header, may_add) = match &settings.header {
        HeaderMode::Columns(names) => (names.clone(), false),
        HeaderMode::Present => {
            (settings.columns.iter().map(|(own, _)| own.clone()).collect(), true)
        }
    };
    let has = |header: &[String], column: Column| {
        header.iter().any(|cell| meaning(cell, settings) == column.as_str())
    };
    let said = |column: Column| {
        let pairs = settings.values.iter().chain(&settings.defaults);
        let mut of_column = pairs.filter(|(name, _)| Column::from_header(name) == Some(column));
        of_column.next().map(|(_, value)| value.as_str())
    };
    let (channel, address) = address_of(tenant, &header, settings, said(Column::Channel))?;
    if may_add {
        if !has(&header, Column::RowId) {
            header.insert(0, "row_id".to_owned());
        }
        if !has(&header, address) {
            header.push(address.as_str().to_owned());
        }
        if said(Column::Channel).is_none() && !has(&header, Column::Channel) {
            header.push("channel".to_owned());
        }
    }
    let named = said(Column::Template);
    let fits = |t: &&TemplateNeeds| t.channel == channel && named.is_none_or(|name| t.name == name);
    let wants_template =
        named.is_some() || (has(&header, Column::Template) && !has(&header, Column::Text));
    let template = if wants_template { Some(tenant.templates.iter().find(fits)?) } else { None };
    if may_add {
        let is_said = said(Column::Text).is_some() || said(Column::Html).is_some();
        if template.is_none() && !is_said && !has(&header, Column::Text) {
            header.push("text".to_owned());
        }
        for variable in template.iter().flat_map(|t| &t.variables) {
            let column = format!("var_{variable}");
            let is_there = |cell: &String| [&column, variable].contains(&&meaning(cell, settings));
            if !header.iter().any(is_there) {
                header.push(column);
            }
        }
    }
    let id = format!("sample-{}", profile.name);
    Some(Draft { header, rows: vec![Row { id, channel, address, template }] })
}

/// The channel of a profile's sample, and the column that holds its address.
fn address_of(
    tenant: &TenantSettings,
    header: &[String],
    settings: &ReadSettings,
    said: Option<&str>,
) -> Option<(ChannelKind, Column)> {
    let meanings: Vec<String> = header.iter().map(|cell| meaning(cell, settings)).collect();
    let has = |column: Column| meanings.iter().any(|name| name == column.as_str());
    let allowed = |(channel, _): &(ChannelKind, Column)| {
        said.is_none_or(|said| said.eq_ignore_ascii_case(channel.as_str()))
    };
    let own = |(channel, address): (ChannelKind, Column)| {
        let by_phone = matches!(channel, ChannelKind::Whatsapp | ChannelKind::Viber);
        let columns = [Some(address), by_phone.then_some(Column::Phone), Some(Column::To)];
        Some((channel, columns.into_iter().flatten().find(|column| has(*column))?))
    };
    reachable(tenant).filter(allowed).find_map(own).or_else(|| reachable(tenant).find(allowed))
}

/// A name that the profile's pattern matches.
fn instance(profile: &ProfileSettings) -> Option<String> {
    let pattern = profile.matcher.as_ref()?.as_str();
    let (mut name, mut letters, mut stars) = (String::new(), pattern.chars(), 0);
    while let Some(letter) = letters.next() {
        match letter {
            '*' => {
                stars += 1;
                name.push_str(if stars == 1 { "sample" } else { "1" });
            }
            '?' => name.push('1'),
            '\\' => name.extend(letters.next()),
            '[' => {
                let class: String = letters.by_ref().take_while(|c| *c != ']').collect();
                name.extend(class.chars().next().filter(|c| *c != '!'));
            }
            '{' => {
                let words: String = letters.by_ref().take_while(|c| *c != '}').collect();
                name.push_str(match words.as_str() {
                    "seq" => "1",
                    words => words.split(',').next().unwrap_or_default(),
                });
            }
            _ => name.push(letter),
        }
    }
    // A sample is plain text, whatever else the profile's files are packed in.
    let packed = [".gz", ".zip", ".xlsx", ".jsonl"];
    let is_packed = packed.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending));
    (!is_packed).then_some(name)
}

fn quoted(cell: &str, delimiter: char, quote: Option<u8>) -> Option<String> {
    let delicate = |c: char| c == delimiter || quote.is_some_and(|quote| c == char::from(quote));
    if !cell.contains(delicate) {
        return Some(cell.to_owned());
    }
    let quote = char::from(quote?).to_string();
    Some(format!("{quote}{}{quote}", cell.replace(&quote, &quote.repeat(2))))
}
