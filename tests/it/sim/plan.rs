//! What a seed stands for: the house, what its partners drop and when, and what goes wrong.

use std::fmt::Write;
use std::time::Duration;

use dropchute::model::Proof;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::disk::{Errno, Fault};

/// Monday, 10:00 in Berlin.
pub(crate) const START: &str = "2026-11-23T09:00:00Z";
/// Every message runs out of time this long after it was due.
pub(crate) const MAX_AGE: SignedDuration = SignedDuration::from_mins(20);
pub(crate) const ATTEMPTS_MAX: u64 = 4;
const TENANTS: [&str; 3] = ["acme", "beta", "gamma"];
/// Crashes of one seed at most.
const LIVES_MAX: u32 = 5;

/// A row as it stands in a file, and what the laws need to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) row_id: String,
    pub(crate) is_good: bool,
    pub(crate) send_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    /// Minutes of the day in Berlin.
    pub(crate) window: Option<(i16, i16)>,
    text: String,
}

/// A file of messages.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    pub(crate) tenant: &'static str,
    /// Below the tenant's folder: `inbox/messages/a.csv`.
    pub(crate) path: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) is_test: bool,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
    Drop(Sheet),
    /// Something asked of a file: a marker, or a file of operations.
    Ask {
        tenant: &'static str,
        path: String,
        bytes: Vec<u8>,
    },
    /// The configuration is read anew, with this tenant suspended, or none.
    Reload(Option<&'static str>),
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// From the start of the first life.
    pub(crate) at: Duration,
    pub(crate) act: Act,
    /// Whether the door saw the upload end, and how.
    pub(crate) proof: Option<Proof>,
}

/// One process and how it ends.
#[derive(Debug, Clone)]
pub(crate) struct LifePlan {
    pub(crate) fault: Fault,
    /// Killed at the latest after this long.
    pub(crate) most: Duration,
    /// The whole machine goes down.
    pub(crate) power_cut: bool,
    /// Between its end and the next start; the clock may be set back meanwhile.
    pub(crate) pause: SignedDuration,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tenants: Vec<&'static str>,
    pub(crate) config: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) lives: Vec<LifePlan>,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Plan {
        let mut maker = Maker { dice: StdRng::seed_from_u64(seed), texts: 0 };
        let tenants = TENANTS[..maker.up_to(3)].to_vec();
        let config = maker.config(&tenants);
        let steps = maker.steps(&tenants);
        let lives = maker.lives();
        Plan { tenants, config, steps, lives }
    }

    /// The configuration with a tenant suspended.
    pub(crate) fn config_with(&self, suspended: Option<&str>) -> String {
        let line = suspended.map_or(String::new(), |t| format!("tenant.{t}.suspended = true\n"));
        format!("{line}{}", self.config)
    }
}

struct Maker {
    dice: StdRng,
    texts: u32,
}

