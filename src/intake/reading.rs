//! One pass over a claimed file: every row checked, stored and counted, nothing decided yet.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::IntakeError;
use super::body::BodyCheck;
use super::read_ahead::ReadAhead;
use super::same_again::digest_of;
use super::settings::{ProfileSettings, TenantSettings};
use super::writer::RowWriter;
use crate::batch::Counts;
use crate::codes::{ReasonCode, Severity};
use crate::model::{Category, ChannelKind, FileForm, place_in};
use crate::policy::{Calendar, Question, Sender, Verdict, Window, decide};
use crate::records::{
    Dedupe, Directives, Facts, FileProblem, FurtherStep, Manifest, MessageChecker, MessageRow,
    Opened, ReadError, Record, RecordReader, RowError, Step, country_of, own_directive,
};
use crate::spool::{BatchFolder, IdSorter, RowHead, RowState, StoredRow, StoredStep};
use crate::store::BatchRecord;

/// What a pass over the file gave.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) facts: Facts,
    pub(super) directives: Directives,
    /// The file says that it is only a test.
    pub(super) is_test: bool,
    /// The file is a corrected `.rejected.csv`.
    pub(super) redropped: bool,
    /// Whole-file problems; the rows then do not count.
    pub(super) refused: Vec<FileProblem>,
    pub(super) counts: Counts,
    /// What was wrong with the first rejected row.
    pub(super) first_error: Option<ReasonCode>,
    pub(super) writer: RowWriter,
    /// Digests of the accepted rows' `row_id`s.
    pub(super) row_ids: IdSorter,
    /// Digests of the accepted rows that have none, for `dedupe`.
    pub(super) messages: IdSorter,
    /// What makes two of them the same; by their category, where nobody said.
    pub(super) dedupe: Option<Dedupe>,
}

/// What makes messages of a category the same.
pub(super) fn dedupe_of(given: Option<Dedupe>, category: Category) -> Dedupe {
    given.unwrap_or(match category {
        Category::Marketing => Dedupe::Recipient,
        _ => Dedupe::Exact,
    })
}

/// What one pass needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) tenant: &'a TenantSettings,
    pub(super) profile: &'a ProfileSettings,
    pub(super) form: FileForm,
    pub(super) strong_proof: bool,
    /// What the sender says of the file beside it.
    pub(super) manifest: Option<&'a Manifest>,
    pub(super) folder: &'a BatchFolder,
    /// The earlier file of the name, where this one may be its longer version.
    pub(super) shorter: Option<&'a BatchRecord>,
    pub(super) now: Timestamp,
    /// When the file was judged first. What was in time then may run out while the file is held, and
    /// is no mistake of its row.
    pub(super) judged_at: Timestamp,
}

/// Reads the file to its end. Only an unreadable disk is an error.
pub(super) fn read_file(pass: Pass<'_>, input: &Path) -> Result<Reading, IntakeError> {
    let unreadable = |source: io::Error| IntakeError::Input { source };
    let mut settings = pass.profile.read.clone();
    settings.strong_proof = pass.strong_proof;
    if let Some(manifest) = pass.manifest {
        manifest.announce(&mut settings);
    }
    if !pass.profile.name.is_empty() {
        let read_as = serde_json::to_vec(&settings.read_as()).expect("a dialect serialises");
        pass.folder.keep_read_as(&read_as)?;
    }
    let file = File::open(input).map_err(unreadable)?;
    let settings = settings.for_form(pass.form, &file).map_err(unreadable)?;
    (&file).rewind().map_err(unreadable)?;
    let mut reader = RecordReader::new(file, settings.clone());
    if let Some(shorter) = pass.shorter {
        reader.watch_row(shorter.facts.rows_total);
    }
    let mut reading = Rows::new(pass)?;
    let (mut directives, mut refused) = (Directives::default(), Vec::new());
    let mut redropped = false;
    let read = match reader.open() {
        Ok(opened) => {
            directives = opened.directives.clone();
            redropped = opened.redropped;
            reading.rows(&mut reader, opened, &settings)
        }
        Err(error) => Err(error.into()),
    };
    match read {
        Ok(()) => {}
        Err(RowsEnd::Refused(problems)) => refused = problems,
        Err(RowsEnd::Unreadable(source)) => return Err(unreadable(source)),
        Err(RowsEnd::Failed(error)) => return Err(error),
    }
    let mut is_test = directives.is_test();
    if !refused.is_empty() && !is_test {
        // The directives of a file whose header is refused were not checked.
        let text = File::open(input).map_err(unreadable)?;
        let own = own_directive(text, &settings, "test").map_err(unreadable)?;
        is_test = own.is_some_and(|word| word.eq_ignore_ascii_case("yes"));
    }
    let facts = reader.finish().map_err(unreadable)?;
    if let Some(warning) = &facts.warning {
        reading.writer.file_problem(warning)?;
    }
    Ok(Reading {
        facts,
        directives,
        is_test,
        redropped,
        refused,
        counts: reading.counts,
        first_error: reading.first_error,
        writer: reading.writer,
        row_ids: reading.row_ids,
        messages: reading.messages,
        dedupe: reading.dedupe,
    })
}

