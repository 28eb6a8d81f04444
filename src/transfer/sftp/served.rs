//! A channel as two share it: its task, and the SSH session, which answers small requests itself where
//! nothing is before them. Two changes of tasks would take longer than such an answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::allowance::Allowance;
use super::answers::Answers;
use super::frames::Input;
use super::inlet::{Inlet, TooMuch};
use super::outflow::Outflow;
use super::packet::Malformed;
use super::session::Session;
use crate::transfer::visit::Visit;
use crate::worker::QuickWork;

/// A batch of requests that takes longer has waited for the disk.
const SLOW_BATCH: Duration = Duration::from_millis(20);

/// One SFTP channel.
pub(in crate::transfer) struct Served {
    pub(super) inlet: Inlet,
    pub(super) outflow: Arc<Outflow>,
    pub(super) visit: Visit,
    /// Shows whether the disk is slow.
    work: QuickWork,
    /// Answers given at once wait in the SSH session, for the client's window or new keys. Only the task
    /// answers then, which waits with them.
    stuck: AtomicBool,
    /// `None` once the channel has ended.
    session: Mutex<Option<Session>>,
}

impl Served {
    pub(in crate::transfer) fn new(
        session: Session,
        visit: Visit,
        outflow: Arc<Outflow>,
        allowance: Allowance,
    ) -> Served {
        Served {
            inlet: Inlet::new(allowance),
            outflow,
            visit,
            work: QuickWork::new(SLOW_BATCH),
            stuck: AtomicBool::new(false),
            session: Mutex::new(Some(session)),
        }
    }

    /// Takes what was received. Returns what is to be said now, when there is room for more.
    pub(in crate::transfer) async fn hear(&self, bytes: &[u8]) -> Result<Vec<Bytes>, TooMuch> {
        let is_first = || {
            self.outflow.is_empty()
                && !self.stuck.load(Ordering::Relaxed)
                && !self.visit.is_paced()
                && !self.work.is_wary()
        };
        match self.inlet.push(bytes, is_first)? {
            Some(input) => Ok(self.answer_now(input)),
            None => {
                self.inlet.has_room().await;
                Ok(Vec::new())
            }
        }
    }

    fn answer_now(&self, mut input: Input) -> Vec<Bytes> {
        let _busy = self.visit.transfer();
        let mut answers = Answers::default();
        let result = self.serve(&mut input, &mut answers);
        let messages = std::iter::from_fn(|| answers.next());
        let messages = messages.map(|message| self.outflow.admit_at_once(message)).collect();
        self.inlet.answered(input, !matches!(result, None | Some(Ok(()))));
        messages
    }

    /// Answers a batch; `None` where the channel has ended.
    pub(super) fn serve(
        &self,
        input: &mut Input,
        answers: &mut Answers,
    ) -> Option<Result<(), Malformed>> {
        let mut session = self.session();
        let session = session.as_mut()?;
        let world = session.world();
        Some(self.work.run(|| world.clock.instant(), || session.serve(input, answers)))
    }

    /// Says whether answers wait in the SSH session.
    pub(in crate::transfer) fn note_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    /// Takes the session out, at the channel's end.
    pub(super) fn end(&self) -> Option<Session> {
        self.inlet.close();
        self.session().take()
    }

    /// No more comes from the client.
    pub(in crate::transfer) fn close(&self) {
        self.inlet.close();
    }

    pub(in crate::transfer) fn is_closed(&self) -> bool {
        self.inlet.is_closed()
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
