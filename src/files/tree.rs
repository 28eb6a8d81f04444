//! One tenant's folders on disk, shared by all who are logged in: the visible tree, the hidden folder
//! of bytes that are no files yet, and the table of what they will become.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustix::fs::OFlags;

use super::area::{Area, fixed_folders};
use super::label::Label;
use super::parts::{Part, PartState, Parts, Size};
use super::quota::Usage;
use super::targets::Targets;
use super::{EntryKind, HomeError, Quota, RelPath, Root, is_temporary_name};
use crate::faults::{self, FileAct};
use crate::model::{CutUpload, TenantId, UploadEvidence};
use crate::world::World;

/// What is to be known of an upload beyond the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalEntry {
    /// The file is whole; also said again, of the same version, when its proof became weaker.
    Whole(UploadEvidence),
    /// The file was not whole after all, and has gone back to the uploads that can be continued.
    Withdrawn(UploadEvidence),
    /// An upload to an inbox was cut, and can be continued. Said at least once of each.
    Cut(CutUpload),
    /// Nobody continued it within `resume_window`. Its bytes are not touched here any more; they and
    /// their label belong to whoever is told.
    Expired(CutUpload),
}

/// Writes down what is to be known and returns when it is durable; only then does the client hear
/// "success".
pub type Journal =
    Arc<dyn Fn(JournalEntry) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync>;

/// What holds for a tenant's uploads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TreeSettings {
    /// Largest file, in bytes.
    pub upload_max_bytes: u64,
    /// Share of the disk that uploads leave free.
    pub disk_reserve: f64,
    /// How long an upload that was cut can be continued; zero: not at all.
    pub resume_window: Duration,
    pub quota: Quota,
    /// Nothing is taken; answers can be collected.
    pub suspended: bool,
}

impl Default for TreeSettings {
    fn default() -> TreeSettings {
        TreeSettings {
            upload_max_bytes: 2 << 30,
            disk_reserve: 0.05,
            resume_window: Duration::from_secs(3600),
            quota: Quota::default(),
            suspended: false,
        }
    }
}

/// A tenant's folders, opened once per process.
pub struct TenantTree {
    pub(super) tenant: TenantId,
    pub(super) root: Root,
    pub(super) uploads: Root,
    pub(super) journal: Journal,
    pub(super) world: Arc<World>,
    pub(super) parts: Parts,
    pub(super) targets: Targets,
    pub(super) usage: Usage,
    settings: RwLock<TreeSettings>,
}

impl TenantTree {
    /// Makes the tenant's folders where they are not there yet; at start and at reload.
    pub fn prepare(data_dir: &Path, tenant: &TenantId) -> io::Result<()> {
        std::fs::create_dir_all(data_dir)?;
        let data = Root::open(data_dir)?;
        let home = RelPath::of(&format!("tenants/{tenant}"));
        let mut made = data.make_folders(&home)?;
        made |= data.make_folders(&RelPath::of(&format!("uploads/{tenant}")))?;
        let root = data.sub(&home)?;
        for folder in fixed_folders() {
            made |= root.make_folders(&folder)?;
        }
        // One sync for a tenant's folders: with one for each, a first start takes many seconds.
        if made { root.sync_file_system() } else { Ok(()) }
    }

    /// Opens the tenant's folders, takes up the cut uploads that an earlier process left, and removes
    /// whatever else it left. Once per process and tenant: a second time would take what is under way.
    pub fn open(
        data_dir: &Path,
        tenant: &TenantId,
        settings: TreeSettings,
        journal: Journal,
        world: Arc<World>,
    ) -> io::Result<TenantTree> {
        TenantTree::prepare(data_dir, tenant)?;
        let data = Root::open(data_dir)?;
        let tree = TenantTree {
            tenant: tenant.clone(),
            root: data.sub(&RelPath::of(&format!("tenants/{tenant}")))?,
            uploads: data.sub(&RelPath::of(&format!("uploads/{tenant}")))?,
            journal,
            world,
            parts: Parts::default(),
            targets: Targets::default(),
            usage: Usage::default(),
            settings: RwLock::new(settings),
        };
        tree.take_up()?;
        tree.parts.cut_ones().iter().for_each(|part| tree.say_cut(part));
        tree.end_expired();
        Ok(tree)
    }