/// Why the rows ended before the file did.
enum RowsEnd {
    Refused(Vec<FileProblem>),
    Unreadable(io::Error),
    Failed(IntakeError),
}

impl From<ReadError> for RowsEnd {
    fn from(error: ReadError) -> RowsEnd {
        match error {
            ReadError::Io(source) => RowsEnd::Unreadable(source),
            ReadError::Refused(problems) => RowsEnd::Refused(problems),
        }
    }
}

impl From<IntakeError> for RowsEnd {
    fn from(error: IntakeError) -> RowsEnd {
        RowsEnd::Failed(error)
    }
}

struct Rows<'a> {
    pass: Pass<'a>,
    counts: Counts,
    first_error: Option<ReasonCode>,
    writer: RowWriter,
    row_ids: IdSorter,
    messages: IdSorter,
    dedupe: Option<Dedupe>,
    body: BodyCheck,
    calendar: Calendar,
    /// The country of the last row that was asked for it, and the place it stands for.
    place: (String, String),
}

impl<'p> Rows<'p> {
    fn new(pass: Pass<'p>) -> Result<Rows<'p>, IntakeError> {
        let scratch = pass.folder.scratch();
        Ok(Rows {
            pass,
            counts: Counts::default(),
            first_error: None,
            writer: RowWriter::create(pass.folder)?,
            row_ids: IdSorter::new(scratch.with_extension("ids")),
            messages: IdSorter::new(scratch.with_extension("messages")),
            dedupe: pass.profile.dedupe,
            body: BodyCheck::default(),
            calendar: calendar(pass.tenant),
            place: Default::default(),
        })
    }
}

impl Rows<'_> {
    fn rows(
        &mut self,
        reader: &mut RecordReader<File>,
        opened: Opened,
        settings: &crate::records::ReadSettings,
    ) -> Result<(), RowsEnd> {
        for warning in &opened.warnings {
            self.writer.file_problem(warning)?;
        }
        self.dedupe = opened.directives.dedupe().or(self.dedupe);
        let context = self.pass.tenant.context(self.pass.profile, self.pass.judged_at);
        let checker = MessageChecker::new(opened.layout, &opened.directives, settings, context);
        let problems = checker.file_problems();
        if !problems.is_empty() {
            return Err(RowsEnd::Refused(problems));
        }
        self.writer.head(&RowHead {
            x_columns: checker.layout().x_columns().map(str::to_owned).collect(),
            variables: checker.layout().variable_names().map(str::to_owned).collect(),
        })?;
        let (mut message, mut errors) = (MessageRow::default(), Vec::new());
        std::thread::scope(|scope| {
            ReadAhead::start(scope, reader).for_each(|record, step| {
                self.counts.total += 1;
                errors.clear();
                match step {
                    Step::Bad(error) => errors.push(error),
                    Step::Row => {
                        checker.check(record, &mut message, &mut errors);
                        self.body.check(&message, checker.layout(), record, &mut errors);
                    }
                }
                Ok(self.row(&checker, record, &message, &errors)?)
            })
        })
    }

