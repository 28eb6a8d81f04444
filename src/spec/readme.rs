//! README.txt: all a partner needs who has nothing but an FTP client.

use std::fmt::Write;

use super::pages::Portrait;
use super::sample::Sample;
use super::tables::time;
use crate::channel::TEST_ENDINGS;
use crate::codes::ReasonCode;
use crate::intake::{MinProof, NamePattern, ProfileSettings, SentinelPattern, TenantSettings};
use crate::model::{BatchId, Category, Kind};
use crate::policy::Consent;
use crate::records::{HeaderMode, ReadSettings};
use crate::report::{Answer, Subject};

/// Windows programs show it as it is meant, too.
const LINE_END: &str = "\r\n";
/// The kinds that this version takes.
const TAKEN: [Kind; 2] = [Kind::Messages, Kind::Control];

pub(super) fn text(tenant: Portrait<'_>, samples: &[Sample]) -> Vec<u8> {
    let sections = [
        head(tenant.intake),
        drop_it(tenant.intake, samples),
        whole(tenant),
        answers(tenant),
        correct(tenant),
        again(tenant.intake),
        lines_above(),
        held(tenant.intake),
        cells(tenant.intake),
        profiles(tenant.intake),
        try_it(tenant),
        files_here(),
    ];
    let text = sections.join("\n").replace('\n', LINE_END);
    text.into_bytes()
}

/// Lines of a section below its title.
fn section(title: &str, lines: impl IntoIterator<Item = String>) -> String {
    let mut text = format!("{title}\n{}\n", "-".repeat(title.len()));
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn head(tenant: &TenantSettings) -> String {
    let id = &tenant.id;
    let mut text = format!(
        "How to send messages as {id}\n\nDrop a CSV file into /inbox. Every file is answered in /outbox: whether it was taken, what is\n\
         wrong in which line, and later what became of each row. What is dropped into /test/inbox is only\ntried out (10). This page is made of the settings in force; so are all files beside it.\n"
    );
    if tenant.suspended {
        text.push_str("\nAT PRESENT NOTHING IS TAKEN: the operator has suspended this tenant.\n");
    }
    if tenant.channels.is_empty() {
        text.push_str(
            "\nAT PRESENT NOTHING CAN BE SENT: the operator has set up no channel yet.\n",
        );
    }
    text
}

fn drop_it(tenant: &TenantSettings, samples: &[Sample]) -> String {
    let mut text = lines(
        "The name of a file says what it holds: messages_<your reference>.csv, such as\n\
         messages_invoices-2026-11.csv. Any other name will do in the folder /inbox/messages, and names\n\
         that a profile below matches will do anywhere.\n\n\
         A file is CSV with a header line, the first sheet of an .xlsx, or .jsonl with a JSON object on each\n\
         line; columns.csv lists the columns. One file packed as .gz or .zip is read, too: messages_x.csv.gz.\n\
         Rejected rows of any of them come back as CSV. The samples are accepted as\n\
         they are: copy one, and put your own addresses in.\n",
    );
    for Sample { name, folder, about, .. } in samples {
        text.push(format!("  samples/{name}  ->  /{folder}/  {about}"));
    }
    let kinds = TAKEN.map(Kind::as_str);
    text.push(format!("\nKinds of files that are taken: {}.", kinds.join(", ")));
    let channels: Vec<&str> = tenant.channels.iter().map(|channel| channel.as_str()).collect();
    text.push(format!("Channels that messages can go out on: {}.", channels.join(", ")));
    section("1. Drop a file", text)
}

fn whole(tenant: Portrait<'_>) -> String {
    let plain = &tenant.intake.plain;
    let mut text = lines(
        "A file is only taken once it is whole. The surest way: upload it under a name that ends in .part\n\
         or .tmp, and rename it when all of it is there. These count as proof that a file is whole:\n",
    );
    text.extend([
        "  strong  the file got its final name by a rename from a temporary name".to_owned(),
        "          an empty file <name>.done, .ok, .fin or .rdy beside it; KUNDEN.OK for KUNDEN.TXT".to_owned(),
        "          <name>.sha256 or <name>.md5 with its digest; <name>.manifest.json, which says".to_owned(),
        r#"          {"file":"<name>","bytes":120,"sha256":"<64 digits>","rows":3}; file alone will do"#.to_owned(),
        "          a last line #EOF or #EOF rows=<n>; a whole .gz or .zip".to_owned(),
    ]);
    if let Some(pattern) = &plain.sentinel {
        text.push(format!("          a file {}", sentinel(pattern)));
    }
    text.extend([
        format!(
            "  medium  the upload ended properly; {} later the file is taken",
            time(plain.settle.max(plain.grace))
        ),
        format!("  weak    the file has not changed for {}", time(plain.quiet)),
    ]);
    text.push(format!("\nHere at least {} proof is needed.", word(plain.min_proof)));
    let own =
        tenant.intake.temporary.iter().map(|pattern| format!("  {}\n", pattern.glob().glob()));
    let own = match own.collect::<String>() {
        none if none.is_empty() => none,
        own => format!("Nor are names like these:\n{own}"),
    };
    text.push(format!(
        "Until then, and for {} after the upload, the file can be seen, renamed and deleted. Names that begin\n\
         with . or ~, or end in .tmp .temp .part .partial .filepart .crdownload .writing .lock, are never taken.\n\
         {own}The last line needs a line end; without one the last row may be cut, and is refused (row.cut).\n\
         To be told of missing rows, write how many there are: #rows=<n> above the header, or\n\
         #EOF rows=<n> below the last row. An upload that was cut can be continued for {}.",
        time(plain.grace),
        time(tenant.doors.resume_window)
    ));
    section("2. When a file is taken", text)
}

/// The name of a sentinel of the operator's own.
fn sentinel(pattern: &SentinelPattern) -> String {
    format!("{}<name>{}, with <name> or the name without its ending", pattern.before, pattern.after)
}

fn word(proof: MinProof) -> &'static str {
    match proof {
        MinProof::Weak => "weak",
        MinProof::Medium => "medium",
        MinProof::Strong => "strong",
    }
}