    /// Whether an earlier process left uploads of a tenant that were cut.
    pub fn has_cut_uploads(data_dir: &Path, tenant: &TenantId) -> io::Result<bool> {
        let uploads = RelPath::of(&format!("uploads/{tenant}"));
        match Root::open(data_dir)?.entries(&uploads) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => Ok(!result?.is_empty()),
        }
    }

    /// Lays new settings over the tree; uploads under way meet them at their next write.
    pub fn apply(&self, settings: TreeSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Makes uploads that were cut survive a restart and says so, and ends those that nobody continued
    /// in time; returns how many those were. To be called every few seconds, and before the program ends.
    pub fn sweep(&self) -> usize {
        for part in self.parts.unlabelled() {
            match self.label(&part) {
                Ok(()) => self.say_cut(&part),
                Err(error) => {
                    tracing::warn!(tenant = %self.tenant, %error, "a cut upload cannot be kept durably");
                }
            }
        }
        self.end_expired()
    }

    /// Uploads that were cut and can be continued.
    pub fn incomplete(&self) -> usize {
        self.parts.count_cut()
    }

    pub(super) fn settings(&self) -> TreeSettings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Errs where the disk is nearly full.
    pub(super) fn check_space(&self) -> Result<(), HomeError> {
        if self.root.space()?.is_below(self.settings().disk_reserve) {
            return Err(HomeError::DiskFull);
        }
        Ok(())
    }

    /// Errs where one more file, if it is one `more`, is beyond the tenant's quota of files.
    pub(super) fn check_files(&self, more: bool) -> Result<(), HomeError> {
        let quota = Quota { bytes: None, ..self.settings().quota };
        self.check_quota(quota, u64::from(more))
    }

    /// Errs where what is stored and what is coming in is beyond the tenant's quota of bytes.
    pub(super) fn check_bytes(&self) -> Result<(), HomeError> {
        self.check_quota(Quota { files: None, ..self.settings().quota }, 0)
    }

    fn check_quota(&self, quota: Quota, more_files: u64) -> Result<(), HomeError> {
        if quota == Quota::default() {
            return Ok(());
        }
        let mut others = self.parts.amount();
        others.files += more_files;
        self.usage.check(quota, others, &self.root, &self.world.clock)
    }

    /// A new temporary file for `target`, entered in the table.
    pub(super) fn begin(&self, target: &RelPath, account: &str) -> io::Result<(File, Part)> {
        let part = Part {
            target: target.clone(),
            temp: self.new_temp(),
            size: Arc::default(),
            account: account.to_owned(),
            since: self.world.clock.now(),
            state: PartState::Running,
            label: None,
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = self.uploads.open_file(&part.temp, flags, 0o640)?;
        self.parts.add(part.clone());
        Ok((file, part))
    }

    /// A name in the hidden folder that nothing has.
    pub(super) fn new_temp(&self) -> RelPath {
        RelPath::root().join(self.world.dice.token(16).as_bytes())
    }

    /// Removes the bytes of an upload that has left the table, and its label.
    pub(super) fn discard(&self, part: &Part) {
        let label =
            if part.label.is_some() { Label::remove(&self.uploads, &part.temp) } else { Ok(()) };
        if let Err(error) = self.uploads.remove_file(&part.temp).and(label) {
            // The next start takes what is left.
            tracing::warn!(tenant = %self.tenant, %error, "remove temporary file of an upload");
        }
    }

    /// Drops the cut uploads of a name; true where there were any.
    pub(super) fn discard_cut(&self, target: &RelPath) -> bool {
        let parts = self.parts.take_cut(target);
        parts.iter().for_each(|part| self.discard(part));
        !parts.is_empty()
    }

    /// Ends what nobody continued in time: of an inbox it becomes somebody else's, the rest is dropped.
    fn end_expired(&self) -> usize {
        let expired =
            self.parts.take_expired(self.world.clock.now(), self.settings().resume_window);
        for part in &expired {
            tracing::warn!(tenant = %self.tenant, path = ?part.target, bytes = part.bytes(),
                "nobody continued a cut upload within resume_window");
            match self.cut_upload(part) {
                Some(cut) => self.say(JournalEntry::Expired(cut)),
                None => self.discard(part),
            }
        }
        expired.len()
    }

    fn say_cut(&self, part: &Part) {
        if let Some(cut) = self.cut_upload(part) {
            self.say(JournalEntry::Cut(cut));
        }
    }

    /// A cut upload to an inbox, under a name with which it could have been taken.
    fn cut_upload(&self, part: &Part) -> Option<CutUpload> {
        let name = part.target.name()?;
        if is_temporary_name(name) || !matches!(Area::of(&part.target), Some(Area::Inbox(_))) {
            return None;
        }
        Some(CutUpload {
            tenant: self.tenant.clone(),
            path: part.target.to_text()?,
            account: part.account.clone(),
            bytes_in: part.temp.to_text()?,
            bytes: part.bytes(),
            since: part.since,
        })
    }

    fn say(&self, entry: JournalEntry) {
        if let Err(error) = (self.journal)(entry) {
            // The label is still there: the next start says it again.
            let error = error.as_ref() as &dyn Error;
            tracing::error!(tenant = %self.tenant, error, "what became of a cut upload cannot be recorded");
        }
    }

    fn label(&self, part: &Part) -> io::Result<()> {
        let file = match self.uploads.read_file(&part.temp) {
            // It was dropped meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        faults::before(FileAct::Sync(file.as_fd()))?;
        file.sync_all()?;
        let (target, bytes, since) = (part.target.clone(), part.bytes(), part.since);
        let account = part.account.clone();
        Label { target, bytes, since, account }.write(&self.uploads, &part.temp)?;
        if !self.parts.labelled(&part.temp, bytes) {
            // It is being continued, or gone: its bytes may not be what the label says any more.
            Label::remove(&self.uploads, &part.temp)?;
        }
        Ok(())
    }

    /// At start: cut uploads with a label go into the table, anything else in the folder is removed.
    fn take_up(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in self.uploads.entries(&RelPath::root())? {
            let path = RelPath::root().join(&entry.name);
            let bytes_of = Label::labelled(&entry.name).map(|name| RelPath::root().join(name));
            match bytes_of {
                _ if entry.kind != EntryKind::File => {}
                Some(temp) if self.uploads.stat(&temp).is_ok() => {}
                Some(_) => self.uploads.remove_file(&path)?,
                None => match self.still_good(&path, entry.version.bytes)? {
                    Some(part) => kept.push(part),
                    None => self.uploads.remove_file(&path)?,
                },
            }
        }
        kept.sort_by_key(|part| part.since);
        kept.into_iter().for_each(|part| self.parts.add(part));
        Ok(())
    }

    /// The cut upload whose bytes are in `temp`, as far as its label vouches for them.
    fn still_good(&self, temp: &RelPath, there: u64) -> io::Result<Option<Part>> {
        let Some(label) = Label::read(&self.uploads, temp)? else { return Ok(None) };
        if label.bytes == 0 || there < label.bytes {
            Label::remove(&self.uploads, temp)?;
            return Ok(None);
        }
        if there > label.bytes {
            self.uploads.open_file(temp, OFlags::RDWR, 0)?.set_len(label.bytes)?;
        }
        Ok(Some(Part {
            target: label.target,
            temp: temp.clone(),
            size: Size::of(label.bytes),
            account: label.account,
            since: label.since,
            state: PartState::Cut,
            label: Some(label.bytes),
        }))
    }
}

impl fmt::Debug for TenantTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantTree").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}
