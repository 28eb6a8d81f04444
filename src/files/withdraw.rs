//! Taking a published file back, so that it is neither lost nor taken whatever crashes in between.

use std::io;

use super::label::Label;
use super::parts::{Part, PartState, Size};
use super::{HomeError, RelPath, TenantTree};
use crate::model::FileVersion;

impl TenantTree {
    /// Moves this very version of a file back to the uploads that can be continued; false where it is
    /// not there any more. The caller holds the name.
    ///
    /// The label comes first and durably: without it the next start would remove the bytes.
    pub(super) fn withdraw(
        &self,
        path: &RelPath,
        version: FileVersion,
        account: &str,
    ) -> Result<bool, HomeError> {
        let (temp, since) = (self.new_temp(), self.world.clock.now());
        let account = account.to_owned();
        let label =
            Label { target: path.clone(), bytes: version.bytes, since, account: account.clone() };
        label.write(&self.uploads, &temp)?;
        match self.root.rename(path, &self.uploads, &temp, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Intake claimed it first.
                Label::remove(&self.uploads, &temp)?;
                return Ok(false);
            }
            result => result?,
        }
        if self.uploads.stat(&temp)?.version != version {
            self.put_back(path, &temp)?;
            return Ok(false);
        }
        // From here on it is not lost, and not a file: a crash leaves it here with its label.
        self.uploads.sync_folder(&RelPath::root())?;
        self.root.sync_folder(&path.parent())?;
        if version.bytes == 0 {
            // Nothing that could be continued.
            self.uploads.remove_file(&temp)?;
            Label::remove(&self.uploads, &temp)?;
        } else {
            let gone = self.parts.add_cut(Part {
                target: path.clone(),
                temp,
                size: Size::of(version.bytes),
                account,
                since,
                state: PartState::Cut,
                label: Some(version.bytes),
            });
            gone.iter().for_each(|part| self.discard(part));
        }
        Ok(true)
    }

    /// Another road brought a newer version in between: it goes back, unless an even newer one stands
    /// there, which then replaces it.
    fn put_back(&self, path: &RelPath, temp: &RelPath) -> Result<(), HomeError> {
        match self.uploads.rename(temp, &self.root, path, false) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.uploads.remove_file(temp)?;
            }
            result => result?,
        }
        Label::remove(&self.uploads, temp)?;
        Ok(self.root.sync_folder(&path.parent())?)
    }
}
