//! The loop that drives every station; written once.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::worker::{Progress, Worker};
use crate::world::World;

/// Works until the token is cancelled, then lets the worker end what is under way.
pub(super) async fn drive(
    mut worker: Box<dyn Worker>,
    token: CancellationToken,
    grace: Duration,
    world: Arc<World>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    while !token.is_cancelled() {
        match worker.work().await {
            Ok(Progress::Busy) => {}
            Ok(Progress::Idle) => tokio::select! {
                () = token.cancelled() => {}
                () = worker.wait_for_work() => {}
            },
            Err(error) => {
                // What is under way does not end with the fault: an attempt that is cut off counts as
                // unknown for ever.
                if let Err(also) = worker.stop(world.clock.instant() + grace).await {
                    tracing::error!(error = &*also as &dyn Error, "cannot stop in order either");
                }
                return Err(error);
            }
        }
    }
    worker.stop(world.clock.instant() + grace).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use tokio::time::Instant;

    use super::*;

    struct Failing(Arc<AtomicBool>);

    #[async_trait]
    impl Worker for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }

        async fn work(&mut self) -> Result<Progress, Box<dyn Error + Send + Sync>> {
            Err("the disk is full".into())
        }

        async fn wait_for_work(&mut self) {}

        async fn stop(&mut self, _deadline: Instant) -> Result<(), Box<dyn Error + Send + Sync>> {
            self.0.store(true, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_station_that_fails_lets_what_is_under_way_end() {
        let world = Arc::new(World::seeded("2026-11-23T10:00:00Z".parse().unwrap(), 1));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let worker = Box::new(Failing(Arc::clone(&is_stopped)));
        let token = CancellationToken::new();
        let end = drive(worker, token, Duration::from_secs(1), world).await;
        assert_eq!(end.unwrap_err().to_string(), "the disk is full");
        assert!(is_stopped.load(Ordering::Relaxed));
    }
}
