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

#[test]
fn a_provider_that_rests_brings_no_attempt_nearer_that_counts() {
    let stage = Stage::new("provider.sim.retry_first = \"30m\"\nprovider.sim.delay = \"1s\"\n");
    stage.live(START.parse().unwrap(), async |life| {
        // The first is told to come a second later, while the mailbox of the second is full.
        let rows = "row_id,phone,text\nr1,01701230105,One\nr2,01702230109,Two\n";
        put(&life, "messages/a.csv", rows);
        assert_eq!(life.rest(4 * PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let sent = stage.log.sent();
    let times = sent.iter().filter(|line| line.field("to").ends_with("0109"));
    let times: Vec<i64> = times.map(|line| line.at.as_second()).collect();
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 24 * 60), "{times:?}");
    assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["submitted", "submitted"]);
}

#[test]
fn rows_that_are_tried_again_wake_their_chunk_together() {
    let stage = Stage::new("provider.sim.retry_first = \"1h\"\nprovider.sim.retry_factor = 1\n");
    let rows = (100..300).map(|n| format!("0170{n}0109,One\n"));
    let file = format!("phone,text\n{}", rows.collect::<String>());
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", &file);
        while stage.log.sent().len() < 200 {
            wait(5).await;
        }
        let before = stage.disk.commits();
        assert_eq!(life.rest(4 * PATIENCE).await, End::Rest);
        let commits = stage.disk.commits() - before;
        assert!(commits < 120, "400 retries took {commits} commits");
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 600);
}

#[test]
fn a_fault_of_one_row_cuts_off_no_message_that_is_on_the_wire() {
    let on_the_wire = (1..=5).filter(|nth| fail_beside_a_message(*nth)).count();
    assert!(on_the_wire > 0, "no fault came while a message was on the wire");
}

/// A sender's ramp is written down before its first message, while another message is on the wire. True where
/// it was there when the `nth` commit failed.
fn fail_beside_a_message(nth: u64) -> bool {
    let stage = Stage::new(
        "[provider.sim]\ndelay = \"10s\"\n\
         [provider.second]\nkind = \"simulator\"\n\
         [provider.second.warm_up]\nfirst = \"50/day\"\nfactor = 2\nuntil = \"100/day\"\n\
         [tenant.acme.channel]\nsms = [\"sim\"]\nemail = [\"second\"]\n",
    );
    let rows = "channel,phone,email,text,subject,send_at\n\
        sms,01701234503,,One,,2026-11-23T09:01:05Z\n\
        email,,ann@example.com,Two,S,2026-11-23T09:01:05Z\n";
    let (now, on_the_wire) = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", rows);
        wait(50).await;
        stage.disk.fail_commit(nth, false);
        while !stage.disk.has_failed() {
            wait(1).await;
        }
        let sent = stage.log.sent();
        wait(60).await;
        (
            life.world.clock.now(),
            sent.iter().all(|line| line.field("channel") == "sms") && sent.len() == 1,
        )
    });
    stage.disk.mend();
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let status = column(&stage, "a.csv.result.csv", "status");
    assert_eq!(status, ["submitted", "submitted"], "commit {nth}");
    assert_eq!(stage.log.sent().len(), 2, "commit {nth}");
    on_the_wire
}

#[test]
fn the_last_attempt_at_one_provider_does_not_end_a_row_that_another_may_take() {
    let providers = "[provider.sim]\nattempts_max = 1\n\
        [provider.second]\nkind = \"simulator\"\nattempts_max = 3\n\
        [tenant.acme.channel]\nsms = [\"sim\", \"second\"]\n";
    let stage = Stage::new(providers);
    stage.live(START.parse().unwrap(), async |life| {
        // The second attempt is taken, whoever makes it.
        put(&life, "messages/a.csv", "phone,text\n01701230106,One\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    for (name, expected) in [("status", "submitted"), ("provider", "second"), ("attempts", "2")] {
        assert_eq!(column(&stage, "a.csv.result.csv", name), [expected], "{name}");
    }
    // Where none takes it all attempts of both are made, and none more.
    let stage = Stage::new(providers);
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", "phone,text\n01701230107,One\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["expired"]);
    assert_eq!(column(&stage, "a.csv.result.csv", "code"), ["delivery.attempts_used_up"]);
    assert_eq!(stage.log.sent().len(), 4);
}

#[test]
fn a_row_in_doubt_is_not_sent_again_once_the_operator_does_not_want_that_any_more() {
    let stage = Stage::new(&TWO.replace("attempts_max", "retry_first = \"10m\"\nattempts_max"));
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", LOST);
        while stage.log.sent().is_empty() {
            wait(1).await;
        }
        wait(30).await;
        life.world.clock.now()
    });
    stage.configure(&TWO.replace("on_unknown = \"resend\"", "on_unknown = \"hold\""));
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["unknown"]);
        assert_eq!(stage.log.sent().len(), 1, "it waited in doubt, and was not sent again");
        // What somebody asks for is done, whatever the provider's settings say.
        let list = ask(&stage, "/unknown").await;
        let batch = list["rows"][0]["batch_id"].as_str().unwrap().to_owned();
        tell(&stage, &format!("/batches/{batch}/resend")).await.unwrap();
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 2);
}

/// The name beside an address, and a sender that goes away and comes back while rows wait.
#[test]
fn rows_whose_sender_went_away_wait_for_it() {
    let stage = Stage::new("");
    let rows = "row_id,channel,phone,email,text,subject,send_at,expires_at\n\
        r1,email,,ann@example.com,One,S,2026-11-23T10:00:00Z,2026-11-23T14:00:00Z\n\
        r2,sms,01701234501,,Two,,2026-11-23T10:00:00Z,2026-11-23T14:00:00Z\n\
        r3,sms,01701234502,,Three,,2026-11-23T10:00:00Z,2026-11-23T10:30:00Z\n";
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", rows);
        wait(60).await;
        let now = life.world.clock.now();
        life.stop().await;
        now
    });
    let renamed = "tenant.acme.sender.email = [\"ACME GmbH <news@acme.example>\"]\n";
    stage.configure(&format!("{renamed}tenant.acme.sender.sms = [\"OTHER\"]\n"));
    let now = stage.live(now, async |life| {
        wait(2 * 3600).await;
        assert_eq!(stage.log.sent().len(), 1, "the same address under another name");
        let now = life.world.clock.now();
        life.stop().await;
        now
    });
    stage.configure(renamed);
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["submitted", "submitted", "expired"]);
    assert_eq!(column(&stage, "a.csv.result.csv", "code")[2], "policy.expired");
}
