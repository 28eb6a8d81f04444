//! A channel as two share it: its task, and the SSH session, which answers small requests itself where
//! nothing is before them. Two changes of tasks would take longer than such an answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::allowance::Allowance;
use super::answers::Answers;
use super::frames::Input;
use super::inlet::{Inlet, TooMuch};
use super::outflow::Outflow;
use super::session::Session;
use crate::transfer::visit::Visit;

/// One SFTP channel.
pub(in crate::transfer) struct Served {
    pub(super) inlet: Inlet,
    pub(super) outflow: Arc<Outflow>,
    pub(super) visit: Visit,
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
        Served { inlet: Inlet::new(allowance), outflow, visit, session: Mutex::new(Some(session)) }
    }

    /// Takes what was received. Returns what is to be said now, when there is room for more.
    pub(in crate::transfer) async fn hear(&self, bytes: &[u8]) -> Result<Vec<Bytes>, TooMuch> {
        let first = self.outflow.is_empty() && !self.visit.is_paced();
        match self.inlet.push(bytes, first)? {
            Some(input) => Ok(self.answer_now(input)),
            None => {
                self.inlet.has_room().await;
                Ok(Vec::new())
            }
        }
    }

    fn answer_now(&self, mut input: Input) -> Vec<Bytes> {
        let mut answers = Answers::default();
        let result = self.with_session(|session| session.serve(&mut input, &mut answers));
        let messages = std::iter::from_fn(|| answers.next());
        let messages = messages.map(|message| self.outflow.admit_at_once(message)).collect();
        self.inlet.answered(input, !matches!(result, None | Some(Ok(()))));
        messages
    }

    /// `None` where the channel has ended.
    pub(super) fn with_session<T>(&self, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.session().as_mut().map(work)
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
