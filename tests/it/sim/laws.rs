//! What must hold whatever happened, told by what partners and providers can see.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::answers::{Cells, House};
use super::plan::{ATTEMPTS_MAX, Act, MAX_AGE, Row, Sheet, Told};
use super::play::Theatre;
use super::wire::{
    SLACK, Sent, is_clock_set_back, of_chain, of_limits, row_of, sent, told_to_stop,
};
use crate::stage::files_below;

/// Of the simulator that takes tests.
const TEST_ATTEMPTS_MAX: u64 = 12;

pub(crate) struct Court<'t> {
    theatre: &'t Theatre,
    house: House,
    sent: HashMap<String, Vec<Sent>>,
    sheets: Vec<&'t Sheet>,
    problems: Vec<String>,
}

impl<'t> Court<'t> {
    /// Every law that does not hold, in words.
    pub(crate) fn judge(theatre: &'t Theatre) -> Vec<String> {
        let mut problems = Vec::new();
        let house = House::read(&theatre.data(), &mut problems);
        let sheets = theatre.done.iter().filter_map(|(_, act)| match act {
            Act::Drop(sheet) => Some(sheet),
            _ => None,
        });
        let sheets = sheets.collect();
        let sent = sent(theatre);
        problems.extend(of_limits(theatre, &sent));
        let mut court = Court { theatre, house, sent, sheets, problems };
        court.every_file_is_answered();
        court.answers_agree();
        court.row_ids_are_used_once();
        court.nobody_urgent_waits_behind_others();
        court.nothing_is_left_behind();
        court.problems
    }

    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    fn every_file_is_answered(&mut self) {
        let mut found = Vec::new();
        for original in &self.house.originals {
            let acks: Vec<&Cells> = self
                .house
                .acks
                .iter()
                .filter(|ack| ack.batch() == Some(&original.batch) && ack.tenant == original.tenant)
                .flat_map(|ack| &ack.rows)
                .collect();
            let last = acks.iter().filter(|ack| ack["state"] != "HELD").count();
            if last != 1 {
                found.push(format!("{} {}: {last} ACKs", original.name, original.batch));
            }
        }
        for (at, act) in &self.theatre.done {
            let (tenant, path, bytes) = match act {
                Act::Drop(sheet) => (sheet.tenant, &sheet.path, &sheet.bytes),
                Act::Ask { tenant, path, bytes } => (*tenant, path, bytes),
                Act::Reload(_) | Act::Tell(_) | Act::DiskFull(_) => continue,
            };
            let name = path.rsplit('/').next().unwrap_or_default();
            let is_there = self.house.originals.iter().any(|original| {
                original.tenant == tenant && original.name == name && original.bytes == *bytes
            });
            // A newer upload of the name before the claim replaces the file.
            let again = self.theatre.done.iter().filter(|(_, other)| match other {
                Act::Drop(sheet) => sheet.tenant == tenant && sheet.path == *path,
                Act::Ask { tenant: of, path: other, .. } => *of == tenant && other == path,
                Act::Reload(_) | Act::Tell(_) | Act::DiskFull(_) => false,
            });
            if !is_there && again.count() == 1 {
                found.push(format!("{at} {tenant} {path}: dropped, and nowhere in the archive"));
            }
        }
        self.problems.append(&mut found);
    }

    fn answers_agree(&mut self) {
        let acks: Vec<Cells> = self.house.acks.iter().flat_map(|ack| &ack.rows).cloned().collect();
        for ack in acks {
            let name = format!("{} {}", ack["file"], ack["batch_id"]);
            if ack["state"] == "HELD" {
                // Counted above; a newer file of the name may have pushed it into the archive.
                continue;
            }
            let number = |column: &str| ack[column].parse::<u64>().unwrap_or(0);
            let parts = ["rows_accepted", "rows_rejected", "rows_duplicate"].map(number);
            if number("rows_total") != parts.iter().sum::<u64>() {
                self.problem(format!("{name}: the ACK does not add up: {ack:?}"));
            }
            if ack["kind"] == "messages" && ack["state"].starts_with("ACCEPTED") {
                self.rows_end_once(&name, &ack);
            }
        }
    }