    fn row(
        &mut self,
        checker: &MessageChecker,
        record: &Record,
        message: &MessageRow,
        errors: &[RowError],
    ) -> Result<(), IntakeError> {
        let layout = checker.layout();
        for error in errors {
            let x = layout.x_values(record).map(str::to_owned).collect();
            self.writer.row_problem(error, x)?;
        }
        let x: Vec<&str> = layout.x_values(record).collect();
        if let Some(error) = errors.iter().find(|e| e.severity == Severity::Error) {
            self.counts.rejected += 1;
            self.first_error = self.first_error.or(Some(error.code));
            let to_given = if message.row == record.row() { message.to_given.as_str() } else { "" };
            let rejected = StoredRow {
                row: record.row(),
                line: record.line(),
                state: RowState::Rejected(error.code),
                row_id: &error.row_id,
                to_given,
                x,
                ..StoredRow::default()
            };
            return self.writer.push(&rejected, None);
        }
        self.counts.accepted += 1;
        let variables = layout.variables(record).map(|(_, value)| value).collect();
        self.accepted(message, x, variables)
    }

    fn accepted<'a>(
        &mut self,
        message: &'a MessageRow,
        x: Vec<&'a str>,
        variables: Vec<&'a str>,
    ) -> Result<(), IntakeError> {
        let (tenant, now) = (self.pass.tenant, self.pass.now);
        let window = message
            .window
            .and_then(|(from, until)| Window::new(from, until).ok())
            .or_else(|| tenant.windows.get(&message.category).copied());
        let due = message.send_at.unwrap_or(now);
        let expires_at = message
            .expires_at
            .unwrap_or_else(|| tenant.max_age.expiry(message.category, message.channel, due));
        let sender = sender_on(tenant, message, message.channel);
        self.digest(message, &variables)?;
        let place = self.place_of(message, window.is_some());
        // The language of the template that was chosen: dispatch finds the same one by it.
        let lang_of = |template_at: Option<usize>| {
            let template = template_at.and_then(|at| tenant.templates.get(at));
            let lang = template.map_or("", |t| t.lang.as_str());
            if lang.is_empty() { message.lang.as_str() } else { lang }
        };
        let further = |step: &'a FurtherStep| StoredStep {
            channel: step.channel,
            category: step.category,
            receipt_within_s: step.receipt_within_s,
            to: &step.to,
            to_given: &step.to_given,
            sender: sender_on(tenant, message, step.channel),
            lang: lang_of(step.template_at),
        };
        let mut row = StoredRow {
            row: message.row,
            line: message.line,
            state: RowState::Accepted,
            channel: Some(message.channel),
            category: Some(message.category),
            row_id: &message.row_id,
            contact_id: "",
            to: &message.to,
            to_given: &message.to_given,
            sender,
            reply_to: &message.reply_to,
            template: &message.template,
            lang: lang_of(message.template_at),
            subject: &message.subject,
            text: &message.text,
            html: &message.html,
            campaign: &message.campaign,
            tz: &place,
            window: window.map(|w| (w.from, w.until)),
            send_at: message.send_at,
            expires_at: Some(expires_at),
            expiry_given: message.expires_at.is_some(),
            priority: message.priority,
            receipt_within_s: message.receipt_within_s,
            fallback: message.further.iter().map(further).collect(),
            sender_refused: false,
            parts: 0,
            x,
            variables,
        };
        let refused = |(channel, sender)| !sender_of(tenant, channel, sender).1;
        let further = row.fallback.iter().map(|step| (step.channel, step.sender));
        row.sender_refused = further.chain([(message.channel, sender)]).any(refused);
        let verdict = decide_now(tenant, &row, (&self.calendar, now));
        self.writer.push(&row, Some((verdict, now)))
    }

    /// A row's window is asked where its recipient is.
    fn place_of(&mut self, message: &MessageRow, has_window: bool) -> String {
        if !has_window || !message.tz.is_empty() {
            return message.tz.clone();
        }
        let country = country_of(message);
        if self.place.0 != country {
            self.place = (country.clone(), place_in(&country));
        }
        self.place.1.clone()
    }

    /// Remembers what would make a later row "the same again".
    fn digest(&mut self, message: &MessageRow, variables: &[&str]) -> Result<(), IntakeError> {
        if !message.row_id.is_empty() {
            return Ok(self.row_ids.push(digest_of([message.row_id.as_str()]), message.row)?);
        }
        let dedupe = dedupe_of(self.dedupe, message.category);
        let address = [message.channel.as_str(), &message.to];
        let digest = match dedupe {
            Dedupe::None => return Ok(()),
            Dedupe::Recipient => digest_of(address),
            Dedupe::Exact => {
                let send_at = message.send_at.map_or(String::new(), |t| t.to_string());
                let content = [
                    &message.template,
                    &message.lang,
                    &message.subject,
                    &message.text,
                    &message.html,
                    &message.sender,
                    &send_at,
                ];
                let content = content.into_iter().map(String::as_str);
                digest_of(address.into_iter().chain(content).chain(variables.iter().copied()))
            }
        };
        Ok(self.messages.push(digest, message.row)?)
    }
}

