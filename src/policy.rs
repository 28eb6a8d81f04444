//! May we send, and when: the rules between an accepted row and an attempt.
//!
//! Pure: the moment is an argument. Never sends, stores or looks anything up. The order of the rules
//! is the contract's (interface section 8); each is a reported outcome. Start reading at `decide.rs`.

mod decide;
mod place;
mod window;

pub use decide::{Consent, Question, Sender, Verdict, decide};
pub use place::Calendar;
pub use window::{Hours, InvalidWindow, MARKETING_WINDOW, Window};