    /// Rows in are rows out, and each is what became of it.
    fn rows_end_once(&mut self, name: &str, ack: &Cells) {
        let batch = &ack["batch_id"];
        let total = ack["rows_total"].parse::<usize>().unwrap_or(0);
        let sheet = self.sheet_of(batch);
        if total == 0 {
            return;
        }
        let (Some(sheet), Some(result), Some(last), Some(summary)) = (
            sheet,
            House::current(&self.house.results, batch),
            House::current(&self.house.finals, batch),
            House::current(&self.house.summaries, batch),
        ) else {
            self.problem(format!("{name}: result, final or summary is missing"));
            return;
        };
        let mut found = Vec::new();
        for answer in [result, last] {
            let rows: Vec<usize> =
                answer.rows.iter().map(|row| row["row"].parse().unwrap_or(0)).collect();
            if rows != (1..=total).collect::<Vec<_>>() || total != sheet.rows.len() {
                found.push(format!("{name}: {}: rows {rows:?} of {total}", answer.path));
            }
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &last.rows {
            *counts.entry(row["status"].as_str()).or_default() += 1;
            if row["final"] != "yes" {
                found.push(format!("{name}: row {} is not final: {row:?}", row["row"]));
            }
        }
        let stated = |cells: &Cells, column: &str| cells[column].parse::<u64>().unwrap_or(0);
        for (status, count) in &counts {
            if stated(&summary.rows[0], status) != *count {
                found.push(format!("{name}: {count} {status}, but {:?}", summary.rows[0]));
            }
        }
        for (column, status) in [("rows_rejected", "rejected"), ("rows_duplicate", "duplicate")] {
            if stated(ack, column) != counts.get(status).copied().unwrap_or(0) {
                found.push(format!("{name}: {status}: {counts:?}, but {ack:?}"));
            }
        }
        for (cells, row) in last.rows.iter().zip(&sheet.rows) {
            for problem in self.of_row(sheet, cells, row) {
                found.push(format!("{name} row {}: {problem}: {cells:?}", cells["row"]));
            }
        }
        self.problems.append(&mut found);
    }

    fn sheet_of(&self, batch: &str) -> Option<&'t Sheet> {
        let original = self.house.originals.iter().find(|original| original.batch == batch)?;
        self.sheets.iter().copied().find(|sheet| {
            sheet.tenant == original.tenant
                && sheet.path.ends_with(&format!("/{}", original.name))
                && sheet.bytes == original.bytes
        })
    }

