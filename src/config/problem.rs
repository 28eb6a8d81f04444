//! What is wrong with a configuration: one `Problem` each, all of them in one `ConfigError`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

/// One thing that is wrong, or odd, in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it; files of `tenants.d` with that folder's name.
    pub file: String,
    /// The line, counted from 1, where the file has one to show.
    pub line: Option<usize>,
    /// The keys down to the value, joined by dots; empty where the whole file is meant.
    pub key_path: String,
    /// The value as it stands, shortened; nothing where there is none or it may be secret.
    pub found: Option<String>,
    /// Why it cannot stay, as a fragment that follows the value.
    pub why: String,
    /// What may stand there instead, as a fragment that follows "must be".
    pub allowed: Option<String>,
    /// How to put it right.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key_path.is_empty() {
            write!(f, " {}:", self.key_path)?;
        }
        if let Some(found) = &self.found {
            write!(f, " {found}")?;
        }
        write!(f, " {}", self.why)?;
        if let Some(allowed) = &self.allowed {
            write!(f, "; must be {allowed}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Every problem of a configuration, in the order of its files and lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// What a value's reader says against it; the section adds the place and the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) why: String,
    pub(super) allowed: Option<String>,
    pub(super) hint: Option<String>,
    /// Whether the value may be shown; not so where it may be a secret.
    pub(super) show: bool,
    /// Which value of a list is meant, counted from 0.
    pub(super) element: Option<usize>,
}

impl Complaint {
    pub(super) fn new(why: impl Into<String>) -> Complaint {
        Complaint { why: why.into(), allowed: None, hint: None, show: true, element: None }
    }

    /// A value of the wrong kind.
    pub(super) fn must_be(allowed: impl Into<String>) -> Complaint {
        Complaint::new("is not allowed here").allowed(allowed)
    }

    /// A word of the contract that a later version will understand.
    pub(super) fn not_yet() -> Complaint {
        Complaint::new("is not available in this version")
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Complaint {
        self.allowed = Some(allowed.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Complaint {
        self.hint = Some(hint.into());
        self
    }

    /// The complaint is about one value of a list.
    pub(super) fn at(mut self, element: usize) -> Complaint {
        self.element = Some(element);
        self
    }

    pub(super) fn secret(mut self) -> Complaint {
        self.show = false;
        self
    }
}

/// What reading the files has brought to light so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) warnings: RefCell<Vec<Problem>>,
    /// Every key that was asked for, with the value in force.
    pub(super) keys: RefCell<BTreeMap<String, Key>>,
}

/// A key this version knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Whether the file gave it, or the default stands.
    pub(super) given: bool,
    /// The value in force, in the program's own words; secrets hide themselves.
    pub(super) in_force: String,
}

impl Findings {
    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn warning(&self, warning: Problem) {
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn key(&self, path: String, key: Key) {
        self.keys.borrow_mut().insert(path, key);
    }
}
