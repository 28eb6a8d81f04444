//! What the operator asks of batches, at the command line.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::{BatchCommand, CommandAnswer};
use crate::batch::{BatchOp, Decider, Effect, Unfit};
use crate::codes::ReasonCode;
use crate::intake::{Doorbell, Nudges};
use crate::model::BatchId;
use crate::store::{BatchRecord, Commands, Store, StoreError};
use crate::world::World;

/// Everything that carrying out a command needs.
pub(super) struct Controls {
    pub(super) store: Store,
    pub(super) world: Arc<World>,
    pub(super) nudges: Nudges,
    pub(super) doorbell: Arc<Doorbell>,
}

impl Controls {
    pub(super) fn command(&self, asked: &BatchCommand) -> CommandAnswer {
        let Ok(batch) = asked.batch.parse() else { return CommandAnswer::Unknown };
        loop {
            match self.carry_out(batch, asked) {
                // The batch changed meanwhile: it is decided anew.
                Err(StoreError::Conflict) => {}
                Err(error) => return CommandAnswer::Refused(error.to_string()),
                Ok(answer) => return answer,
            }
        }
    }

    fn carry_out(&self, batch: BatchId, asked: &BatchCommand) -> Result<CommandAnswer, StoreError> {
        let Some(record) = self.store.batch(batch)? else { return Ok(CommandAnswer::Unknown) };
        let now = self.world.clock.now();
        let by = match asked.by.as_str() {
            "" => Decider::Operator,
            user => Decider::OperatorUser(user.to_owned()),
        };
        let mut commands = Commands::new(by.to_string(), now);
        let decided = match asked.op {
            BatchOp::Control(op) => self.store.command(&mut commands, op, batch, None)?,
            BatchOp::Retry => self.store.retry(&mut commands, batch)?,
        };
        let effect = match decided {
            Ok(effect) => effect,
            Err(Unfit(why)) => {
                return Ok(CommandAnswer::Refused(format!("{} {why}", record.name())));
            }
        };
        match effect {
            Effect::Release => {
                self.store.release(batch, &by, now)?;
            }
            Effect::RefuseHeld => {
                let code = ReasonCode::FileApprovalNeeded;
                self.store.refuse_held(batch, &by, code, now)?;
            }
            _ => self.store.carry_out(&commands)?,
        }
        tracing::info!(tenant = %record.tenant, %batch, file = record.name(),
            op = asked.op.as_str(), by = %by, reason = asked.reason,
            changed = effect != Effect::Nothing, "command carried out");
        self.nudges.dispatch.notify_one();
        self.nudges.outbox.notify_one();
        self.doorbell.ring_for_released();
        Ok(CommandAnswer::Done(done(&record, asked, effect, &by)))
    }
}

fn done(record: &BatchRecord, asked: &BatchCommand, effect: Effect, by: &Decider) -> Value {
    json!({
        "batch_id": record.id.to_string(),
        "tenant": record.tenant.as_str(),
        "file": record.name(),
        "op": asked.op.as_str(),
        "changed": effect != Effect::Nothing,
        "by": by.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ControlOp;
    use crate::store::SimulatedDisk;

    #[test]
    fn a_batch_that_is_not_there_is_unknown() {
        let controls = Controls {
            store: Store::simulated(&SimulatedDisk::default()).unwrap(),
            world: Arc::new(World::seeded(jiff::Timestamp::UNIX_EPOCH, 1)),
            nudges: Nudges::default(),
            doorbell: Arc::default(),
        };
        for batch in ["x", "0000000000001"] {
            let asked = BatchCommand {
                batch: batch.to_owned(),
                op: BatchOp::Control(ControlOp::Pause),
                reason: String::new(),
                by: String::new(),
            };
            assert!(matches!(controls.command(&asked), CommandAnswer::Unknown), "{batch}");
        }
    }
}