fn answers(tenant: Portrait<'_>) -> String {
    const TOLD: [(Answer, &str); 7] = [
        (Answer::Ack, "one row: what became of the file, why, and counts"),
        (Answer::Errors, "a line per problem: line, row, column, code and what to do"),
        (Answer::Rejected, "the refused rows as they came, to be corrected"),
        (Answer::Progress, "how far a longer file is; gone at its end"),
        (Answer::Result, "what became of each row, once nothing is left to send"),
        (Answer::Final, "the same, when nothing can change any more"),
        (Answer::Summary, "how many rows ended how"),
    ];
    let mut text = lines("For a file messages_x.csv, in the order in which they come:\n");
    let date = "20261122";
    for (answer, about) in TOLD {
        if tenant.answers.writes(answer) {
            let subject = Subject { name: "messages_x.csv", date, batch: BatchId::from_u64(1) };
            let name = tenant.answers.pattern(answer).name(subject);
            text.push(format!("  {name:<30} {about}"));
        }
    }
    text.extend(lines(
        "\nACCEPTED: every row is taken. ACCEPTED_WITH_ERRORS: the good rows are. REJECTED: nothing is sent.\n\
         HELD: nothing is sent until it is approved. DUPLICATE: nothing is sent, it was taken before.\n\n\
         The ACK comes last of the first three, so that who sees it can fetch the others. Files from\n\
         /inbox/messages are answered in /outbox/messages. Delete what you have collected. When a name is\n\
         used again, its earlier answers move to /archive/answers. What a code means, and what to do,\n\
         stands in error-codes.csv. Codes never change their meaning.",
    ));
    section("3. The answers in /outbox", text)
}

fn correct(tenant: Portrait<'_>) -> String {
    let (batch, date) = (BatchId::from_u64(1), "20261122");
    let subject = Subject { name: "messages_x.csv", date, batch };
    let name = tenant.answers.pattern(Answer::Rejected).name(subject);
    let plain = &tenant.intake.plain.thresholds;
    let (share, rows) = (plain.reject_threshold * 100.0, plain.reject_min_rows);
    section(
        "4. Correct and drop again",
        lines(&format!(
            "Bad rows do not stop the good ones. Fetch {name}, correct the cells,\n\
             and drop it into the same inbox under that very name: only those rows are sent. The columns\n\
             _line,_row,_code,_column,_hint in front tell what was wrong; leave them or remove all five.\n\
             Where more than {share:.0} % of the rows are bad (from {rows} rows on), or no row is good, the whole\n\
             file is refused and nothing of it is sent: its rejected file then holds every row."
        )),
    )
}

