//! Settings that may stand in `[defaults]`, in a tenant and in a profile; the innermost wins.

use std::time::Duration;

use super::answers;
use super::problem::Complaint;
use super::section::{Item, Section};
use super::value;
use crate::batch::{Guards, SequenceRule, Thresholds};
use crate::intake::{MinProof, RowIdScope, SentinelPattern};
use crate::model::Proof;
use crate::outbox::AnswerStyle;
use crate::records::Dedupe;

/// How files are taken and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// When a file is ready.
    pub completeness: Completeness,
    /// The weakest proof of completeness that is taken.
    pub min_proof: MinProof,
    /// Whether a last record without a line end is taken on less than strong proof.
    pub final_newline: FinalNewline,
    /// How long a complete file stays visible before it is claimed.
    pub grace: Duration,
    /// How long after a proper end of an upload it may still prove to be cut.
    pub settle: Duration,
    /// How long a file whose close was not seen must stay unchanged.
    pub quiet: Duration,
    /// The names of sentinels, beside the well-known ones.
    pub sentinel: Option<SentinelPattern>,
    /// How long a sidecar waits for its file, and a file for the proof that is asked for.
    pub pair_timeout: Duration,
    /// From when on bad rows refuse the whole file.
    pub thresholds: Thresholds,
    /// What is asked about before a file is sent.
    pub guards: Guards,
    /// How many times the usual rows are a spike; unset, the built-in factor for the files of a profile
    /// and none for others, of which nobody can say what is usual.
    pub spike_guard: Option<u64>,
    /// What a gap in the sequence numbers of files means.
    pub sequence: SequenceRule,
    /// How long the same content is known again as a duplicate.
    pub duplicate_window: Duration,
    /// Which rows of one file are the same message; unset, the row's category decides.
    pub dedupe: Option<Dedupe>,
    /// Where a row id must be unique.
    pub row_id_scope: RowIdScope,
    /// Whether a name that an accepted file had may be used again.
    pub reuse_names: bool,
    /// Which answers are written, under which names, in which dialect.
    pub answers: AnswerStyle,
}

/// The rule that makes a file ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Any of the others, whichever comes first.
    Auto,
    /// This proof, no other.
    Only(Proof),
}

/// Whether the last record needs a line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalNewline {
    Required,
    Optional,
}

impl Default for Rules {
    fn default() -> Rules {
        const DAY: Duration = Duration::from_secs(86_400);
        Rules {
            completeness: Completeness::Auto,
            min_proof: MinProof::Weak,
            final_newline: FinalNewline::Required,
            grace: Duration::from_secs(2),
            settle: Duration::from_secs(2),
            quiet: Duration::from_secs(60),
            sentinel: None,
            pair_timeout: Duration::from_secs(2 * 3600),
            thresholds: Thresholds { reject_threshold: 0.2, reject_min_rows: 100 },
            guards: Guards::default(),
            spike_guard: None,
            sequence: SequenceRule::Off,
            duplicate_window: 7 * DAY,
            dedupe: None,
            row_id_scope: RowIdScope::Tenant,
            reuse_names: true,
            answers: AnswerStyle::default(),
        }
    }
}

impl Rules {
    /// Reads the rules of a section; what it does not say is as in `outer`.
    pub(super) fn read(section: &Section<'_>, outer: &Rules) -> Rules {
        Rules {
            completeness: completeness(section, outer.completeness),
            min_proof: section.value(
                "min_proof",
                outer.min_proof,
                value::one_of(&[
                    ("weak", MinProof::Weak),
                    ("medium", MinProof::Medium),
                    ("strong", MinProof::Strong),
                ]),
            ),
            final_newline: section.value(
                "final_newline",
                outer.final_newline,
                value::one_of(&[
                    ("required", FinalNewline::Required),
                    ("optional", FinalNewline::Optional),
                ]),
            ),
            grace: section.value("grace", outer.grace, value::duration_or_zero),
            settle: section.value("settle", outer.settle, value::duration_or_zero),
            quiet: section.value("quiet", outer.quiet, value::duration),
            sentinel: section.optional("sentinel", outer.sentinel.clone(), sentinel),
            pair_timeout: section.value("pair_timeout", outer.pair_timeout, value::duration),
            thresholds: thresholds(section, outer.thresholds),
            guards: guards(section, outer.guards),
            spike_guard: section.optional(
                "spike_guard",
                outer.spike_guard,
                value::number(0, 1_000_000),
            ),
            sequence: section.value(
                "sequence",
                outer.sequence,
                value::one_of(&[
                    ("off", SequenceRule::Off),
                    ("hold", SequenceRule::Hold),
                    ("reject", SequenceRule::Reject),
                ]),
            ),
            duplicate_window: section.value(
                "duplicate_window",
                outer.duplicate_window,
                value::duration_or_zero,
            ),
            dedupe: section.optional(
                "dedupe",
                outer.dedupe,
                value::one_of(&[
                    ("none", Dedupe::None),
                    ("exact", Dedupe::Exact),
                    ("recipient", Dedupe::Recipient),
                ]),
            ),
            row_id_scope: section.value(
                "row_id_scope",
                outer.row_id_scope,
                value::one_of(&[
                    ("tenant", RowIdScope::Tenant),
                    ("profile", RowIdScope::Profile),
                    ("file", RowIdScope::File),
                ]),
            ),
            reuse_names: section.value("reuse_names", outer.reuse_names, value::switch),
            answers: answers::read(&section.section("answers"), &outer.answers),
        }
    }
}

fn thresholds(section: &Section<'_>, outer: Thresholds) -> Thresholds {
    let share = value::decimal(0.0, 1.0);
    Thresholds {
        reject_threshold: section.value("reject_threshold", outer.reject_threshold, share),
        reject_min_rows: section.value(
            "reject_min_rows",
            outer.reject_min_rows,
            value::number(0, u64::MAX),
        ),
    }
}

fn guards(section: &Section<'_>, outer: Guards) -> Guards {
    let rows = || value::number(0, u64::MAX);
    Guards {
        first_file_held: section.value("first_file_held", outer.first_file_held, value::switch),
        approve_above: section.optional("approve_above", outer.approve_above, rows()),
        spike_guard_min_rows: section.value(
            "spike_guard_min_rows",
            outer.spike_guard_min_rows,
            rows(),
        ),
        ..outer
    }
}

fn completeness(section: &Section<'_>, outer: Completeness) -> Completeness {
    let mut words = vec![("auto", Completeness::Auto)];
    words.extend(Proof::ALL.iter().map(|proof| (proof.as_str(), Completeness::Only(*proof))));
    section.value("completeness", outer, value::one_of(&words))
}

/// A name with one `*` in it, and something beside it.
fn sentinel(item: &Item<'_>) -> Result<SentinelPattern, Complaint> {
    let allowed =
        "a file name with one \"*\" for the name of the file it belongs to, such as \"*.rdy\"";
    let complaint = || Complaint::new("names no sentinel").allowed(allowed);
    let text = value::word(item)?;
    let (before, after) = text.split_once('*').ok_or_else(complaint)?;
    if text.len() == 1 || text.contains('/') || after.contains('*') {
        return Err(complaint());
    }
    Ok(SentinelPattern { before: before.to_owned(), after: after.to_owned() })
}
