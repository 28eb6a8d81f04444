//! What a seed stands for: the house, what its partners drop and when, and what goes wrong.

use std::fmt::Write;
use std::time::Duration;

use dropchute::model::Proof;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::disk::{Errno, Fault};
use super::providers::{ProviderPlan, Spell};

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
    pub(crate) steps: Vec<Way>,
    /// A one-time password: nothing less urgent goes before it.
    pub(crate) is_urgent: bool,
    /// Marketing, to which nobody consented: it is never attempted.
    pub(crate) is_barred: bool,
    text: String,
}

/// A channel a row may take, and how long a receipt is waited for before the next is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) channel: &'static str,
    pub(crate) window: Option<i64>,
}

const fn way(channel: &'static str, window: Option<i64>) -> Way {
    Way { channel, window }
}

/// Chains that rows take.
const CHAINS: [&[Way]; 7] = [
    &[way("sms", None), way("email", None)],
    &[way("sms", Some(120)), way("email", None)],
    &[way("email", Some(60)), way("sms", None)],
    &[way("whatsapp", Some(120)), way("sms", None), way("email", None)],
    &[way("whatsapp", None), way("sms", Some(60)), way("email", None)],
    &[way("whatsapp", Some(400)), way("sms", None)],
    &[way("whatsapp", None), way("email", None)],
];

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
    /// The operator halts something, or lets it go on.
    Tell(Tell),
    /// There is no room on the disk any more, or there is again.
    DiskFull(bool),
}

