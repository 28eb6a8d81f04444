//! Chunks on their way out at a slow provider: what is claimed ahead of its rate.

use std::fmt::Write;
use std::time::Duration;

use crate::halts::{column, put, wait};
use crate::stage::{End, Stage};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

#[test]
fn a_power_cut_makes_only_the_next_rows_of_a_slow_provider_unknown() {
    let mut stage = Stage::new("provider.sim.rate = \"10/min\"\n");
    let now = stage.live(START.parse().unwrap(), async |life| {
        let mut rows = "row_id,phone,text\n".to_owned();
        (0..300).for_each(|n| writeln!(rows, "r{n},01701234{n:03},Hello").unwrap());
        put(&life, "messages/a.csv", &rows);
        wait(60).await;
        life.world.clock.now()
    });
    let sent = stage.log.sent().len();
    assert!((5..30).contains(&sent), "{sent} were sent");
    stage.boot += 1;
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let status = column(&stage, "a.csv.result.csv", "status");
    let unknown = status.iter().filter(|status| *status == "unknown").count();
    assert!(unknown <= 2, "{unknown} rows are unknown, and {sent} of 300 were sent");
}
