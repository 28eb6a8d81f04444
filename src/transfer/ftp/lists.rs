//! Listings: LIST, NLST and MLSD over a data connection, STAT with a path over the control connection.

use jiff::Timestamp;

use super::listing::{Facts, can_be_told, facts_line, long_line};
use super::pattern::{fits, is_pattern};
use super::reply::Reply;
use super::session::Session;
use crate::files::{Entry, EntryKind, Folder, Home, HomeError, RelPath};

/// Entries read and sorted at once: a folder may hold more than anybody wants in memory.
const ENTRIES_AT_ONCE: usize = 1000;

/// How entries are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// As `ls -l` does.
    Long,
    /// Names that can be given to RETR as they are.
    Names,
    Facts(Facts),
}

/// What a path names: a folder's entries, a file, or all that fit where the last name is a pattern.
pub(super) struct Listing {
    found: Found,
    form: Form,
    /// What NLST puts before each name.
    prefix: Vec<u8>,
    pattern: Option<Vec<u8>>,
    now: Timestamp,
}

enum Found {
    Folder(Folder),
    File(Option<Entry>),
}

impl Listing {
    /// Errs where there is nothing to list. Blocks.
    fn open(
        home: &Home,
        here: &RelPath,
        typed: &[u8],
        form: Form,
        now: Timestamp,
    ) -> Result<Listing, HomeError> {
        let (folder_typed, name) = match typed.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => typed.split_at(slash + 1),
            None => (&b""[..], typed),
        };
        let path = here.resolve(typed)?;
        let (found, prefix, pattern) = match home.stat(&path) {
            Ok(entry) if entry.kind == EntryKind::Folder => {
                let mut prefix = typed.to_vec();
                if !matches!(prefix.last(), None | Some(b'/')) {
                    prefix.push(b'/');
                }
                (Found::Folder(home.folder(&path)?), prefix, None)
            }
            Ok(_) if matches!(form, Form::Facts(_)) => {
                return Err(HomeError::Refused("this is a file, not a folder"));
            }
            Ok(entry) => (Found::File(Some(entry)), folder_typed.to_vec(), None),
            Err(HomeError::NotFound) if is_pattern(name) && !matches!(form, Form::Facts(_)) => {
                let folder = home.folder(&here.resolve(folder_typed)?)?;
                (Found::Folder(folder), folder_typed.to_vec(), Some(name.to_vec()))
            }
            Err(error) => return Err(error),
        };
        Ok(Listing { found, form, prefix, pattern, now })
    }

    /// The next lines; none at the end. Blocks.
    pub(super) fn next(&mut self) -> Result<Vec<Vec<u8>>, HomeError> {
        loop {
            let mut entries = match &mut self.found {
                Found::Folder(folder) => folder.next(ENTRIES_AT_ONCE)?,
                Found::File(entry) => entry.take().into_iter().collect(),
            };
            if entries.is_empty() {
                return Ok(Vec::new());
            }
            entries.retain(|entry| {
                let fits = |pattern: &Vec<u8>| fits(pattern, &entry.name);
                can_be_told(&entry.name) && self.pattern.as_ref().is_none_or(fits)
            });
            if !entries.is_empty() {
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(entries.iter().map(|entry| self.line(entry)).collect());
            }
        }
    }

    fn line(&self, entry: &Entry) -> Vec<u8> {
        match self.form {
            Form::Long => long_line(entry, self.now),
            Form::Facts(facts) => facts_line(entry, facts),
            Form::Names => [&self.prefix[..], &entry.name].concat(),
        }
    }
}

impl Session {
    /// The listing that is asked for, opened.
    pub(super) fn listing(&self, path: &[u8], form: Form) -> Result<Listing, Reply> {
        let now = self.house.world.clock.now();
        let opened = self.with_home(|home| Listing::open(home, &self.here, path, form, now));
        opened.map_err(|error| Reply::from(&error))
    }

    /// STAT with a path.
    pub(super) async fn stat(&self, path: &[u8]) -> Reply {
        let mut listing = match self.listing(path, Form::Long) {
            Ok(listing) => listing,
            Err(reply) => return reply,
        };
        match self.with_home_at_length(move |_| listing.next()).await {
            Ok(lines) if lines.len() < ENTRIES_AT_ONCE => {
                Reply::long(213, "Listing:", lines, "End.")
            }
            Ok(lines) => Reply::long(213, "Listing:", lines, "There may be more; use LIST."),
            Err(error) => Reply::from(&error),
        }
    }
}
