//! The room on the disk below `data_dir`: what is left, what may still begin, and the ballast.
//!
//! Owns the watermarks and the ballast file, which is let go so that what is under way can be written down
//! on a disk that is full. Never writes anything else, and never decides for a station what it leaves
//! undone. Start reading at `room.rs`.

mod ballast;
mod room;
mod space;

pub use room::{Disk, Room, Tended};
pub use space::Space;