    /// One row, against what its provider saw.
    fn of_row(&self, sheet: &Sheet, cells: &Cells, row: &Row) -> Vec<String> {
        let mut found = Vec::new();
        let status = cells["status"].as_str();
        let none = Vec::new();
        let (key, step) = row_of(&cells["message_id"]);
        let sent = self.sent.get(key).unwrap_or(&none);
        let has_left = sent.iter().any(Sent::was_taken);
        let taken = sent.iter().any(|sent| sent.outcome == "accepted" && sent.step == step);
        let resent = self.resends(sheet, &cells["batch_id"]) > 0;
        let any_cut = self.any_cut();
        let ends = row.expires_at.is_some() || row.send_at.is_some();
        let too_late = ends && cells["code"] == "row.too_late";
        if (status == "rejected") == row.is_good && status != "duplicate" && !too_late {
            found.push("a good row rejected, or a bad one not".to_owned());
        }
        match status {
            "sent" | "submitted" | "delivered" | "read" | "bounced" if !taken => {
                found.push(format!("{status}, but nobody took it"));
            }
            "rejected" | "duplicate" | "suppressed" if !sent.is_empty() => {
                found.push(format!("{status}, and attempted"));
            }
            "failed" | "expired" | "cancelled"
                if sent.iter().any(|sent| sent.was_taken() && !sent.is_lost()) =>
            {
                found.push(format!("{status}, and it may have gone out: {sent:?}"));
            }
            "unknown" if !sent.iter().any(Sent::may_have_left) && !any_cut => {
                found.push("unknown, and never on the wire".to_owned());
            }
            "accepted" | "deferred" => found.push("no end".to_owned()),
            _ => {}
        }
        let without_leave = ["suppressed", "cancelled", "duplicate", "rejected"];
        if row.is_barred && !(sent.is_empty() && without_leave.contains(&status)) {
            found.push(format!("nobody consented, and it is {status}: {sent:?}"));
        }
        let heard = sent.iter().any(|s| s.outcome == "accepted" && !s.is_lost());
        if heard && !["sent", "submitted", "delivered", "read", "bounced"].contains(&status) {
            found.push(format!("accepted and heard, but {status}"));
        }
        let is_of_step = |sent: &&Sent| sent.step == step;
        if has_left && sent.iter().filter(is_of_step).any(|sent| sent.to != cells["to"]) {
            found.push("sent to somebody else".to_owned());
        }
        if !resent {
            found.extend(self.twice(sent));
            if !sheet.is_test {
                found.extend(of_chain(self.theatre, row, sent));
                found.extend(self.of_path(cells, row, sent));
            }
        }
        let counted = cells["attempts"].parse::<u64>().unwrap_or(0);
        // Each provider has its own on each step, and a channel has two at most.
        let most = match row.steps.len() as u64 {
            steps if sheet.is_test => steps * TEST_ATTEMPTS_MAX,
            steps => steps * 2 * ATTEMPTS_MAX,
        };
        let lost = sent.iter().filter(|sent| sent.is_lost()).count() as u64;
        if counted > most * (1 + self.resends(sheet, &cells["batch_id"])) + lost {
            found.push(format!("{counted} attempts"));
        }
        for sent in sent {
            found.extend(self.not_to_be_sent(sheet, row, sent, resent));
        }
        found
    }

    /// Twice on a step only where somebody chose so: the provider that sends again what is unknown.
    fn twice(&self, sent: &[Sent]) -> Option<String> {
        let resends = |sent: &Sent| {
            let mut providers = self.theatre.plan.providers.iter();
            providers.any(|provider| provider.resends && provider.id == sent.provider)
        };
        let steps: BTreeSet<usize> = sent.iter().map(|sent| sent.step).collect();
        steps.into_iter().find_map(|step| {
            let of_step = || sent.iter().filter(move |sent| sent.step == step);
            let taken = of_step().filter(|sent| sent.was_taken()).count();
            let lost = of_step().filter(|s| resends(s) && (s.is_lost() || s.outcome == "unknown"));
            (taken > 1 + lost.count()).then(|| format!("handed over {taken} times: {sent:?}"))
        })
    }

    /// The path that the result tells is the one that was gone.
    fn of_path(&self, cells: &Cells, row: &Row, sent: &[Sent]) -> Option<String> {
        let told: Vec<&str> =
            cells["channels_tried"].split('>').filter(|c| !c.is_empty()).collect();
        let mut chain = row.steps.iter().map(|way| way.channel);
        let in_order = told.iter().all(|channel| chain.any(|way| way == *channel));
        let was_tried = |channel: &str| sent.iter().any(|sent| sent.channel == channel);
        let unheard_of =
            told.iter().find(|channel| !was_tried(channel)).filter(|_| !self.any_cut());
        let left_out = sent.iter().find(|s| !s.is_lost() && !told.contains(&s.channel.as_str()));
        (!in_order || unheard_of.is_some() || left_out.is_some())
            .then(|| format!("its path is not {told:?}: {sent:?}"))
    }

    fn any_cut(&self) -> bool {
        self.theatre.deaths.iter().any(|death| death.power_cut)
    }

    /// How often somebody asked for the batch, or some of it, once more. Rows in doubt go on counting their
    /// attempts then.
    fn resends(&self, sheet: &Sheet, batch: &str) -> u64 {
        let by_command = self.theatre.done.iter().filter(|(_, act)| match act {
            Act::Tell(tell) => tell.op == "resend" && tell.batch.as_deref() == Some(batch),
            _ => false,
        });
        (by_command.count() + self.asked(sheet, &["resend"]).count()) as u64
    }

