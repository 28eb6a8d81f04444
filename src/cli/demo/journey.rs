//! The sample file's journey, as the partner and the mail server see it.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::table::{columns, pairs, shown};
use super::house::{ACCOUNT, DoorAddresses, House};
use super::partner::{Partner, Row};
use super::receiver::{Event, Mail};
use super::teller::Teller;
use super::verdict::{SAMPLE, cell, what_is_wrong};

const NAME: &str = "messages_demo.csv";
/// How often the partner looks into the folders.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What takes longer has gone wrong.
const JOURNEY_MAX: Duration = Duration::from_secs(60);
/// More than the sample can lead to; what is beyond shows as missing.
const MAILS_MAX: usize = 100;

pub(super) struct Journey<'a> {
    house: &'a House,
    doors: &'a DoorAddresses,
    teller: &'a mut Teller,
    events: &'a mut mpsc::Receiver<Event>,
    arrived: Vec<Mail>,
    claimed: bool,
    ack: Option<Row>,
}

impl<'a> Journey<'a> {
    pub(super) fn new(
        house: &'a House,
        doors: &'a DoorAddresses,
        teller: &'a mut Teller,
        events: &'a mut mpsc::Receiver<Event>,
    ) -> Journey<'a> {
        Journey { house, doors, teller, events, arrived: Vec::new(), claimed: false, ack: None }
    }

    /// Drops the sample and follows it to its answers; returns what came out wrong.
    pub(super) async fn travel(mut self) -> anyhow::Result<Vec<String>> {
        let DoorAddresses { sftp, ftp, admin } = self.doors;
        self.teller.tell(&format!(
            "A Dropchute of its own, on loopback: SFTP {sftp}, FTP and FTPS {ftp}, admin {admin}\n\
             One tenant, with the account {ACCOUNT}; its email goes to a mail server inside this program.\n"
        ))?;
        let partner = Partner::connect(self.house, self.doors).await?;
        partner.put(&format!("inbox/{NAME}"), SAMPLE.as_bytes()).await?;
        let bytes = SAMPLE.len();
        self.teller.step(&format!("the partner uploads {NAME} over SFTP, {bytes} bytes"))?;
        self.teller.begin(SAMPLE.lines().count() as u64 - 1);
        let followed = timeout(JOURNEY_MAX, self.follow(&partner)).await;
        self.teller.end();
        followed.context("the journey has not ended in time")??;
        self.report(&partner).await
    }

    /// Until all answers are there.
    async fn follow(&mut self, partner: &Partner) -> anyhow::Result<()> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.recv() => self.note(event.context("the mail server stopped")?)?,
                _ = look.tick() => {
                    if self.look(partner).await? {
                        break;
                    }
                }
            }
        }
        // What arrived before the answers is told of by now.
        while let Ok(event) = self.events.try_recv() {
            self.note(event)?;
        }
        self.teller.step("result, final and summary are in the outbox: every row has ended")
    }

    fn note(&mut self, event: Event) -> anyhow::Result<()> {
        self.teller.step(event.told().trim_start())?;
        self.teller.advance(1);
        if let Event::Arrived(mail) = event
            && self.arrived.len() < MAILS_MAX
        {
            self.arrived.push(mail);
        }
        Ok(())
    }

    /// Looks into the folders; true when the last answer is there.
    async fn look(&mut self, partner: &Partner) -> anyhow::Result<bool> {
        if !self.claimed && !partner.list("inbox").await?.contains(NAME) {
            self.claimed = true;
            self.teller.step("the daemon takes the file: it is gone from the inbox")?;
        }
        let answers = partner.list("outbox").await?;
        let is_there = |which: &str| answers.contains(&format!("{NAME}.{which}.csv"));
        if self.ack.is_none() && is_there("ack") {
            let ack = one(partner.answer(&answer("ack")).await?)?;
            let count = |column| cell(&ack, column).parse::<u64>().unwrap_or(0);
            let (rejected, duplicate) = (count("rows_rejected"), count("rows_duplicate"));
            let state = shown(cell(&ack, "state"));
            let accepted = count("rows_accepted");
            self.teller.step(&format!(
                "the ACK is in the outbox: {state}, {accepted} rows accepted, {rejected} rejected, \
                 {duplicate} duplicate"
            ))?;
            self.teller.advance(rejected + duplicate);
            if accepted == 0 {
                bail!("the file was refused: {}", shown(cell(&ack, "message")));
            }
            self.ack = Some(ack);
        }
        Ok(["ack", "result", "final", "summary"].into_iter().all(is_there))
    }

    async fn report(self, partner: &Partner) -> anyhow::Result<Vec<String>> {
        let ack = self.ack.context("no ACK")?;
        let result = partner.answer(&answer("result")).await?;
        let ack_columns = [
            "file",
            "batch_id",
            "state",
            "code",
            "message",
            "rows_total",
            "rows_accepted",
            "rows_rejected",
            "rows_duplicate",
            "errors_file",
            "rejected_file",
        ];
        let ack_table = ack_columns.map(|column| (column, shown(cell(&ack, column))));
        let columns_shown =
            ["row", "row_id", "to_given", "status", "code", "provider_code", "x_customer"];
        let rows: Vec<Vec<String>> = result
            .iter()
            .map(|row| columns_shown.iter().map(|column| shown(cell(row, column))).collect())
            .collect();
        self.teller.tell(&format!("\n{NAME}.ack.csv\n\n{}", pairs(&ack_table)))?;
        self.teller.tell(&format!("\n{NAME}.result.csv\n\n{}", columns(&columns_shown, &rows)))?;
        let folder = self.house.tenant_folder().join("outbox");
        self.teller.tell(&format!(
            "\nThe answers, from the operator's side, as long as this runs: {}",
            folder.display()
        ))?;
        for name in partner.list("outbox").await?.iter().filter(|name| name.ends_with(".csv")) {
            self.teller.tell(&format!("  {}", shown(name)))?;
        }
        let wrong = what_is_wrong(&ack, &result, &self.arrived);
        let (arrived, seconds) = (self.arrived.len(), self.teller.elapsed().as_secs_f64());
        self.teller.tell(&match wrong.as_slice() {
            [] => format!(
                "\nEvery row is answered, and the {arrived} messages sent arrived once each ({seconds:.1} s).\n"
            ),
            wrong => format!("\nNot as it must be:\n  {}\n", wrong.join("\n  ")),
        })?;
        Ok(wrong)
    }
}

/// The path of one of the sample's answers.
fn answer(which: &str) -> String {
    format!("outbox/{NAME}.{which}.csv")
}

fn one(rows: Vec<Row>) -> anyhow::Result<Row> {
    rows.into_iter().next().context("an ACK without a row")
}
