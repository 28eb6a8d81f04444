//! The command line: what is asked, what is printed, how it ends.
//!
//! Data goes to stdout, everything else to stderr; `--json` is for machines. Exit codes: 0 done, 1
//! failed, 2 bad command line, 78 bad configuration. Holds no rule of the domain; asks the running
//! daemon over its socket and never opens the store of one. Start reading at `args.rs`.

mod args;
mod ban;
mod batch;
mod check;
mod demo;
mod halting;
mod manual;
mod outcome;
mod password;
mod policy;
mod preview;
mod profile;
mod serve;
mod session;
mod status;
mod store;
mod table;
mod unknown;

pub use args::run;
