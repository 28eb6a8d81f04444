//! The stream of notices: rolled by time, numbered without gaps, whatever is collected or crashes.

use std::time::Duration;

use super::house::{House, after};
use crate::codes::ReasonCode;
use crate::model::Notice;

const HEADER: &str = "spec,seq,at,severity,code,file,message,hint\n";

fn say(house: &House, second: i64, file: &str) {
    let message = "cut".to_owned();
    let notice = Notice::warning(after(second), ReasonCode::FileIncomplete, file, message);
    house.store.notice(&"acme".parse().unwrap(), &notice).unwrap();
}

async fn a_while_later(house: &mut House, seconds: u64) -> Result<(), String> {
    for _ in 0..seconds.div_ceil(5) {
        tokio::time::advance(Duration::from_secs(5)).await;
        house.try_publish().await?;
    }
    Ok(())
}

/// The files of notices, and the numbers of their lines.
fn notices(house: &House) -> Vec<(String, Vec<u64>)> {
    let tree = house.tree();
    let notices = tree.into_iter().filter(|(name, _)| name.starts_with("outbox/notices_"));
    let lines = |text: &str| -> Vec<u64> {
        assert!(text.starts_with(HEADER), "{text}");
        let line = |line: &str| line.split(',').nth(1).unwrap().parse().unwrap();
        text.lines().skip(1).map(line).collect()
    };
    notices.map(|(name, text)| (name, lines(&text))).collect()
}

fn file(number: u64, lines: impl Iterator<Item = u64>) -> (String, Vec<u64>) {
    (format!("outbox/notices_20261123_{number:06}.csv"), lines.collect())
}

#[tokio::test(start_paused = true)]
async fn notices_are_rolled_after_a_minute_and_their_numbers_survive_collecting() {
    let mut house = House::new();
    house.publish().await;
    say(&house, 0, "a.csv");
    a_while_later(&mut house, 55).await.unwrap();
    say(&house, 55, "b.csv");
    assert_eq!(notices(&house), []);
    a_while_later(&mut house, 5).await.unwrap();
    // The tenant's day has begun already.
    assert_eq!(notices(&house), [file(1, 1..=2)]);
    std::fs::remove_file(house.path("outbox/notices_20261123_000001.csv")).unwrap();
    a_while_later(&mut house, 120).await.unwrap();
    assert_eq!(notices(&house), [], "nothing to say, no file");
    house.restart();
    say(&house, 180, "c.csv");
    a_while_later(&mut house, 60).await.unwrap();
    assert_eq!(notices(&house), [file(2, 3..=3)]);
}

#[tokio::test(start_paused = true)]
async fn many_notices_do_not_wait_and_fill_more_than_one_file() {
    let mut house = House::new();
    for number in 0..5001 {
        say(&house, 0, &format!("{number}.csv"));
    }
    a_while_later(&mut house, 5).await.unwrap();
    assert_eq!(notices(&house), [file(1, 1..=5000)]);
    a_while_later(&mut house, 65).await.unwrap();
    assert_eq!(notices(&house), [file(1, 1..=5000), file(2, 5001..=5001)]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_loses_no_notice_and_doubles_none() {
    for applied in [false, true] {
        for crash_at in 1..=6 {
            let mut house = House::new();
            house.publish().await;
            say(&house, 0, "a.csv");
            say(&house, 1, "b.csv");
            house.disk.fail_commit(crash_at, applied);
            if a_while_later(&mut house, 65).await.is_err() {
                house.restart();
            }
            let collected = notices(&house);
            // Once a file is there, what is said goes into the next one.
            if house.store.health().failed {
                house.restart();
            }
            let mut lines = Vec::new();
            a_while_later(&mut house, 65).await.unwrap();
            for (number, (name, found)) in (1..).zip(notices(&house)) {
                assert_eq!(name, file(number, 0..0).0);
                lines.extend(found);
            }
            assert_eq!(lines, [1, 2], "crash at {crash_at}, applied: {applied}, saw {collected:?}");
            let tenant = "acme".parse().unwrap();
            let left = house.store.stream_lines(&tenant, crate::model::Stream::Notices, 0, 9);
            assert_eq!(left.unwrap(), []);
        }
    }
}