/// What policy says of an accepted row at this moment: on the first channel of its chain that it may
/// go out on.
pub(super) fn decide_now(
    tenant: &TenantSettings,
    row: &StoredRow<'_>,
    (calendar, now): (&Calendar, Timestamp),
) -> Verdict {
    let first = decide_step(tenant, row, (calendar, now));
    let further = (1..=row.fallback.len() as u8).map(|step| row.on_step(step));
    match first {
        Verdict::Suppress(_) => further
            .map(|row| decide_step(tenant, &row, (calendar, now)))
            .find(|verdict| !matches!(verdict, Verdict::Suppress(_)))
            .unwrap_or(first),
        _ => first,
    }
}

fn decide_step(
    tenant: &TenantSettings,
    row: &StoredRow<'_>,
    (calendar, now): (&Calendar, Timestamp),
) -> Verdict {
    let category = row.category.unwrap_or(Category::Marketing);
    let channel = row.channel.unwrap_or(ChannelKind::Email);
    let sender = match sender_of(tenant, channel, row.sender) {
        (_, true) => Sender::Allowed,
        (_, false) => Sender::Refused,
    };
    let window = row.window.and_then(|(from, until)| Window::new(from, until).ok());
    decide(
        &Question {
            category,
            consent: tenant.consent,
            sender,
            send_at: row.send_at,
            expires_at: row.expires_at.unwrap_or(Timestamp::MAX),
            hours: window.map(|window| calendar.hours(window, row.tz, now)),
        },
        now,
    )
}

/// The sender a message goes out with on a channel of its chain. One that the row gives for another
/// channel of it says nothing about this one.
fn sender_on<'a>(
    tenant: &'a TenantSettings,
    message: &'a MessageRow,
    channel: ChannelKind,
) -> &'a str {
    let (sender, is_allowed) = sender_of(tenant, channel, &message.sender);
    let mut others = [message.channel].into_iter().chain(message.further.iter().map(|s| s.channel));
    let is_for_another = !is_allowed
        && !message.further.is_empty()
        && others.any(|other| sender_of(tenant, other, &message.sender).1);
    if is_for_another { sender_of(tenant, channel, "").0 } else { sender }
}

/// The sender a row goes out with, and whether the tenant may use it. Channels other than email may go
/// out with the provider's own sender.
fn sender_of<'a>(
    tenant: &'a TenantSettings,
    channel: ChannelKind,
    given: &'a str,
) -> (&'a str, bool) {
    let senders = tenant.senders.get(&channel).map_or(&[][..], Vec::as_slice);
    if given.is_empty() {
        return match senders.first() {
            Some(sender) => (sender, true),
            None => ("", channel != ChannelKind::Email),
        };
    }
    let same = |sender: &&String| {
        sender.eq_ignore_ascii_case(given) || address_in(sender).eq_ignore_ascii_case(given)
    };
    match senders.iter().find(same) {
        Some(sender) => (sender, true),
        None => (given, false),
    }
}

/// `news@acme.example` of `Acme <news@acme.example>`.
fn address_in(mailbox: &str) -> &str {
    mailbox.rsplit_once('<').map_or(mailbox, |(_, rest)| rest.trim_end_matches('>'))
}

/// The clocks of a tenant's recipients.
pub(super) fn calendar(tenant: &TenantSettings) -> Calendar {
    Calendar::new(tenant.timezone.clone(), |name| TimeZone::get(name).ok())
}
