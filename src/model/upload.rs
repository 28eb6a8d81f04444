//! What the doors know of a finished upload, written down before the client hears "success".

use jiff::Timestamp;

use super::{Proof, TenantId};

/// The evidence that a file in an inbox is whole. It speaks of one version of the file: of the one
/// with this device, inode, length and modification time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadEvidence {
    pub tenant: TenantId,
    /// Relative to the tenant's root, with `/`: `inbox/messages_1.csv`.
    pub path: String,
    pub account: String,
    /// `sftp`, `ftps` or `ftp`.
    pub protocol: &'static str,
    /// `rename` or `close`.
    pub proof: Proof,
    /// Set where a later event weakened the proof (a reset right after SFTP's CLOSE).
    pub weak: bool,
    pub version: FileVersion,
    /// The last byte, or the rename to the final name, whichever was later.
    pub at: Timestamp,
}

/// An upload to an inbox that was cut before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutUpload {
    pub tenant: TenantId,
    /// What it was to become, relative to the tenant's root.
    pub path: String,
    pub account: String,
    /// The name of its bytes in the folder of uploads.
    pub bytes_in: String,
    /// Bytes that are there without a hole.
    pub bytes: u64,
    /// When it was cut.
    pub since: Timestamp,
}

/// Tells one version of a file from any other under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    pub device: u64,
    pub inode: u64,
    pub bytes: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified_ns: i128,
}