    /// In a rush whoever cannot wait is sent soon after the file was taken.
    fn nobody_urgent_waits_behind_others(&mut self) {
        let Some(within) = self.theatre.plan.urgent_within else { return };
        let mut found = Vec::new();
        for ack in self.house.acks.iter().flat_map(|ack| &ack.rows) {
            let (batch, at) = (&ack["batch_id"], ack["validated_at"].parse::<Timestamp>());
            let Some(sheet) = self.sheet_of(batch) else { continue };
            let Ok(at) = at else { continue };
            let rows = (1..).zip(&sheet.rows).filter(|(_, row)| row.is_urgent && row.is_good);
            for (number, _) in rows {
                let sent = self.sent.get(&format!("{batch}-{number}"));
                let first = sent.and_then(|sent| sent.first()).map_or(Timestamp::MAX, |s| s.at);
                if first > at + within {
                    found.push(format!("urgent row {number}, taken at {at}, is sent at {first}"));
                }
            }
        }
        self.problems.append(&mut found);
    }

    /// Why a message should not have gone out when it did.
    fn not_to_be_sent(&self, sheet: &Sheet, row: &Row, sent: &Sent, resent: bool) -> Vec<String> {
        let mut found = Vec::new();
        let at = sent.at;
        if sent.is_test != sheet.is_test {
            found.push("a test that left the house, or the other way round".to_owned());
        }
        if row.expires_at.is_some_and(|expires| at >= expires) {
            found.push(format!("sent at {at}, after it expired"));
        }
        if row.send_at.is_some_and(|send_at| at < send_at) {
            found.push(format!("sent at {at}, before it was due"));
        }
        if let Some(send_at) = row.send_at.filter(|_| row.expires_at.is_none() && !resent)
            && self.theatre.plan.tenants.contains(&sheet.tenant)
            && at > send_at + MAX_AGE + SignedDuration::from_mins(30)
        {
            found.push(format!("sent at {at}, long after it was due"));
        }
        if let Some((from, until)) = row.window {
            let local = at.to_zoned(TimeZone::get("Europe/Berlin").unwrap());
            let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
            if !(from..until).contains(&minute) {
                found.push(format!("sent at {at}, outside its window"));
            }
        }
        found.extend(self.suspended_at(sheet, sent));
        found.extend(self.halted_at(sheet, sent, resent));
        let by_command_only = self.asked(sheet, &["resume", "resend"]).next().is_none();
        found.extend(told_to_stop(self.theatre, sheet.tenant, sent, by_command_only));
        found
    }

    fn suspended_at(&self, sheet: &Sheet, sent: &Sent) -> Option<String> {
        if is_clock_set_back(self.theatre) {
            return None;
        }
        let mut reloads = self.theatre.done.iter().filter_map(|(at, act)| match act {
            Act::Reload(tenant) if *at <= sent.at => Some((*at, *tenant)),
            _ => None,
        });
        let (since, tenant) = reloads.next_back()?;
        let is_suspended = tenant == Some(sheet.tenant) && sent.at > since + SLACK;
        is_suspended.then(|| format!("sent at {}, suspended since {since}", sent.at))
    }

