//! `demo`: a throw-away daemon with a mail server of its own, and a partner who drops one file.
//!
//! Nothing leaves the machine: every port is on loopback, all data in a temporary folder that goes with
//! the process. The daemon is the real one, started as `serve` starts it; only its configuration is ours.

mod house;
mod journey;
mod partner;
mod receiver;
mod teller;
mod verdict;

use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::house::House;
use self::journey::Journey;
use self::receiver::{EVENTS_MAX, Receiver};
use self::teller::Teller;
use super::outcome::Failure;
use super::serve::runtime;
use crate::app::{App, Options};
use crate::config;
use crate::telemetry::{self, LogFormat};
use crate::world::World;

/// How the demo is run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct DemoArgs {
    /// End after the sample file's journey: exit code 0 if everything came out right, else 1.
    #[arg(long)]
    once: bool,
    /// Show the daemon's log.
    #[arg(long)]
    verbose: bool,
}

/// That the certificate is self-signed is said beside the commands to try.
const QUIET: &str = "warn,dropchute::transfer::tls=error";
const VERBOSE: &str = "info,sled=warn,russh=warn";

pub(super) fn demo(args: DemoArgs) -> Result<(), Failure> {
    let filter = if args.verbose { VERBOSE } else { QUIET };
    telemetry::init(LogFormat::Text, filter, false).context("start log")?;
    runtime()?.block_on(run(args))
}

async fn run(args: DemoArgs) -> Result<(), Failure> {
    let world = Arc::new(World::real());
    let receiver = Receiver::bind().await.context("open the mail server")?;
    let house = House::build(&world, receiver.address())?;
    let config = config::load(&house.config_file())?;
    let app = App::start(config, Arc::clone(&world), Options::default()).await.context("start")?;
    let doors = house.doors(&app)?;
    let mut teller = Teller::new(world);
    let (events_in, mut events) = mpsc::channel(EVENTS_MAX);

    let stop = CancellationToken::new();
    // When the terminal is gone nobody can see the demo any more.
    let mut running = pin!(app.run(stop.clone(), || {
        stop.cancel();
        None
    }));
    let mut came_out_right = None;
    let story = async {
        let wrong = Journey::new(&house, &doors, &mut teller, &mut events).travel().await?;
        came_out_right = Some(wrong.is_empty());
        if args.once {
            return Ok(());
        }
        teller.tell(&house.things_to_try(&doors))?;
        loop {
            let Some(event) = events.recv().await else { bail!("the mail server stopped") };
            teller.tell(&event.told())?;
        }
    };
    let told = tokio::select! {
        ran = &mut running => ran.context("run"),
        served = receiver.serve(events_in) => served.context("run the mail server"),
        told = story => {
            stop.cancel();
            running.await.context("run")?;
            told
        }
    };
    told?;
    match came_out_right {
        Some(true) => Ok(()),
        Some(false) => Err(anyhow::anyhow!("the journey did not come out right").into()),
        None if args.once => Err(anyhow::anyhow!("stopped before the journey's end").into()),
        None => Ok(()),
    }
}
