//! Simulation: a seed makes a house, its partners, its providers and its misfortunes; the laws must hold.
//!
//! `SEEDS=10000 cargo test --test it sim` plays that many seeds, `SEED=n cargo test --test it sim` one of
//! them, with its story. Everything of a seed runs on one thread, on paused time.
//!
//! It can fail. Of 150 seeds so many did when the program was broken by hand:
//!
//! | broken | seeds |
//! |---|---|
//! | outcomes are not synced before their window is released | 7, rows handed over twice |
//! | an order's page changes no outcome | 15 |
//! | no start mark is written | 6, rows handed over twice |
//! | recovery gives back a row that has a mark | 6, rows handed over twice |
//! | marks are believed after a power cut, too | 8, rows handed over twice |
//! | an outcome is written before the message is handed over | 113, `submitted`, and nobody took it |
//! | what is unknown goes on along its chain | 21, a step before its time |
//! | nobody asks for consent | 63, sent without it |
//! | used `row_id`s are not asked for | 19, used twice |
//! | pauses and suspensions are not heard | 5 of the first 41, sent after the stop |
//! | a claim's folders are not synced; in doubt another provider may be asked | none |
//! | just before a message is handed over, its expiry, an order or its paused provider is not asked for | none |
//!
//! Of the last two the laws are there, and no seed comes upon the moment in which they would be broken.

mod answers;
mod disk;
mod laws;
mod plan;
mod play;
mod providers;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::RefUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use disk::{Errno, Fault};
use laws::Court;
use plan::Plan;
use play::Theatre;

use crate::stage::files_below;

/// A seed that takes longer, in real time, hangs.
const SEED_TIME_MAX: Duration = Duration::from_secs(120);
/// Played within `cargo test`.
const SEEDS: u64 = 200;
/// How long the process lives that must find nothing to do.
const QUIET_LIFE: Duration = Duration::from_secs(120);

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_is_sent_twice() {
    if let Some(seed) = number("SEED") {
        let (story, problems) = play(seed);
        assert!(problems.is_empty(), "{story}\n{}", problems.join("\n"));
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let failed = play_all(seeds, |seed| play(seed).1);
    let mut report = String::new();
    for (seed, problems) in failed.iter().take(10) {
        let first = problems.first().map_or("", |problem| &problem[..problem.len().min(300)]);
        writeln!(report, "SEED={seed} cargo test --test it sim: {first}").unwrap();
    }
    assert!(failed.is_empty(), "{} of {seeds} seeds fail:\n{report}", failed.len());
}

type FaultAt = Box<dyn Fn(u64) -> Fault + Sync + RefUnwindSafe>;

/// Every operation on a file of a small job, in its turn: the process is killed before it, with the
/// machine or alone; it fails once, and all of its kind from then on; for want of room, too. One in seven of
/// these is played; `ONE_IN=1` plays all.
#[test]
#[allow(clippy::print_stdout, reason = "who asks with --nocapture reads how much was tried")]
fn no_operation_on_a_file_loses_or_doubles_anything_where_it_fails() {
    let mut whole = Theatre::new(Plan::small(Fault::None, false));
    whole.plan.lives.clear();
    assert_eq!(whole.play(0), Ok(()));
    let acts = whole.acts();
    assert!(acts > 80, "the small job has {acts} operations");
    let fails = |for_good, error| move |nth| Fault::Fails { nth, for_good, error };
    let faults: [(&str, FaultAt, bool); 6] = [
        ("is never reached", Box::new(Fault::Kill), false),
        ("is never reached, and the power goes", Box::new(Fault::Kill), true),
        ("fails", Box::new(fails(false, Errno::Io)), false),
        ("fails, and the power goes later", Box::new(fails(false, Errno::Io)), true),
        ("fails for good", Box::new(fails(true, Errno::Io)), false),
        ("has no room for good", Box::new(fails(true, Errno::NoSpace)), true),
    ];
    if let Some(case) = number("CASE") {
        let (nth, (_, fault, power_cut)) = (case / 6 + 1, &faults[case as usize % 6]);
        let (story, problems) = play_plan(Plan::small(fault(nth), *power_cut), case);
        assert!(problems.is_empty(), "{story}\n{}", problems.join("\n"));
        return;
    }
    // In another step than that of the faults: each operation has its turn with some, each fault with many.
    let one_in = number("ONE_IN").unwrap_or(7);
    let cases = (acts * faults.len() as u64).div_ceil(one_in);
    let failed = play_all(cases, |played| {
        let case = played * one_in;
        let (nth, (_, fault, power_cut)) = (case / 6 + 1, &faults[case as usize % 6]);
        play_plan(Plan::small(fault(nth), *power_cut), case).1
    });
    let mut report = String::new();
    for (played, problems) in &failed {
        let case = played * one_in;
        let (nth, (what, _, _)) = (case / 6 + 1, &faults[case as usize % 6]);
        let first = problems.first().map_or("", |problem| &problem[..problem.len().min(300)]);
        writeln!(report, "CASE={case} cargo test --test it sim: operation {nth} {what}: {first}")
            .unwrap();
    }
    assert!(failed.is_empty(), "{} of {cases}:\n{report}", failed.len());
    println!("{cases} faults at {acts} operations: nothing lost, nothing doubled");
}

/// Of the marks of a window the first may survive a power cut and the last not: the row went out again by
/// the provider that had refused it.
#[test]
fn a_power_cut_between_two_providers_lets_neither_of_them_send_again() {
    for seed in 0..40 {
        let mut theatre = Theatre::new(Plan::failover());
        assert_eq!(theatre.play(seed), Ok(()), "{seed}");
        let problems = Court::judge(&theatre);
        let sent: Vec<_> = theatre.stage.log.sent();
        let asked = sent.iter().map(|line| line.field("provider").to_owned());
        assert_eq!(asked.collect::<Vec<_>>(), ["mail", "post"], "{seed}: {}", story(&theatre));
        assert!(problems.is_empty(), "{seed}: {problems:?}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Plays every case; what does not hold, by case.
#[allow(clippy::print_stdout, reason = "the process ends here: nobody else would say why")]
fn play_all(
    cases: u64,
    play: impl Fn(u64) -> Vec<String> + Sync + RefUnwindSafe,
) -> BTreeMap<u64, Vec<String>> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let under_way = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= cases {
                            break;
                        }
                        under_way.lock().unwrap().insert(seed, Instant::now());
                        let played = std::panic::catch_unwind(|| play(seed));
                        let problems = played.unwrap_or_else(|_| vec!["it panics".to_owned()]);
                        under_way.lock().unwrap().remove(&seed);
                        if !problems.is_empty() {
                            failed.lock().unwrap().insert(seed, problems);
                        }
                    }
                })
            })
            .collect();
        while !players.iter().all(|player| player.is_finished()) {
            std::thread::sleep(Duration::from_millis(100));
            let under_way = under_way.lock().unwrap();
            let hangs = under_way.iter().find(|(_, since)| since.elapsed() > SEED_TIME_MAX);
            if let Some((seed, _)) = hangs {
                // Its thread cannot be ended: the process must.
                println!("it hangs: SEED={seed} cargo test --test it sim");
                std::process::exit(1);
            }
        }
    });
    failed.into_inner().unwrap()
}