    /// Paused or cancelled, by what markers were answered.
    fn halted_at(&self, sheet: &Sheet, sent: &Sent, resent: bool) -> Option<String> {
        if is_clock_set_back(self.theatre) {
            return None;
        }
        // Of a name that was dropped again a marker does not tell which file was meant.
        let same = self.sheets.iter().filter(|s| s.tenant == sheet.tenant && s.path == sheet.path);
        let mut asked: Vec<(Timestamp, &str)> = match same.count() {
            1 => self.asked(sheet, &["pause", "resume", "cancel"]).collect(),
            _ if self.asked(sheet, &["resume"]).next().is_some() => return None,
            _ => Vec::new(),
        };
        for (at, act) in &self.theatre.done {
            let Act::Tell(tell) = act else { continue };
            let is_about = matches!(tell.what, Told::Batch(..))
                && tell.batch.as_ref() == Some(&sent.batch)
                && ["pause", "resume", "cancel", "resend"].contains(&tell.op);
            // An end that nobody acknowledged may have come true all the same; a resend opens what was over,
            // paused or not.
            if is_about && (tell.done || tell.op == "resume") {
                asked.push((*at, tell.op));
            }
        }
        asked.sort();
        let (since, op) = *asked.iter().rfind(|(at, _)| *at <= sent.at)?;
        // Answers tell whole seconds: what was asked at about the same time has no order.
        let is_near = |at: Timestamp| at.duration_since(since).abs() <= SLACK;
        let is_doubtful = asked.iter().any(|(at, op)| *op == "resume" && is_near(*at));
        if is_doubtful || sent.at <= since + SLACK {
            return None;
        }
        match op {
            "pause" => Some(format!("sent at {}, paused since {since}", sent.at)),
            "cancel" if !resent => Some(format!("sent at {}, cancelled at {since}", sent.at)),
            _ => None,
        }
    }

    /// What was asked of a file and granted, with the time at which it was; oldest first.
    fn asked<'a>(
        &'a self,
        sheet: &'a Sheet,
        ops: &'a [&'a str],
    ) -> impl Iterator<Item = (Timestamp, &'a str)> {
        let name = sheet.path.rsplit('/').next().unwrap_or_default();
        let mut asked = Vec::new();
        for answer in self.house.acks.iter().filter(|answer| answer.tenant == sheet.tenant) {
            let Some(ack) = answer.rows.first() else { continue };
            let Ok(at) = ack["validated_at"].parse::<Timestamp>() else { continue };
            let is_marker = ack["kind"] == "control" && !ack["file"].ends_with(".csv");
            let nothing_done = !is_marker && ack["rows_accepted"] == "0";
            if !ack["state"].starts_with("ACCEPTED") || nothing_done {
                continue;
            }
            let marker = ack["file"].strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
            for op in ops {
                let by_file =
                    || self.control_text(&ack["batch_id"]).contains(&format!("{op},file:{name}\n"));
                if marker == Some(op) || ack["kind"] == "control" && by_file() {
                    asked.push((at, *op));
                }
            }
        }
        asked.sort();
        asked.into_iter()
    }

    fn control_text(&self, batch: &str) -> String {
        let original = self.house.originals.iter().find(|original| original.batch == batch);
        original.map_or(String::new(), |o| String::from_utf8_lossy(&o.bytes).into_owned())
    }

    fn row_ids_are_used_once(&mut self) {
        let mut used: BTreeSet<(String, String)> = BTreeSet::new();
        let mut found = Vec::new();
        for original in &self.house.originals {
            let Some(last) = House::current(&self.house.finals, &original.batch) else { continue };
            let Some(sheet) = self.sheet_of(&original.batch) else { continue };
            if sheet.is_test {
                continue;
            }
            for row in &last.rows {
                let was_taken = !["rejected", "duplicate"].contains(&row["status"].as_str());
                let key = (original.tenant.clone(), row["row_id"].clone());
                if was_taken && !row["row_id"].is_empty() && !used.insert(key) {
                    found.push(format!(
                        "row_id {} of {} is used twice",
                        row["row_id"], original.name
                    ));
                }
            }
        }
        self.problems.append(&mut found);
    }

    fn nothing_is_left_behind(&mut self) {
        let data = self.theatre.data();
        for (path, _) in files_below(&data.join("batches")) {
            let name = path.rsplit('/').next().unwrap_or_default();
            if !["rows", "problems", "duplicates", "outcomes", "read_as"].contains(&name) {
                self.problem(format!("left behind: batches/{path}"));
            }
        }
        for (path, _) in files_below(&data.join("row_ids")) {
            if !path.ends_with(".ids") {
                self.problem(format!("left behind: row_ids/{path}"));
            }
        }
    }
}
