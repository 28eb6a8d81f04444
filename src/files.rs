//! The tenants' disk: everything that touches a tenant's folders.
//!
//! Owns containment (directory handles, never string prefixes), uploads, claims, publishing, fsync.
//! Blocking, and says so: call it through `worker::blocking`. Never follows a symlink, never leaves a
//! tenant's root, never acknowledges before the bytes and the folder are synced.
//! Start reading at `path.rs` and `root.rs`.

mod answers;
mod path;
mod root;

pub use answers::AnswerTree;
pub use path::{InvalidPath, RelPath};
pub use root::{Entry, EntryKind, Root};
