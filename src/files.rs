//! The tenants' disk: everything that touches a tenant's folders.
//!
//! Owns containment (directory handles, never string prefixes), uploads, claims, publishing, fsync.
//! Blocking, and says so: call it through `worker::blocking`. Never follows a symlink, never leaves a
//! tenant's root, never acknowledges before the bytes and the folder are synced.
//! Start reading at `path.rs` and `root.rs`, then `home.rs` for what a client may do.

mod answers;
mod area;
mod home;
mod home_error;
mod name;
mod path;
mod root;
mod tree;
mod upload;

pub use answers::AnswerTree;
pub use home::{Aliases, Home, Visitor};
pub use home_error::HomeError;
pub use name::is_temporary_name;
pub use path::{InvalidPath, RelPath};
pub use root::{Entry, EntryKind, Root};
pub use tree::{Journal, TenantTree, TreeSettings};
pub use upload::{Keep, Upload, UploadStart};
