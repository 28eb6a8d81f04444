//! Rows whose answer was lost, and those that many providers could take: who is given them again, and
//! how often.

use std::time::Duration;

use crate::halts::{ask, column, put, tell, wait};
use crate::stage::{End, Stage};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);
/// Two providers; what the first lost is sent again.
const TWO: &str = "[provider.sim]\non_unknown = \"resend\"\nattempts_max = 2\n\
    [provider.second]\nkind = \"simulator\"\n[tenant.acme.channel]\nsms = [\"sim\", \"second\"]\n";
const LOST: &str = "phone,text,expires_at\n01701230108,One,2026-11-23T10:30:00Z\n";

#[test]
fn a_row_that_one_provider_may_have_is_never_given_to_another() {
    let stage = Stage::new(TWO);
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", LOST);
        while stage.log.sent().is_empty() {
            wait(1).await;
        }
        tell(&stage, "/providers/sim/pause").await.unwrap();
        wait(600).await;
        assert_eq!(stage.log.sent().len(), 1, "it waits for the one that may have it");
        tell(&stage, "/providers/sim/resume").await.unwrap();
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        assert_eq!(stage.log.sent().len(), 2);
        // Opened again it is still in doubt.
        tell(&stage, "/providers/sim/pause").await.unwrap();
        let list = ask(&stage, "/unknown").await;
        let batch = list["rows"][0]["batch_id"].as_str().unwrap().to_owned();
        tell(&stage, &format!("/batches/{batch}/resend")).await.unwrap();
        assert_eq!(life.rest(2 * PATIENCE).await, End::Rest, "it runs out of time");
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 2);
    for (name, expected) in [("status", "unknown"), ("provider", "sim"), ("attempts", "2")] {
        assert_eq!(column(&stage, "a.csv.result.csv", name), [expected], "{name}");
    }
}

#[test]
fn a_row_that_ends_the_process_each_time_is_not_sent_for_ever() {
    let stage = Stage::new(&TWO.replace("attempts_max", "delay = \"10s\"\nattempts_max"));
    let mut now = START.parse().unwrap();
    for life in 1..=2 {
        now = stage.live(now, async |process| {
            if life == 1 {
                put(&process, "messages/a.csv", "phone,text\n01701234501,One\n");
            }
            while stage.log.sent().len() < life {
                wait(1).await;
            }
            process.world.clock.now()
        });
    }
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 2, "the last attempt was lost as well");
    assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["unknown"]);
    assert_eq!(column(&stage, "a.csv.result.csv", "attempts"), ["2"]);
}
