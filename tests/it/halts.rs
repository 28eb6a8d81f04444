//! Tenants that are suspended, providers that are paused, rows that are tried again: by command, over the
//! control socket, while messages are on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use dropchute::admin;
use dropchute::store::Halted;
use serde_json::Value;

use crate::stage::{End, Life, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);
/// One message after the other, each takes a while.
const SLOW: &str = "provider.sim.delay = \"10s\"\nprovider.sim.concurrency = 1\n";
/// The last has ten minutes.
const ROWS: &str = "row_id,phone,text,expires_at\nr1,01701234501,One,\nr2,01701234502,Two,\n\
    r3,01701234503,Three,\nr4,01701234504,Four,2026-11-23T09:10:00Z\n";

pub(crate) fn put(life: &Life<'_>, name: &str, text: &str) {
    life.drop_files(&BTreeMap::from([(name.to_owned(), text.as_bytes().to_vec())]), true);
}

/// What the daemon answers to a command; a refusal as its sentence.
pub(crate) async fn tell(stage: &Stage, path: &str) -> Result<Value, String> {
    let (data_dir, path) = (stage.folder.path().join("data"), path.to_owned());
    let told = tokio::task::spawn_blocking(move || admin::tell(&data_dir, &path));
    told.await.unwrap().map_err(|error| error.to_string())
}

pub(crate) async fn ask(stage: &Stage, path: &str) -> Value {
    let (data_dir, path) = (stage.folder.path().join("data"), path.to_owned());
    tokio::task::spawn_blocking(move || admin::ask(&data_dir, &path)).await.unwrap().unwrap()
}

/// A column of an answer.
pub(crate) fn column(stage: &Stage, answer: &str, name: &str) -> Vec<String> {
    let answers = files_below(&stage.tenant("outbox/messages"));
    let mut reader = csv::Reader::from_reader(answers[answer].as_slice());
    let at = reader.headers().unwrap().iter().position(|header| header == name).unwrap();
    reader.records().map(|record| record.unwrap()[at].to_owned()).collect()
}

fn notices(stage: &Stage) -> String {
    let answers = files_below(&stage.tenant("outbox"));
    let notices = answers.iter().filter(|(name, _)| name.starts_with("notices_"));
    notices.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}

pub(crate) async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn a_suspended_tenants_rows_wait_over_a_restart_and_run_out_of_time() {
    let stage = Stage::new(SLOW);
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", ROWS);
        wait(5).await;
        let done = tell(&stage, "/tenants/acme/suspend?by=ann&reason=unpaid").await.unwrap();
        assert_eq!((&done["op"], &done["changed"]), (&"suspend".into(), &true.into()));
        let again = tell(&stage, "/tenants/acme/suspend?by=bob").await.unwrap();
        assert_eq!(again["changed"], false, "done twice is done once");
        wait(60).await;
        assert_eq!(stage.log.sent().len(), 1, "the message on the wire ended, no other began");
        put(&life, "messages/late.csv", ROWS);
        wait(60).await;
        assert_eq!(column(&stage, "late.csv.ack.csv", "code"), ["file.tenant_suspended"]);
        let now = life.world.clock.now();
        life.stop().await;
        now
    });
    stage.live(now, async |life| {
        wait(600).await;
        assert_eq!(stage.log.sent().len(), 1, "it holds over a restart");
        let list = ask(&stage, "/tenants").await;
        let line = &list["tenants"][0];
        let told = ["tenant", "state", "by", "reason"].map(|key| line[key].as_str().unwrap());
        assert_eq!(told, ["acme", "suspended", "operator:ann", "unpaid"]);
        assert_eq!(ask(&stage, "/status").await["tenants_suspended"][0], "acme");
        assert_eq!(tell(&stage, "/tenants/acme/resume").await.unwrap()["changed"], true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let status = column(&stage, "a.csv.result.csv", "status");
    assert_eq!(status, ["submitted", "submitted", "submitted", "expired"]);
    assert_eq!(column(&stage, "a.csv.result.csv", "code")[3], "policy.expired");
    let notices = notices(&stage);
    assert_eq!(notices.matches("file.tenant_suspended").count(), 1, "{notices}");
    assert_eq!(notices.matches("no longer suspended").count(), 1, "{notices}");
}

#[test]
fn rows_of_a_tenant_that_is_not_configured_any_more_run_out_of_time_and_go_when_it_is_back() {
    let stage = Stage::new(SLOW);
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", ROWS);
        wait(5).await;
        let now = life.world.clock.now();
        life.stop().await;
        now
    });
    stage.configure("tenant.acme = \"\"\n[tenant.other]\ntimezone = \"UTC\"\n");
    let now = stage.live(now, async |life| {
        let is_said = |line: &crate::stage::Line| {
            let about = (line.field("tenant"), line.field("batches"), line.field("rows"));
            line.message.starts_with("the tenant is not configured") && about == ("acme", "1", "3")
        };
        assert!(stage.log.lines().iter().any(is_said), "the operator reads it at the start");
        let gone = ask(&stage, "/status").await["tenants_gone"][0].clone();
        let told = ["batches_open", "rows_open"].map(|key| gone[key].as_u64().unwrap());
        assert_eq!((gone["tenant"].as_str().unwrap(), told), ("acme", [1, 3]));
        wait(700).await;
        assert_eq!(stage.log.sent().len(), 1, "the one before the end");
        let gone = ask(&stage, "/status").await["tenants_gone"][0]["rows_open"].clone();
        assert_eq!(gone, 2, "the row that had ten minutes has ended");
        let now = life.world.clock.now();
        life.stop().await;
        now
    });
    stage.configure(SLOW);
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let status = column(&stage, "a.csv.result.csv", "status");
    assert_eq!(status, ["submitted", "submitted", "submitted", "expired"]);
    assert_eq!(column(&stage, "a.csv.result.csv", "code")[3], "policy.expired");
}