/// Plays a seed: its story, and every law that does not hold.
fn play(seed: u64) -> (String, Vec<String>) {
    play_plan(Plan::of(seed), seed)
}

fn play_plan(plan: Plan, seed: u64) -> (String, Vec<String>) {
    let mut theatre = Theatre::new(plan);
    let mut problems: Vec<String> = theatre.play(seed).err().into_iter().collect();
    if problems.is_empty() {
        problems = Court::judge(&theatre);
        let (before, sent) = (answers(&theatre), theatre.stage.log.sent().len());
        problems.extend(theatre.live_on(QUIET_LIFE).err());
        if answers(&theatre) != before || theatre.stage.log.sent().len() != sent {
            problems.push("one more start changes something".to_owned());
        }
    }
    (story(&theatre), problems)
}

fn answers(theatre: &Theatre) -> BTreeMap<String, Vec<u8>> {
    let mut files = files_below(&theatre.data().join("tenants"));
    files.retain(|path, _| !path.contains("/spec/"));
    files
}

/// What was planned, what was done, and what the program said to it.
fn story(theatre: &Theatre) -> String {
    let mut story = String::new();
    writeln!(story, "{}", theatre.plan.config).unwrap();
    for spell in &theatre.plan.spells {
        writeln!(story, "{spell:?}").unwrap();
    }
    for line in &theatre.story {
        writeln!(story, "{line}").unwrap();
    }
    for (at, act) in &theatre.done {
        let what = match act {
            plan::Act::Drop(sheet) => {
                let text = String::from_utf8_lossy(&sheet.bytes);
                format!("{} drops {}:\n{text}", sheet.tenant, sheet.path)
            }
            plan::Act::Ask { tenant, path, bytes } => {
                format!("{tenant} drops {path}: {:?}", String::from_utf8_lossy(bytes))
            }
            plan::Act::Reload(tenant) => format!("suspended: {tenant:?}"),
            plan::Act::Tell(tell) => format!("{tell:?}"),
            plan::Act::DiskFull(is_full) => format!("disk full: {is_full}"),
        };
        writeln!(story, "{at} {what}").unwrap();
    }
    for line in theatre.stage.log.lines() {
        writeln!(story, "{line}").unwrap();
    }
    story
}