fn again(tenant: &TenantSettings) -> String {
    let window = time(tenant.plain.duplicate_window);
    let ids = time(tenant.row_id_window);
    section(
        "5. The same again",
        lines(&format!(
            "A file with the same records as one accepted in the last {window} is a DUPLICATE, and nothing is\n\
             sent. Give each message a row_id of your own: a row_id that was accepted in the last {ids} is not\n\
             sent again (row.id_used). So after any doubt, drop the same file again: no row goes out twice.\n\
             The line #allow_duplicate=yes above the header passes the same file; used row_ids stay used."
        )),
    )
}

fn lines_above() -> String {
    section(
        "6. Lines above the header",
        lines(
            "Lines #key=value above the header hold for the whole file. Where one says something about the\n\
             messages, a filled cell of the same name comes first.\n\n  \
             #rows=<n>              how many data rows there are; if not, the file is refused\n  \
             #ref=<text>            your name of the file; it comes back in the ACK\n  \
             #seq=<n>               the file's number in its row, where the operator has them counted\n  \
             #profile=<name>        the profile it is read by\n  \
             #encoding=<name>       how its bytes are read, such as windows-1252\n  \
             #channel #category #template #sender #campaign #tz #send_at #expires_at #window\n                         \
             as in the columns of these names\n  \
             #tz_mode=recipient     local times are read where each recipient is, as far as number, country or\n                         \
             tz tell; #tz, else our zone, holds for the others\n  \
             #dedupe=exact          leaves out a message that is in the file twice; recipient: any second\n                         \
             message to one address; none: nothing\n  \
             #reject_threshold=0.2  the share of bad rows over which the whole file is refused\n  \
             #allow_duplicate=yes   takes the same records again\n  \
             #test=yes              only tries the file out, see 10\n  \
             #x_<name>=<text>       comes back in the answers",
        ),
    )
}

fn held(tenant: &TenantSettings) -> String {
    let guards = &tenant.plain.guards;
    let mut text = lines(
        "To pause, resume or cancel a file, or to approve one that is HELD, drop an empty file of its name\n\
         with .pause, .resume, .cancel or .approve behind it, if the account may; it is answered too. A file\n\
         of kind control (columns.csv) asks for several at once, and can have rows sent again that failed:\n\n  \
         op,target,reason\n  \
         resend,file:messages_x.csv,mail server was down\n\n\
         These are HELD until they are approved:\n",
    );
    if guards.first_file_held {
        text.push("  the first file, and the first of each profile".to_owned());
    }
    if let Some(rows) = guards.approve_above {
        text.push(format!("  files with more than {rows} rows to be sent"));
    }
    if guards.spike_guard > 0 {
        text.push(format!(
            "  files with over {} rows and {} times as many as usual",
            guards.spike_guard_min_rows, guards.spike_guard
        ));
    }
    text.push("  uploads that were cut and not continued".to_owned());
    text.push(format!(
        "\nWhat nobody approves within {} is refused (file.approval_needed).",
        time(tenant.hold_timeout)
    ));
    if tenant.four_eyes {
        text.push("Who dropped a file cannot approve it; that takes another account.".to_owned());
    }
    section("7. Pause, cancel, approve", text)
}

fn cells(tenant: &TenantSettings) -> String {
    let zone = tenant.timezone.iana_name().unwrap_or("UTC");
    let country = tenant.default_country.as_deref();
    let mut text = vec![
        "UTF-8, or UTF-16 with a byte order mark. Delimiter , ; TAB or |, found from the header.".to_owned(),
        format!("Times: 2026-11-22T10:00:00Z, or 2026-11-22 10:00 in the zone {zone}."),
        match country {
            Some(country) => format!("Phone numbers: with +, or as they are dialled within {country}."),
            None => "Phone numbers: with + and country code, or with the column country.".to_owned(),
        },
        "In a spreadsheet format phone numbers and ids as text; what it damages is named, never guessed.".to_owned(),
        "Texts may hold variables: {{ first_name }} is the cell of the column var_first_name.".to_owned(),
        "An empty cell is not given. Columns x_<name> come back in every answer, columns _<name> are ignored.".to_owned(),
    ];
    text.push(match tenant.plain.default_category {
        Some(category) => format!("A message whose category nobody gave is {category}."),
        None => "A message whose category nobody gave is marketing.".to_owned(),
    });
    text.push(match tenant.consent {
        Consent::Required => {
            "Marketing needs a consent on record; without one it is suppressed.".to_owned()
        }
        Consent::Asserted => {
            "By sending marketing you say that each recipient has consented.".to_owned()
        }
    });
    for (category, window) in &tenant.windows {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let (from, until) = (time(window.from), time(window.until));
        text.push(format!(
            "Messages of category {category} go out from {from} to {until}, where the recipient is."
        ));
    }
    let known: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
    text.push(format!("Categories: {}. All limits stand in limits.csv.", known.join(", ")));
    section("8. Cells", text)
}

