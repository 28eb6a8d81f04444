//! What the person sees: lines, and on a terminal a bar below them.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::world::World;

/// Tells the story on stdout.
pub(super) struct Teller {
    world: Arc<World>,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Teller {
    pub(super) fn new(world: Arc<World>) -> Teller {
        let start = world.clock.instant();
        Teller { world, start, bar: None }
    }

    /// Lines as they are; above the bar where there is one.
    pub(super) fn tell(&self, text: &str) -> anyhow::Result<()> {
        let write = || writeln!(std::io::stdout(), "{text}").context("write to stdout");
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// One step of the journey, with its time.
    pub(super) fn step(&self, text: &str) -> anyhow::Result<()> {
        self.tell(&format!("{:6.2} s  {text}", self.elapsed().as_secs_f64()))
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.world.clock.instant() - self.start
    }

    /// Shows a bar of so many rows, if anybody looks.
    pub(super) fn begin(&mut self, rows: u64) {
        if !std::io::stdout().is_terminal() {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("  [{bar:40}] {pos} of {len} rows have ended");
        bar.set_style(style.expect("the template is fixed, and valid").progress_chars("=> "));
        bar.tick();
        self.bar = Some(bar);
    }

    pub(super) fn advance(&self, rows: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(rows);
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
