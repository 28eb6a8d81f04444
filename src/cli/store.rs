//! `store`: dump, load and check, while no daemon runs on the same `data_dir`.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, sink};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

use super::args::Global;
use super::check::load as load_config;
use super::outcome::{Failure, print};
use super::serve::keep_private;
use crate::store::Store;

pub(super) fn check(global: &Global) -> Result<(), Failure> {
    let store = open(global)?;
    let records = store.dump(&mut sink()).context("read store")?;
    let blobs = store.health().blobs;
    if blobs > 0 {
        return Err(anyhow::anyhow!("{blobs} blob files, which are not safe in a power cut").into());
    }
    print(format_args!("{records} records, all readable"))
}

pub(super) fn dump(global: &Global, file: &Path) -> Result<(), Failure> {
    let store = open(global)?;
    let out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("create {}", file.display()))?;
    let mut out = BufWriter::new(out);
    let records = store.dump(&mut out).context("dump store")?;
    out.get_ref().sync_all().context("sync dump")?;
    print(format_args!("{records} records"))
}

pub(super) fn load(global: &Global, file: &Path) -> Result<(), Failure> {
    let input = File::open(file).with_context(|| format!("open {}", file.display()))?;
    let store = open(global)?;
    let records = store.load(&mut BufReader::new(input)).context("load store")?;
    print(format_args!("{records} records"))
}

fn open(global: &Global) -> Result<Store, Failure> {
    let config = load_config(global)?;
    keep_private();
    std::fs::create_dir_all(&config.data_dir).context("make data_dir")?;
    let folder = config.data_dir.join("store");
    Ok(Store::open(&folder).context("open store; a running daemon holds it")?)
}
