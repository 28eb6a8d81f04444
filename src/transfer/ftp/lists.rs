//! Listings: LIST, NLST and MLSD over a data connection, STAT with a path over the control connection.

use super::listing::{Facts, can_be_told, facts_line, long_line};
use super::names::folder_at;
use super::pattern::{fits, is_pattern};
use super::reply::Reply;
use super::session::Session;
use crate::files::{Entry, EntryKind, Home, HomeError, RelPath};

/// Lines of STAT with a path; a longer listing needs a data connection.
const STAT_LINES_MAX: usize = 1000;

/// How entries are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// As `ls -l` does.
    Long,
    /// Names that can be given to RETR as they are.
    Names,
    Facts(Facts),
}

/// What a listing shows.
struct Found {
    entries: Vec<Entry>,
    /// What NLST puts before each name.
    prefix: Vec<u8>,
}

impl Session {
    /// The lines of a listing, each with its end.
    pub(super) async fn lines_of(&self, path: &[u8], form: Form) -> Result<Vec<u8>, Reply> {
        let found = self.found(path, form).await?;
        let now = self.house.world.clock.now();
        let mut lines = Vec::new();
        for entry in found.entries.iter().filter(|entry| can_be_told(&entry.name)) {
            match form {
                Form::Long => lines.extend(long_line(entry, now)),
                Form::Facts(facts) => lines.extend(facts_line(entry, facts)),
                Form::Names => {
                    lines.extend(&found.prefix);
                    lines.extend(&entry.name);
                }
            }
            lines.extend(b"\r\n");
        }
        Ok(lines)
    }

    /// STAT with a path.
    pub(super) async fn stat(&self, path: &[u8]) -> Reply {
        let found = match self.found(path, Form::Long).await {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let now = self.house.world.clock.now();
        let told = found.entries.iter().filter(|entry| can_be_told(&entry.name));
        let lines: Vec<_> = told.take(STAT_LINES_MAX).map(|entry| long_line(entry, now)).collect();
        let last = match found.entries.len() > STAT_LINES_MAX {
            true => "There is more; use LIST.",
            false => "End.",
        };
        Reply::long(213, "Listing:", lines, last)
    }

    async fn found(&self, path: &[u8], form: Form) -> Result<Found, Reply> {
        let here = self.here.clone();
        let typed = path.to_vec();
        let found = self.with_home(move |home| match form {
            Form::Facts(_) => folder(home, &here.resolve(&typed)?),
            Form::Long | Form::Names => found(home, &here, &typed),
        });
        found.await.map_err(|error| Reply::from(&error))
    }
}

fn folder(home: &Home, path: &RelPath) -> Result<Found, HomeError> {
    folder_at(home, path)?;
    Ok(Found { entries: home.list(path)?, prefix: Vec::new() })
}

/// What a path names: a folder's entries, a file, or all that fit where the last name is a pattern.
fn found(home: &Home, here: &RelPath, typed: &[u8]) -> Result<Found, HomeError> {
    let (folder_typed, name) = match typed.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => typed.split_at(slash + 1),
        None => (&b""[..], typed),
    };
    let path = here.resolve(typed)?;
    match home.stat(&path) {
        Ok(entry) if entry.kind == EntryKind::Folder => {
            let mut prefix = typed.to_vec();
            if !matches!(prefix.last(), None | Some(b'/')) {
                prefix.push(b'/');
            }
            Ok(Found { entries: home.list(&path)?, prefix })
        }
        Ok(entry) => Ok(Found { entries: vec![entry], prefix: folder_typed.to_vec() }),
        Err(HomeError::NotFound) if is_pattern(name) => {
            let mut entries = home.list(&here.resolve(folder_typed)?)?;
            entries.retain(|entry| fits(name, &entry.name));
            Ok(Found { entries, prefix: folder_typed.to_vec() })
        }
        Err(error) => Err(error),
    }
}
