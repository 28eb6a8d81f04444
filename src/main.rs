//! argv to exit code, nothing else.

use std::process::ExitCode;

/// Password checks and uploads on many threads leave the system's allocator with memory it does not
/// give back; this one does, its version 2 after ten milliseconds.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dropchute::cli::run()
}
