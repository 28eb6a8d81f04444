//! Template and values to finished text.
//!
//! Owns the meaning of `{{ … }}`: names normalised like header names, `{{1}}` as the first of the
//! template's params, escaping per part, limits. Values are filled in once and never read as template.
//! Never reads files, never knows where a value comes from. Start reading at `template.rs`; what counts
//! as a plain placeholder is in `scan.rs`, everything beyond that goes through `engine.rs`.

mod engine;
mod inline;
mod name;
mod scan;
mod sms;
mod template;

pub use sms::{SmsLanguage, SmsRules};
pub use template::{
    RenderError, Rendered, Template, TemplateError, TemplateSource, needs_rendering,
};