fn profiles(tenant: &TenantSettings) -> String {
    let mut text = vec![
        "Files whose names match are read in their own way; the first that matches holds."
            .to_owned(),
    ];
    for profile in &tenant.profiles {
        text.push(String::new());
        text.extend(one_profile(profile));
    }
    if tenant.profiles.is_empty() {
        text = vec!["None. The operator can have an existing export taken as it is.".to_owned()];
    }
    section("9. Profiles", text)
}

fn one_profile(profile: &ProfileSettings) -> Vec<String> {
    let read = &profile.read;
    let pattern = profile.matcher.as_ref().map_or("", NamePattern::as_str);
    let mut first = format!("  {}: {pattern}", profile.name);
    if let Some(kind) = profile.kind {
        let _infallible = write!(first, ", {kind}");
    }
    let mut text = vec![first];
    text.extend(dialect(read).map(|words| format!("    {words}")));
    if let Some(pattern) = &profile.sentinel {
        text.push(format!("    whole once there is a file {}", sentinel(pattern)));
    }
    for (own, standard) in &read.columns {
        text.push(format!("    column {own} is {standard}"));
    }
    if let HeaderMode::Columns(names) = &read.header {
        text.push(format!("    no header line; the columns are {}", names.join(", ")));
    }
    for (name, value) in &read.values {
        text.push(format!("    {name} is always {value}"));
    }
    for (name, value) in &read.defaults {
        text.push(format!("    {name} is {value} where the cell is empty"));
    }
    if profile.min_proof != MinProof::Weak {
        text.push(format!("    needs {} proof that the file is whole", word(profile.min_proof)));
    }
    text
}

fn dialect(read: &ReadSettings) -> Option<String> {
    let mut words = Vec::new();
    if let Some(delimiter) = read.delimiter {
        let name =
            if delimiter == b'\t' { "TAB".to_owned() } else { char::from(delimiter).to_string() };
        words.push(format!("delimiter {name}"));
    }
    if let Some(encoding) = read.encoding {
        words.push(format!("encoding {}", encoding.name()));
    }
    match read.quote {
        None => words.push("no quotes".to_owned()),
        Some(b'"') => {}
        Some(quote) => words.push(format!("quote {}", char::from(quote))),
    }
    if read.skip_lines > 0 {
        words.push(format!("{} lines above the header", read.skip_lines));
    }
    if let Some(format) = &read.date_format {
        words.push(format!("times as {format}"));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

fn try_it(tenant: Portrait<'_>) -> String {
    let mut text = lines(
        "A file dropped into /test/inbox is taken, checked and answered as one in /inbox, but nothing of it\n\
         is sent: a simulator takes the messages. It is answered in /test/outbox, and the column test of its\n\
         ACK says yes. What was tried out is not remembered for what is meant, nor the other way round:\n\
         neither files nor row_ids nor numbers. So try a file out as it is, then drop it into /inbox. The line\n\
         #test=yes above the header does the same to a file in /inbox, which is answered in /outbox.\n",
    );
    if tenant.answers.writes(Answer::Rendered) {
        let (batch, date) = (BatchId::from_u64(1), "20261122");
        let subject = Subject { name: "messages_x.csv", date, batch };
        let name = tenant.answers.pattern(Answer::Rendered).name(subject);
        text.push(format!("{name} then shows each message as it would be sent.\n"));
    }
    text.extend(lines(
        "Each row ends delivered, or otherwise if its number, or its address before the @, ends in\n\
         (+491701230101, ann.0101@example.com):\n",
    ));
    for (ending, status, code, about) in TEST_ENDINGS {
        let why = code.map_or(about, ReasonCode::as_str);
        text.push(format!("  {ending}  {:<9}  {why}", status.as_str()).trim_end().to_owned());
    }
    section("10. Try it first", text)
}

fn files_here() -> String {
    section(
        "11. The files beside this one",
        lines(
            "samples/         files that are accepted as they are\n\
             columns.csv      every column, how it is written and what it means\n\
             error-codes.csv  every code of an answer, and what to do about it\n\
             templates.csv    the templates, and the variables each one needs\n\
             limits.csv       sizes, numbers, times",
        ),
    )
}
