//! The whole store as one portable file: to look at, to move, to restore.
//!
//! `"DCDUMP" | version u8`, then records of `space u8 | key length u32 | value length u32 | key | value |
//! crc32 u32`, then `0xff | number of records u64 | crc32 u32 over all record checksums`.

use std::io::{self, Read, Write};

use super::Store;
use super::engine::{Op, Space, StoreError, VALUE_MAX_BYTES, after_prefix};

const MAGIC: &[u8; 7] = b"DCDUMP\x01";
const END: u8 = 0xff;

/// Why a dump could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("read or write dump")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("dump is damaged: {0}")]
    Damaged(&'static str),
    #[error("store is not empty; load into a new data_dir")]
    NotEmpty,
}

impl Store {
    /// Writes every record; returns how many there were.
    pub fn dump(&self, out: &mut dyn Write) -> Result<u64, DumpError> {
        out.write_all(MAGIC)?;
        let (mut count, mut all) = (0_u64, crc32fast::Hasher::new());
        for space in Space::ALL {
            let mut from = Vec::new();
            loop {
                let page = self.engine.scan(space, &from, &after_prefix(&[]), 500)?;
                let Some((last, _)) = page.last() else { break };
                from.clone_from(last);
                from.push(0);
                for (key, value) in &page {
                    let crc = record_crc(space as u8, key, value);
                    out.write_all(&[space as u8])?;
                    out.write_all(&(key.len() as u32).to_be_bytes())?;
                    out.write_all(&(value.len() as u32).to_be_bytes())?;
                    out.write_all(key)?;
                    out.write_all(value)?;
                    out.write_all(&crc.to_be_bytes())?;
                    all.update(&crc.to_be_bytes());
                    count += 1;
                }
            }
        }
        out.write_all(&[END])?;
        out.write_all(&count.to_be_bytes())?;
        out.write_all(&all.finalize().to_be_bytes())?;
        out.flush()?;
        Ok(count)
    }

    /// Fills an empty store from a dump; returns how many records there were.
    pub fn load(&self, input: &mut dyn Read) -> Result<u64, DumpError> {
        for space in Space::ALL {
            let rest = self.engine.scan(space, &[], &after_prefix(&[]), 2)?;
            if space != Space::Meta && !rest.is_empty() {
                return Err(DumpError::NotEmpty);
            }
        }
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(DumpError::Damaged("it does not begin as a dump of this version"));
        }
        let (mut count, mut all, mut ops) = (0_u64, crc32fast::Hasher::new(), Vec::new());
        while let Some((space, key, value, crc)) = read_record(input)? {
            all.update(&crc.to_be_bytes());
            count += 1;
            ops.push(Op::Put(space, key, value));
            if ops.len() == 500 {
                self.commit(std::mem::take(&mut ops), Vec::new())?;
            }
        }
        let mut end = [0; 12];
        input.read_exact(&mut end)?;
        if end[..8] != count.to_be_bytes() || end[8..] != all.finalize().to_be_bytes() {
            return Err(DumpError::Damaged("its end does not fit its records"));
        }
        self.commit(ops, Vec::new())?;
        // A dump of the first version lists no open batches.
        self.list_open()?;
        Ok(count)
    }
}

type DumpRecord = (Space, Vec<u8>, Vec<u8>, u32);

fn read_record(input: &mut dyn Read) -> Result<Option<DumpRecord>, DumpError> {
    let mut space = [0];
    input.read_exact(&mut space)?;
    if space[0] == END {
        return Ok(None);
    }
    let space = *Space::ALL
        .get(space[0] as usize)
        .ok_or(DumpError::Damaged("it names an unknown space"))?;
    let mut lengths = [0; 8];
    input.read_exact(&mut lengths)?;
    let word = |at: usize| {
        u32::from_be_bytes([lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]])
            as usize
    };
    if word(0) > 1024 || word(4) > VALUE_MAX_BYTES {
        return Err(DumpError::Damaged("a record is longer than the store allows"));
    }
    let (mut key, mut value, mut crc) = (vec![0; word(0)], vec![0; word(4)], [0; 4]);
    input.read_exact(&mut key)?;
    input.read_exact(&mut value)?;
    input.read_exact(&mut crc)?;
    let crc = u32::from_be_bytes(crc);
    if crc != record_crc(space as u8, &key, &value) {
        return Err(DumpError::Damaged("a record's checksum does not fit"));
    }
    Ok(Some((space, key, value, crc)))
}

fn record_crc(space: u8, key: &[u8], value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[space]);
    crc.update(key);
    crc.update(value);
    crc.finalize()
}
