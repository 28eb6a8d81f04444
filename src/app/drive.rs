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
        if worker.work().await? == Progress::Idle {
            tokio::select! {
                () = token.cancelled() => {}
                () = worker.wait_for_work() => {}
            }
        }
    }
    worker.stop(world.clock.instant() + grace).await
}
