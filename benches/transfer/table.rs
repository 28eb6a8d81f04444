//! What is printed: a figure of ours, the peer's, their ratio, and the goal beside it.

use super::servers::{BEFORE, DROPCHUTE};

/// What a ratio or a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At least the first, better the second.
    Least(f64, f64),
    /// At most the first, better the second.
    Most(f64, f64),
    /// No goal: for information.
    None,
}

impl Goal {
    fn verdict(self, value: f64) -> &'static str {
        let (held, aimed) = match self {
            Goal::Least(least, aim) => (value >= least, value >= aim),
            Goal::Most(most, aim) => (value <= most, value <= aim),
            Goal::None => return "",
        };
        match (held, aimed) {
            (_, true) => "AIM",
            (true, false) => "pass",
            (false, false) => "MISS",
        }
    }

    fn words(self) -> String {
        match self {
            Goal::Least(least, aim) => format!(">= {least} ({aim})"),
            Goal::Most(most, aim) => format!("<= {most} ({aim})"),
            Goal::None => String::new(),
        }
    }
}

pub fn print_head() {
    print_row("case", "dropchute", "beside", "ratio", "goal (aim)", "");
}

fn print_row(case: &str, ours: &str, theirs: &str, ratio: &str, goal: &str, verdict: &str) {
    println!("{case:<42} {ours:>16} {theirs:>26} {ratio:>7}  {goal:<16} {verdict}");
}

/// A figure beside a peer's: `ratio` is what the goal speaks of.
pub fn beside(case: &str, ours: &str, theirs: &str, ratio: f64, goal: Goal) {
    let (words, verdict) = (goal.words(), goal.verdict(ratio));
    print_row(case, ours, theirs, &format!("{ratio:.2}"), &words, verdict);
}

/// A figure with a goal of its own.
pub fn alone(case: &str, value: f64, unit: &str, goal: Goal) {
    let (words, verdict) = (goal.words(), goal.verdict(value));
    print_row(case, &format!("{value:.1} {unit}"), "", "", &words, verdict);
}

/// One run of one operation on one server.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub seconds: f64,
    /// CPU seconds of the server.
    pub cpu: f64,
}

/// The runs of one operation, per server in the order in which they were named, and per repetition.
#[derive(Debug, Default)]
pub struct Runs(Vec<(&'static str, Vec<Run>)>);

impl Runs {
    pub fn add(&mut self, server: &'static str, run: Run) {
        match self.0.iter_mut().find(|(name, _)| *name == server) {
            Some((_, runs)) => runs.push(run),
            None => self.0.push((server, vec![run])),
        }
    }

    fn of(&self, server: &str) -> &[Run] {
        self.0.iter().find(|(name, _)| *name == server).map_or(&[], |(_, runs)| runs)
    }

    fn peers(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name).filter(|name| *name != DROPCHUTE)
    }

    /// The peer that is fastest in the median.
    pub fn best_peer(&self) -> Option<&'static str> {
        let seconds = |name: &&str| median(self.of(name).iter().map(|run| run.seconds));
        let peers = self.peers().filter(|name| *name != BEFORE);
        peers.min_by(|a, b| seconds(a).total_cmp(&seconds(b)))
    }

    /// A row for speed and one for CPU, beside each peer. `amount` of `unit` is what one run does. The
    /// ratio of speeds is the median of the repetitions' ratios: runs of one repetition stand close
    /// together in time, and the machine's speed drifts.
    pub fn print(
        &self,
        case: &str,
        amount: f64,
        unit: &str,
        speed: &dyn Fn(&str) -> Goal,
        cpu: Goal,
    ) {
        let ours = self.of(DROPCHUTE);
        let rate = |runs: &[Run]| amount / median(runs.iter().map(|run| run.seconds));
        let cost = |runs: &[Run]| median(runs.iter().map(|run| run.cpu)) / amount;
        // CPU is told for a GiB, or for a thousand files or logins.
        let (scale, per) = if unit == "MiB" { (1024.0, "GiB") } else { (1000.0, "1000") };
        for peer in self.peers() {
            let theirs = self.of(peer);
            let ratio =
                median(ours.iter().zip(theirs).map(|(our, their)| their.seconds / our.seconds));
            let goal = if peer == BEFORE { Goal::None } else { speed(peer) };
            beside(
                case,
                &format!("{:.0} {unit}/s", rate(ours)),
                &format!("{peer} {:.0}", rate(theirs)),
                ratio,
                goal,
            );
            beside(
                "    server CPU",
                &format!("{:.2} s/{per}", cost(ours) * scale),
                &format!("{:.2}", cost(theirs) * scale),
                cost(ours) / cost(theirs),
                if peer == BEFORE { Goal::None } else { cpu },
            );
        }
        if self.peers().next().is_none() {
            alone(case, rate(ours), &format!("{unit}/s"), Goal::None);
            alone("    server CPU", cost(ours) * scale, &format!("s/{per}"), Goal::None);
        }
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