/// A command over the control socket.
#[derive(Debug, Clone)]
pub(crate) struct Tell {
    pub(crate) what: Told,
    pub(crate) op: &'static str,
    /// The batch that was meant, once it was told; and whether it was acknowledged.
    pub(crate) batch: Option<String>,
    pub(crate) done: bool,
    /// Lines of the log by then: when something was let go on, or when a stop was acknowledged.
    pub(crate) lines: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Tenant(&'static str),
    Provider(&'static str),
    /// The newest of its name.
    Batch(&'static str, String),
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
    pub(crate) providers: Vec<ProviderPlan>,
    /// Messages a second, by tenant.
    pub(crate) rates: Vec<(&'static str, u32)>,
    pub(crate) spells: Vec<Spell>,
    /// Urgent rows may wait so long behind others; none where nothing is known of it.
    pub(crate) urgent_within: Option<SignedDuration>,
    pub(crate) steps: Vec<Step>,
    pub(crate) lives: Vec<LifePlan>,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Plan {
        let mut maker = Maker { dice: StdRng::seed_from_u64(seed), texts: 0 };
        if seed % 16 == 5 {
            return maker.rush();
        }
        let tenants = TENANTS[..maker.up_to(3)].to_vec();
        let providers = maker.providers();
        let rates = tenants.iter().filter(|_| maker.chance(12)).map(|t| (*t, 2)).collect();
        let config = maker.config(&tenants, &providers, &rates);
        let spells = maker.spells();
        let steps = maker.steps(&tenants);
        let lives = maker.lives();
        let urgent_within = None;
        Plan { tenants, config, providers, rates, spells, urgent_within, steps, lives }
    }

    /// A small job, always the same, to one operation of which something happens.
    pub(crate) fn small(fault: Fault, power_cut: bool) -> Plan {
        let mut maker = Maker { dice: StdRng::seed_from_u64(1), texts: 0 };
        let mut rows: Vec<Row> = (0..9).map(|_| maker.row(None, false)).collect();
        rows.extend([maker.row(Some("r2".to_owned()), true), maker.row(Some(String::new()), true)]);
        let sheet = |path: &str, rows: Vec<Row>| Sheet {
            tenant: TENANTS[0],
            path: path.to_owned(),
            is_test: path.starts_with("test"),
            bytes: text_of("", &rows),
            rows,
        };
        let step = |second, sheet| Step {
            at: Duration::from_secs(second),
            act: Act::Drop(sheet),
            proof: Some(Proof::Close),
        };
        let steps = vec![
            step(0, sheet("inbox/messages/a.csv", rows)),
            step(1, sheet("test/inbox/messages/b.csv", vec![maker.row(None, true)])),
        ];
        let most = Duration::from_secs(90);
        let pause = SignedDuration::from_secs(5);
        let life = LifePlan { fault, most, power_cut, pause };
        let tenants = TENANTS[..1].to_vec();
        let (providers, rates) = (maker.providers(), Vec::new());
        let config = maker.config(&tenants, &providers, &rates);
        let (spells, urgent_within, lives) = (Vec::new(), None, vec![life]);
        Plan { tenants, config, providers, rates, spells, urgent_within, steps, lives }
    }

    /// A mail that one provider, which sends again what is unknown, refuses for the moment; the power goes
    /// while it is on the wire to another, which does not.
    pub(crate) fn failover() -> Plan {
        let mut plan = Plan::small(Fault::None, true);
        plan.config = plan.config.lines().filter(|line| !line.starts_with("provider.")).fold(
            String::new(),
            |mut text, line| {
                let email = r#"email = ["mail", "post"]"#;
                let line = match line.starts_with("tenant.acme.channel") {
                    true => format!("tenant.acme.channel = {{ sms = [\"post\"], {email} }}"),
                    false => line.to_owned(),
                };
                text.push_str(&line);
                text.push('\n');
                text
            },
        );
        for (id, resends, delay) in [("mail", true, 0), ("post", false, 30)] {
            let delay = Duration::from_secs(delay);
            let (rate, warm_up, concurrency) = (None, None, 8);
            let provider = ProviderPlan { id, resends, rate, warm_up, delay, concurrency };
            plan.config.push_str(&provider.text());
            plan.providers.retain(|other| other.id != id);
            plan.providers.push(provider);
        }
        let (text, steps) = ("r1,,u.0107@example.com,email,,,,,,,S,Text", vec![way("email", None)]);
        let row = Row {
            row_id: "r1".to_owned(),
            is_good: true,
            send_at: None,
            expires_at: None,
            window: None,
            steps,
            is_urgent: false,
            is_barred: false,
            text: text.to_owned(),
        };
        plan.steps.truncate(1);
        let Act::Drop(sheet) = &mut plan.steps[0].act else { unreachable!("a file is dropped") };
        sheet.rows = vec![row];
        sheet.bytes = text_of("", &sheet.rows);
        plan.lives[0].most = Duration::from_secs(15);
        plan
    }

    /// The configuration with a tenant suspended.
    pub(crate) fn config_with(&self, suspended: Option<&str>) -> String {
        let line = suspended.map_or(String::new(), |t| format!("tenant.{t}.suspended = true\n"));
        format!("{line}{}", self.config)
    }
}

pub(crate) struct Maker {
    pub(crate) dice: StdRng,
    texts: u32,
}

impl Maker {
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        self.dice.random_range(1..=most)
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.dice).unwrap().clone()
    }

    /// Texts go out over providers that hold what is unknown, mails over one that sends it again.
    fn config(
        &mut self,
        tenants: &[&str],
        providers: &[ProviderPlan],
        rates: &Vec<(&'static str, u32)>,
    ) -> String {
        let mut config = String::from(
            "defaults.max_age = { authentication = \"10m\", email = \"20m\", others = \"20m\" }\n\
             defaults.hold_timeout = \"15m\"\ndefaults.quiet = \"20s\"\n",
        );
        let write = "[\"ack\", \"errors\", \"rejected\", \"result\", \"final\", \"summary\"]";
        if self.chance(75) {
            writeln!(config, "defaults.answers.write = {write}").unwrap();
        }
        providers.iter().for_each(|provider| config.push_str(&provider.text()));
        for tenant in tenants {
            let sms = self.one_of(&["[\"sim\"]", "[\"sim\", \"other\"]", "[\"other\", \"sim\"]"]);
            let email = self.one_of(&[
                "[\"mail\"]",
                "[\"mail\"]",
                "[\"mail\", \"post\"]",
                "[\"post\", \"mail\"]",
            ]);
            let whatsapp = self.one_of(&["[\"wa\"]", "[\"wa\", \"sim\"]"]);
            writeln!(
                config,
                "tenant.{tenant}.timezone = \"Europe/Berlin\"\n\
                 tenant.{tenant}.default_country = \"DE\"\n\
                 tenant.{tenant}.default_category = \"transactional\"\n\
                 tenant.{tenant}.sender = {{ email = [\"N <n@x.example>\"], sms = [\"N\"] }}\n\
                 tenant.{tenant}.channel = {{ sms = {sms}, email = {email}, whatsapp = {whatsapp} }}\n\
                 tenant.{tenant}.dedupe = \"none\"\n\
                 tenant.{tenant}.weight = {}",
                self.up_to(3)
            )
            .unwrap();
            if self.chance(25) {
                writeln!(config, "tenant.{tenant}.approve_above = 6").unwrap();
            }
            if self.chance(20) {
                writeln!(config, "tenant.{tenant}.pause_after_equal_refusals = 3").unwrap();
            }
            if let Some((_, rate)) = rates.iter().find(|(of, _)| of == tenant) {
                writeln!(config, "tenant.{tenant}.rate = \"{rate}/s\"").unwrap();
            }
        }
        config
    }

    /// A long file of what can wait, and in the middle of it a short one of what cannot.
    fn rush(mut self) -> Plan {
        let tenants = TENANTS[..self.up_to(2)].to_vec();
        let mut providers = self.providers();
        for provider in &mut providers {
            provider.warm_up = None;
            provider.delay = provider.delay.min(Duration::from_secs(3));
        }
        let config = self.config(&tenants, &providers, &Vec::new());
        let config = config.replace("approve_above = 6", "approve_above = 9999");
        let many = self.dice.random_range(50..400);
        let few = self.up_to(5);
        let (tenant, at) = (self.one_of(&tenants), self.dice.random_range(3..60));
        let mut sheet = |tenant, path: &str, rows: usize, is_urgent| {
            let mut rows: Vec<Row> = (0..rows).map(|_| self.row(None, true)).collect();
            for row in &mut rows {
                row.be_urgent(is_urgent);
            }
            let (path, bytes) = (path.to_owned(), text_of("", &rows));
            Sheet { tenant, path, is_test: false, rows, bytes }
        };
        let (long, short) = (
            sheet(tenants[0], "inbox/messages/long.csv", many, false),
            sheet(tenant, "inbox/messages/short.csv", few, true),
        );
        let drop = |at, sheet| Step {
            at: Duration::from_secs(at),
            act: Act::Drop(sheet),
            proof: Some(Proof::Close),
        };
        // Its claim and the look that finds it; what is on the wire; a turn of its own for each row.
        let slowest = providers.iter().map(|p| p.delay).max().unwrap_or_default();
        let patience = Duration::from_secs(4) + slowest * 6 + Duration::from_millis(600) * 6;
        Plan {
            tenants,
            config,
            providers,
            rates: Vec::new(),
            spells: Vec::new(),
            urgent_within: Some(SignedDuration::try_from(patience).unwrap()),
            steps: vec![drop(0, long), drop(at, short)],
            lives: Vec::new(),
        }
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
        self.halts(tenants, &sheets, &mut steps);
        if self.chance(12) {
            let at = self.dice.random_range(0..240_000);
            let until = at + self.dice.random_range(1..180_000);
            for (at, is_full) in [(at, true), (until, false)] {
                let act = Act::DiskFull(is_full);
                steps.push(Step { at: Duration::from_millis(at), act, proof: None });
            }
        }
        steps.sort_by_key(|step| step.at);
        steps
    }

    /// What the operator halts and lets go on again, or does not.
    fn halts(&mut self, tenants: &[&'static str], sheets: &[Sheet], steps: &mut Vec<Step>) {
        let count = self.one_of(&[0, 0, 0, 1, 2]);
        for _ in 0..count {
            let mut at = Duration::from_millis(self.dice.random_range(2_000..260_000));
            let sheet = sheets.choose(&mut self.dice).expect("there is always one");
            let name = sheet.path.rsplit('/').next().unwrap().to_owned();
            let batch = Told::Batch(sheet.tenant, name);
            let (what, ops): (Told, &[&str]) = match self.dice.random_range(0..100) {
                0..25 => (Told::Tenant(self.one_of(tenants)), &["suspend", "resume"]),
                25..50 => {
                    (Told::Provider(self.one_of(&["sim", "other", "mail"])), &["pause", "resume"])
                }
                50..65 => (batch, &["pause", "resume"]),
                65..75 => (batch, &["cancel", "resend"]),
                75..90 => (batch, &["retry", "retry"]),
                _ => (batch, &["resend"]),
            };
            for op in ops {
                let tell = Tell { what: what.clone(), op, batch: None, done: false, lines: 0 };
                steps.push(Step { at, act: Act::Tell(tell), proof: None });
                at += Duration::from_millis(self.dice.random_range(500..400_000));
            }
        }
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
        let digits = number % 1000;
        let sms = || format!("0170{digits:03}{ending}");
        let mail = || format!("u{number}.{ending}@example.com");
        let none = String::new;
        let steps = match self.dice.random_range(0..100) {
            0..24 if !plain => self.one_of(&CHAINS).to_vec(),
            24..66 => vec![way("sms", None)],
            _ => vec![way("email", None)],
        };
        let is_chain = steps.len() > 1;
        let is_sms = steps[0].channel == "sms";
        let (phone, email) = match is_good {
            false => ("12".to_owned(), none()),
            // Behind a refusal another ending, or the same.
            true if is_chain && self.chance(50) => (sms(), format!("u{number}.2000@example.com")),
            true if is_chain => (sms(), mail()),
            true if is_sms => (sms(), none()),
            true => (none(), mail()),
        };
        let fallback = if is_chain { Way::text(&steps) } else { none() };
        let channel = if is_chain { "" } else { steps[0].channel };
        let is_urgent = self.chance(8);
        let is_barred = !plain && !is_urgent && number % 23 == 11;
        let category = match (is_urgent, is_barred) {
            (true, _) => "authentication",
            (_, true) => "marketing",
            _ => "",
        };
        let priority = self.one_of(&["", "", "1", "9"]);
        let start: Timestamp = START.parse().unwrap();
        let mut soon = |percent, range: std::ops::Range<i64>| {
            let is_given = !plain && self.dice.random_range(0..100) < percent;
            is_given.then(|| start + SignedDuration::from_secs(self.dice.random_range(range)))
        };
        let send_at = soon(12, -60..600);
        let expires_at = soon(8, 240..1200).filter(|at| send_at.is_none_or(|send| send < *at));
        let window = self.window(plain);
        let cells = [
            row_id.clone(),
            phone,
            email,
            channel.to_owned(),
            fallback,
            category.to_owned(),
            priority.to_owned(),
            send_at.map_or(String::new(), |at| at.to_string()),
            expires_at.map_or(String::new(), |at| at.to_string()),
            window.map_or(String::new(), |(from, until)| {
                format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
            }),
            format!("S{number},Text {number}"),
        ];
        let text = cells.join(",");
        Row { row_id, is_good, send_at, expires_at, window, steps, is_urgent, is_barred, text }
    }

    /// In Berlin: one that is open, one that opens soon, one that closes soon; or none.
    fn window(&mut self, plain: bool) -> Option<(i16, i16)> {
        match self.dice.random_range(0..100) {
            _ if plain => None,
            0..4 => Some((9 * 60, 18 * 60)),
            4..7 => Some((10 * 60 + 6, 11 * 60)),
            7..10 => Some((8 * 60, 10 * 60 + 3)),
            _ => None,
        }
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

impl Way {
    fn text(steps: &[Way]) -> String {
        let each = steps.iter().map(|way| match way.window {
            Some(seconds) => format!("{}:{seconds}s", way.channel),
            None => way.channel.to_owned(),
        });
        each.collect::<Vec<_>>().join(">")
    }
}

impl Row {
    fn be_urgent(&mut self, is_urgent: bool) {
        self.is_urgent = is_urgent;
        let category = if is_urgent { "authentication" } else { "transactional" };
        let mut cells: Vec<&str> = self.text.split(',').collect();
        cells[5] = category;
        self.text = cells.join(",");
    }
}

fn text_of(directive: &str, rows: &[Row]) -> Vec<u8> {
    let header = "row_id,phone,email,channel,fallback,category,priority,send_at,expires_at,window,subject,text\n";
    let mut text = format!("{directive}{header}");
    for row in rows {
        writeln!(text, "{}", row.text).unwrap();
    }
    text.into_bytes()
}