#[test]
fn a_file_all_of_whose_rows_ran_out_of_time_is_answered_while_its_tenant_is_suspended() {
    let stage = Stage::new("");
    stage.live(START.parse().unwrap(), async |life| {
        let soon = "2026-11-23T09:30:00Z";
        let rows = format!(
            "phone,text,send_at,expires_at\n01701234501,One,{soon},2026-11-23T09:40:00Z\n\
             01701234502,Two,{soon},2026-11-23T09:50:00Z\n"
        );
        put(&life, "messages/a.csv", &rows);
        wait(30).await;
        tell(&stage, "/tenants/acme/suspend").await.unwrap();
        wait(3600).await;
        assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["expired", "expired"]);
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 0);
}

#[test]
fn a_tenant_that_the_configuration_suspends_goes_on_at_once_when_it_does_not_any_more() {
    let stage = Stage::new(SLOW);
    let path = stage.folder.path().join("dropchute.toml");
    let open = std::fs::read_to_string(&path).unwrap();
    let closed = open.replace("[tenant.acme]\n", "[tenant.acme]\nsuspended = true\n");
    assert_ne!(open, closed);
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", ROWS);
        wait(5).await;
        life.stop().await;
        START.parse().unwrap()
    });
    std::fs::write(&path, closed).unwrap();
    stage.live(now, async |life| {
        wait(60).await;
        let refused = tell(&stage, "/tenants/acme/resume").await.unwrap_err();
        assert!(refused.contains("suspended = true"), "{refused}");
        life.stop().await;
    });
    let sent = stage.log.sent().len();
    std::fs::write(&path, open).unwrap();
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 4, "{sent} before");
    assert!(
        column(&stage, "a.csv.result.csv", "status").iter().all(|status| status == "submitted")
    );
}