impl Maker {
    fn up_to(&mut self, most: usize) -> usize {
        self.dice.random_range(1..=most)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.dice).unwrap().clone()
    }

    /// Texts go out over providers that hold what is unknown, mails over one that sends it again.
    fn config(&mut self, tenants: &[&str]) -> String {
        let mut config = String::from(
            "defaults.max_age = { authentication = \"10m\", email = \"20m\", others = \"20m\" }\n\
             defaults.hold_timeout = \"15m\"\ndefaults.quiet = \"20s\"\n",
        );
        let write = "[\"ack\", \"errors\", \"rejected\", \"result\", \"final\", \"summary\"]";
        if self.chance(75) {
            writeln!(config, "defaults.answers.write = {write}").unwrap();
        }
        for (provider, on_unknown) in [("sim", "hold"), ("other", "hold"), ("mail", "resend")] {
            let delay = self.one_of(&["0s", "0s", "300ms", "3s", "40s"]);
            let concurrency = self.one_of(&[1, 2, 8, 64]);
            let rate = if self.chance(20) { ", rate = \"2/s\"" } else { "" };
            writeln!(
                config,
                "provider.{provider} = {{ kind = \"simulator\", delay = \"{delay}\", \
                 concurrency = {concurrency}, retry_first = \"2s\", retry_max = \"1m\", \
                 attempts_max = {ATTEMPTS_MAX}, on_unknown = \"{on_unknown}\"{rate} }}"
            )
            .unwrap();
        }
        for tenant in tenants {
            let sms = self.one_of(&["[\"sim\"]", "[\"sim\", \"other\"]", "[\"other\", \"sim\"]"]);
            writeln!(
                config,
                "tenant.{tenant}.timezone = \"Europe/Berlin\"\n\
                 tenant.{tenant}.default_country = \"DE\"\n\
                 tenant.{tenant}.default_category = \"transactional\"\n\
                 tenant.{tenant}.sender = {{ email = [\"N <n@x.example>\"], sms = [\"N\"] }}\n\
                 tenant.{tenant}.channel = {{ sms = {sms}, email = [\"mail\"] }}\n\
                 tenant.{tenant}.dedupe = \"none\""
            )
            .unwrap();
            if self.chance(25) {
                writeln!(config, "tenant.{tenant}.approve_above = 6").unwrap();
            }
        }
        config
    }

    fn steps(&mut self, tenants: &[&'static str]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut sheets: Vec<Sheet> = Vec::new();
        let count = self.up_to(5);
        for _ in 0..count {
            let at = Duration::from_millis(self.dice.random_range(0..240_000));
            let tenant = self.one_of(tenants);
            let again = self.dice.random_range(0..100);
            let sheet = match sheets.choose(&mut self.dice).cloned() {
                // The same file again, or a longer version of it.
                Some(sheet) if again < 10 => sheet,
                Some(sheet) if again < 18 => self.longer(sheet),
                _ => self.sheet(tenant, &sheets),
            };
            sheets.push(sheet.clone());
            let proof = self.one_of(&[Some(Proof::Close), Some(Proof::Rename), None]);
            self.ask(&sheet, at, &mut steps);
            steps.push(Step { at, act: Act::Drop(sheet), proof });
        }
        if self.chance(15) {
            let at = Duration::from_secs(self.dice.random_range(1..200));
            let tenant = self.one_of(tenants);
            let until = at + Duration::from_secs(self.dice.random_range(1..200));
            let reload = |at, tenant| Step { at, act: Act::Reload(tenant), proof: None };
            steps.push(reload(at, Some(tenant)));
            steps.push(reload(until, None));
        }
        steps.sort_by_key(|step| step.at);
        steps
    }

    /// What is asked of a file after it was dropped.
    fn ask(&mut self, sheet: &Sheet, dropped: Duration, steps: &mut Vec<Step>) {
        let asks: usize = self.one_of(&[0, 0, 0, 1, 2]);
        let mut at = dropped;
        let name = sheet.path.rsplit('/').next().unwrap();
        let is_test = sheet.path.starts_with("test/");
        for _ in 0..asks {
            at += Duration::from_millis(self.dice.random_range(500..90_000));
            let marker = self.one_of(&["pause", "resume", "cancel", "approve", ""]);
            let (path, bytes) = if marker.is_empty() {
                self.texts += 1;
                let op = self.one_of(&["resend", "resend", "cancel", "pause", "resume", "approve"]);
                let text = format!("op,target\n{op},file:{name}\n");
                let folder = if is_test { "test/inbox" } else { "inbox" };
                (format!("{folder}/control/c{}.csv", self.texts), text.into_bytes())
            } else {
                (format!("{}.{marker}", sheet.path), Vec::new())
            };
            let act = Act::Ask { tenant: sheet.tenant, path, bytes };
            steps.push(Step { at, act, proof: Some(Proof::Close) });
        }
        // Nothing is left paused for ever.
        if asks > 0 {
            let at = Duration::from_secs(900) + dropped;
            let path = format!("{}.resume", sheet.path);
            let act = Act::Ask { tenant: sheet.tenant, path, bytes: Vec::new() };
            steps.push(Step { at, act, proof: Some(Proof::Close) });
        }
    }

    fn sheet(&mut self, tenant: &'static str, earlier: &[Sheet]) -> Sheet {
        self.texts += 1;
        let is_large = self.chance(2);
        let count = if is_large { 300 + self.up_to(1200) } else { self.up_to(14) - 1 };
        let used: Vec<&Row> = earlier
            .iter()
            .filter(|sheet| sheet.tenant == tenant)
            .flat_map(|sheet| &sheet.rows)
            .collect();
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..count {
            let row_id = match self.dice.random_range(0..100) {
                0..5 => used.choose(&mut self.dice).map(|row| row.row_id.clone()),
                5..8 => rows.choose(&mut self.dice).map(|row| row.row_id.clone()),
                8..20 => Some(String::new()),
                _ => None,
            };
            let row = self.row(row_id, is_large);
            rows.push(row);
        }
        let (folder, directive) = match self.dice.random_range(0..100) {
            0..8 => ("test/inbox/messages", ""),
            8..14 => ("inbox/messages", "#test=yes\n"),
            _ => ("inbox/messages", ""),
        };
        let is_test = folder.starts_with("test") || !directive.is_empty();
        let bytes = text_of(directive, &rows);
        let path = format!("{folder}/f{}.csv", self.texts);
        Sheet { tenant, path, rows, is_test, bytes }
    }

    /// A newer version of a file under its name: the rows of the first, and more.
    fn longer(&mut self, mut sheet: Sheet) -> Sheet {
        let directive = if sheet.bytes.starts_with(b"#test") { "#test=yes\n" } else { "" };
        for _ in 0..self.up_to(4) {
            let row = self.row(None, false);
            sheet.rows.push(row);
        }
        sheet.bytes = text_of(directive, &sheet.rows);
        sheet
    }

    fn row(&mut self, row_id: Option<String>, plain: bool) -> Row {
        self.texts += 1;
        let number = self.texts;
        let row_id = row_id.unwrap_or_else(|| format!("r{number}"));
        let ending = match self.dice.random_range(0..100) {
            0..6 => "0101".to_owned(),
            6..8 => "0103".to_owned(),
            8 => "0104".to_owned(),
            9..14 => "0105".to_owned(),
            14..24 => "0106".to_owned(),
            24..28 => "0107".to_owned(),
            28..34 => "0108".to_owned(),
            34..38 => "0109".to_owned(),
            _ => format!("{:04}", 2000 + number % 8000),
        };
        let ending = if plain { format!("{:04}", 2000 + number % 8000) } else { ending };
        let is_good = plain || !self.chance(7);
        let (phone, email) = match (is_good, self.chance(60)) {
            (false, _) => ("12".to_owned(), String::new()),
            (true, true) => (format!("0170{:03}{ending}", number % 1000), String::new()),
            (true, false) => (String::new(), format!("u{number}.{ending}@example.com")),
        };
        let start: Timestamp = START.parse().unwrap();
        let mut soon = |percent, range: std::ops::Range<i64>| {
            let is_given = !plain && self.dice.random_range(0..100) < percent;
            is_given.then(|| start + SignedDuration::from_secs(self.dice.random_range(range)))
        };
        let send_at = soon(12, -60..600);
        let expires_at = soon(8, 240..1200).filter(|at| send_at.is_none_or(|send| send < *at));
        let window = self.dice.random_range(0..100);
        let window = match window {
            _ if plain => None,
            // Berlin: one that is open, one that opens soon, one that closes soon, one that is over.
            0..4 => Some((9 * 60, 18 * 60)),
            4..7 => Some((10 * 60 + 6, 11 * 60)),
            7..10 => Some((8 * 60, 10 * 60 + 3)),
            _ => None,
        };
        let cells = [
            row_id.clone(),
            phone,
            email,
            send_at.map_or(String::new(), |at| at.to_string()),
            expires_at.map_or(String::new(), |at| at.to_string()),
            window.map_or(String::new(), |(from, until)| {
                format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
            }),
            format!("S{number},Text {number}"),
        ];
        let text = cells.join(",");
        Row { row_id, is_good, send_at, expires_at, window, text }
    }

    fn lives(&mut self) -> Vec<LifePlan> {
        let crashes = self.dice.random_range(0..LIVES_MAX);
        (0..crashes).map(|_| self.life()).collect()
    }

    fn life(&mut self) -> LifePlan {
        let early = |maker: &mut Maker, most: u64| {
            // Small numbers are as likely as large ones: many lives are short.
            let bound = 1 << maker.dice.random_range(2..=most.ilog2());
            maker.dice.random_range(1..=bound)
        };
        let applied = self.chance(50);
        let for_good = self.chance(40);
        let error = self.one_of(&[Errno::Io, Errno::NoSpace]);
        let fault = match self.dice.random_range(0..100) {
            0..40 => Fault::Kill(early(self, 1024)),
            40..60 => Fault::KillAtCommit { nth: early(self, 64), applied },
            60..75 => Fault::Fails { nth: early(self, 1024), for_good, error },
            75..85 => Fault::CommitFails { nth: early(self, 64), applied },
            _ => Fault::None,
        };
        let pause = match self.dice.random_range(0..10) {
            0 => SignedDuration::from_secs(-self.dice.random_range(1..120)),
            1 => SignedDuration::from_secs(self.dice.random_range(60..900)),
            _ => SignedDuration::from_millis(self.dice.random_range(10..20_000)),
        };
        LifePlan {
            fault,
            most: Duration::from_millis(self.dice.random_range(10..150_000)),
            power_cut: self.chance(40),
            pause,
        }
    }
}

fn text_of(directive: &str, rows: &[Row]) -> Vec<u8> {
    let header = "row_id,phone,email,send_at,expires_at,window,subject,text\n";
    let mut text = format!("{directive}{header}");
    for row in rows {
        writeln!(text, "{}", row.text).unwrap();
    }
    text.into_bytes()
}
