//! The tenants' disk: everything that touches a tenant's folders.
//!
//! Owns containment (directory handles, never string prefixes), uploads, claims, publishing, fsync.
//! Blocking, and says so: call it through `worker::blocking`. Never follows a symlink, never leaves a
//! tenant's root, never acknowledges before the bytes and the folder are synced.
//! Start reading at `path.rs` and `root.rs`, then `home.rs` for what a client may do and `upload.rs` for
//! how a file comes in.

mod answers;
mod area;
mod folder;
mod home;
mod home_error;
mod label;
mod listing;
mod name;
mod parts;
mod path;
mod pieces;
mod quota;
mod rights;
mod root;
mod spec;
mod targets;
mod tree;
mod upload;
mod withdraw;

#[cfg(test)]
mod tests;

pub use answers::AnswerTree;
pub use folder::Folder;
pub use home::{Aliases, Home};
pub use home_error::HomeError;
pub use name::is_temporary_name;
pub use path::{InvalidPath, RelPath};
pub use quota::Quota;
pub use rights::Visitor;
pub use root::{Entry, EntryKind, Root};
pub use spec::publish_spec;
pub use tree::{Journal, JournalEntry, TenantTree, TreeSettings};
pub use upload::{Keep, Upload, UploadStart};