#[test]
fn rows_of_a_paused_provider_take_the_channels_next_one() {
    let second = "[provider.second]\nkind = \"simulator\"\n[tenant.acme.channel]\nemail = [\"second\"]\nsms = [\"sim\", \"second\"]\n";
    let stage = Stage::new(second);
    stage.live(START.parse().unwrap(), async |life| {
        tell(&stage, "/providers/sim/pause").await.unwrap();
        put(&life, "messages/a.csv", ROWS);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        assert_eq!(ask(&stage, "/status").await["providers_paused"][0], "sim");
        tell(&stage, "/providers/sim/resume").await.unwrap();
        put(&life, "messages/b.csv", "phone,text\n01701234505,Five\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert!(column(&stage, "a.csv.result.csv", "provider").iter().all(|id| id == "second"));
    assert_eq!(column(&stage, "b.csv.result.csv", "provider"), ["sim"]);
    assert_eq!(notices(&stage), "", "nothing had to wait");
}

#[test]
fn rows_wait_where_every_provider_is_paused_and_go_at_once_when_one_is_resumed() {
    let stage = Stage::new(SLOW);
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", ROWS);
        wait(5).await;
        tell(&stage, "/providers/sim/pause?reason=outage").await.unwrap();
        wait(120).await;
        assert_eq!(stage.log.sent().len(), 1, "the message on the wire ended, no other began");
        let now = life.world.clock.now();
        life.stop().await;
        now
    });
    stage.live(now, async |life| {
        wait(120).await;
        assert_eq!(stage.log.sent().len(), 1, "it holds over a restart");
        let line = ask(&stage, "/providers").await["providers"][0].clone();
        assert_eq!((&line["state"], &line["reason"]), (&"paused".into(), &"outage".into()));
        tell(&stage, "/providers/sim/resume").await.unwrap();
        wait(5).await;
        assert_eq!(stage.log.sent().len(), 2, "the next message leaves at once");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert!(
        column(&stage, "a.csv.result.csv", "status").iter().all(|status| status == "submitted")
    );
    let notices = notices(&stage);
    assert!(notices.contains("policy.paused,,the operator paused the way out"), "{notices}");
    assert_eq!(notices.matches("sent again").count(), 1, "{notices}");
}

#[test]
fn what_is_only_tried_out_needs_no_provider_that_could_be_paused() {
    let stage = Stage::new("");
    stage.live(START.parse().unwrap(), async |life| {
        tell(&stage, "/providers/sim/pause").await.unwrap();
        put(&life, "messages/a.csv", &format!("#test=yes\n{ROWS}"));
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert!(
        column(&stage, "a.csv.result.csv", "status").iter().all(|status| status == "delivered")
    );
}

/// The process dies when the end of a suspension was said and nobody was told of it.
#[test]
fn a_start_tells_waiting_batches_of_the_end_that_the_process_before_did_not() {
    let stage = Stage::new(SLOW);
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", ROWS);
        wait(5).await;
        tell(&stage, "/tenants/acme/suspend").await.unwrap();
        wait(30).await;
        assert!(life.store.end_halt(&Halted::Tenant("acme".parse().unwrap())).unwrap());
        life.world.clock.now()
    });
    stage.live(now, async |life| {
        assert_eq!(life.rest(Duration::from_secs(120)).await, End::Rest);
        assert_eq!(life.store.halts().unwrap(), []);
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 4);
}

#[test]
fn a_retry_tries_at_once_what_waits_for_its_next_try_and_nothing_else() {
    let stage = Stage::new("provider.sim.retry_first = \"30m\"\n");
    stage.live(START.parse().unwrap(), async |life| {
        let rows = "row_id,phone,text,send_at\nr1,01701230106,One,\n\
            r2,01701234502,Two,2026-11-23T10:00:00Z\n";
        put(&life, "messages/a.csv", rows);
        wait(60).await;
        assert_eq!(stage.log.sent().len(), 1, "refused once, and waits for half an hour");
        let batch = ask(&stage, "/batches").await["batches"][0]["batch_id"].clone();
        let retry = format!("/batches/{}/retry?by=ann", batch.as_str().unwrap());
        let (first, second) = tokio::join!(tell(&stage, &retry), tell(&stage, &retry));
        assert_eq!((first.unwrap()["op"].as_str(), second.is_ok()), (Some("retry"), true));
        wait(5).await;
        assert_eq!(stage.log.sent().len(), 2, "tried again, once");
        tell(&stage, &retry.replace("retry", "pause")).await.unwrap();
        let refused = tell(&stage, &retry).await.unwrap_err();
        assert_eq!(refused, "a.csv is paused: resume it first");
        tell(&stage, &retry.replace("retry", "resume")).await.unwrap();
        assert_eq!(life.rest(2 * PATIENCE).await, End::Rest);
        let refused = tell(&stage, &retry).await.unwrap_err();
        assert!(refused.starts_with("a.csv has nothing left to send"), "{refused}");
        life.stop().await;
    });
    let sent = stage.log.sent();
    let at: Vec<String> = sent.iter().map(|line| line.at.to_string()).collect();
    assert_eq!(sent.len(), 3, "{at:?}");
    assert_eq!(at[2], "2026-11-23T10:00:00Z", "the second row waited for its own time");
    assert_eq!(column(&stage, "a.csv.result.csv", "attempts"), ["2", "1"]);
}

/// The first ends unknown, the second is refused.
const DOUBT: &str = "row_id,phone,text,x_order\nr1,01701230108,One,O-1\n\
    r2,01701230101,Two,O-2\nr3,01702230108,Three,O-3\n";

fn receipts(stage: &Stage) -> Vec<BTreeMap<String, String>> {
    let answers = files_below(&stage.tenant("outbox"));
    let files = answers.iter().filter(|(name, _)| name.starts_with("receipts_"));
    let lines = files.flat_map(|(_, bytes)| {
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let names = reader.headers().unwrap().clone();
        let line = |line: csv::StringRecord| {
            names.iter().zip(&line).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
        };
        reader.records().map(|record| line(record.unwrap())).collect::<Vec<_>>()
    });
    lines.collect()
}

#[test]
fn what_is_said_of_unknown_rows_changes_no_answer_and_spares_them_a_resend() {
    let stage = Stage::new(SLOW);
    let answers = |stage: &Stage| files_below(&stage.tenant("outbox/messages"));
    let (now, batch) = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", DOUBT);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let before = answers(&stage);
        let list = ask(&stage, "/unknown?tenant=acme").await;
        let rows: Vec<u64> = list["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["row"].as_u64().unwrap())
            .collect();
        assert_eq!(rows, [1, 3]);
        assert_eq!(ask(&stage, "/unknown?tenant=other").await["rows"], serde_json::json!([]));
        let batch = list["rows"][0]["batch_id"].as_str().unwrap().to_owned();
        let settle = format!("/unknown/{batch}/settle?by=ann&reason=asked");
        let refused = tell(&stage, &format!("{settle}&row=2&as=sent")).await.unwrap_err();
        assert!(refused.starts_with("row 2 of a.csv did not end unknown"), "{refused}");
        let one = format!("{settle}&row=1&as=delivered");
        let (first, second) = tokio::join!(tell(&stage, &one), tell(&stage, &one));
        let rows = [first.unwrap(), second.unwrap()].map(|done| done["rows"].as_u64().unwrap());
        assert!(rows.contains(&1), "{rows:?}");
        let left = ask(&stage, "/unknown").await;
        assert_eq!(left["rows"].as_array().unwrap().len(), 1);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        assert_eq!(answers(&stage), before, "no published file changes");
        let now = life.world.clock.now();
        life.stop().await;
        (now, batch)
    });
    let lines = receipts(&stage);
    let line = &lines[0];
    let told =
        ["row_id", "status", "final", "code", "x_order", "file"].map(|name| line[name].as_str());
    assert_eq!(told, ["r1", "delivered", "yes", "", "O-1", "a.csv"]);
    stage.live(now, async |life| {
        let settled = ask(&stage, "/unknown?settled=yes").await["rows"][0].clone();
        let told =
            ["row_id", "settled_as", "by", "reason"].map(|key| settled[key].as_str().unwrap());
        assert_eq!(told, ["r1", "delivered", "operator:ann", "asked"], "it outlives a restart");
        tell(&stage, &format!("/batches/{batch}/resend")).await.unwrap();
        let refused = tell(&stage, &format!("/unknown/{batch}/settle?all=yes&as=sent")).await;
        assert!(refused.unwrap_err().starts_with("a.csv is still being sent"));
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let shown = ask(&stage, &format!("/batches/{batch}")).await;
        assert_eq!((&shown["resends"], &shown["resent_rows"]), (&1.into(), &2.into()));
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 5, "the row that arrived was not sent again");
    let status = column(&stage, "a.csv.result.csv", "status");
    assert_eq!(status, ["delivered", "failed", "unknown"]);
}

#[test]
fn all_rows_of_a_batch_are_settled_together_and_then_there_is_nothing_to_resend() {
    let stage = Stage::new("");
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", "phone,text\n01701230108,One\n01702230108,Two\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let list = ask(&stage, "/unknown").await;
        let batch = list["rows"][0]["batch_id"].as_str().unwrap().to_owned();
        let settle = format!("/unknown/{batch}/settle?all=yes&as=");
        assert_eq!(tell(&stage, &format!("{settle}sent")).await.unwrap()["rows"], 2);
        assert_eq!(tell(&stage, &format!("{settle}sent")).await.unwrap()["rows"], 0);
        let refused = tell(&stage, &format!("/batches/{batch}/resend")).await.unwrap_err();
        assert!(refused.contains("has no row that ended"), "{refused}");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let seen: Vec<_> =
        receipts(&stage).iter().map(|line| (line["seq"].clone(), line["status"].clone())).collect();
    assert_eq!(seen, [("1".to_owned(), "sent".to_owned()), ("2".to_owned(), "sent".to_owned())]);
}

/// Both words on the row are stored, the one found out and the new beginning, and each may follow the last.
#[test]
fn an_unknown_row_that_did_not_arrive_begins_anew_without_doubt() {
    let stage = Stage::new("");
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", "phone,text\n01701230108,One\n01702230108,Two\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let list = ask(&stage, "/unknown").await;
        let batch = list["rows"][0]["batch_id"].as_str().unwrap().to_owned();
        let settle = format!("/unknown/{batch}/settle?row=1&as=failed");
        assert_eq!(tell(&stage, &settle).await.unwrap()["rows"], 1);
        tell(&stage, &format!("/batches/{batch}/resend")).await.unwrap();
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let now = life.world.clock.now();
        life.stop().await;
        now
    });
    assert_eq!(stage.log.sent().len(), 4);
    assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["unknown", "unknown"]);
    // What is still in doubt keeps its attempt; what certainly failed has a life of its own.
    assert_eq!(column(&stage, "a.csv.result.csv", "attempts"), ["1", "2"]);
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest, "the log is read again");
        life.stop().await;
    });
}
