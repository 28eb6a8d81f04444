//! What the doors' guard remembers over a restart: scores and bans of sources, good sources of accounts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{KeyValue, Op, Space, StoreError, after_prefix};
use super::records::{decode, encode};

/// Keys of sources begin so, those of accounts with the other.
const SOURCE: u8 = b's';
const ACCOUNT: u8 = b'a';

/// What is known of a source of logins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// An address, or an IPv6 network.
    #[serde(skip)]
    pub source: String,
    /// Points by slice of time, the newest first.
    pub slices: Vec<u32>,
    /// Number of the newest slice since 1970.
    pub newest_slice: i64,
    /// Bans so far.
    pub bans: u32,
    pub banned_until: Option<Timestamp>,
    /// The last offence, by its word.
    pub reason: String,
    /// When the last offence was, or the last ban ended.
    pub last: Timestamp,
}

/// Where an account's logins came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSources {
    #[serde(skip)]
    pub account: String,
    /// The newest first, each with the time of a login.
    pub sources: Vec<(String, Timestamp)>,
}

impl Store {
    /// Writes down what changed, in one commit; an account without sources is removed.
    pub fn record_guard(
        &self,
        sources: &[SourceRecord],
        forgotten: &[String],
        accounts: &[AccountSources],
    ) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        for record in sources {
            ops.push(Op::Put(Space::Guard, key(SOURCE, &record.source), encode(record)));
        }
        for source in forgotten {
            ops.push(Op::Delete(Space::Guard, key(SOURCE, source)));
        }
        for record in accounts {
            let key = key(ACCOUNT, &record.account);
            ops.push(match record.sources.is_empty() {
                true => Op::Delete(Space::Guard, key),
                false => Op::Put(Space::Guard, key, encode(record)),
            });
        }
        if ops.is_empty() { Ok(()) } else { self.commit(ops, Vec::new()) }
    }

    /// All sources something is known of.
    pub fn guard_sources(&self) -> Result<Vec<SourceRecord>, StoreError> {
        let read = |(key, value): KeyValue| {
            let record: SourceRecord = decode("guard", &value)?;
            Ok(SourceRecord { source: name_of(&key)?, ..record })
        };
        self.guard_records(SOURCE)?.into_iter().map(read).collect()
    }

    /// All accounts with the sources they logged in from.
    pub fn guard_accounts(&self) -> Result<Vec<AccountSources>, StoreError> {
        let read = |(key, value): KeyValue| {
            let record: AccountSources = decode("guard", &value)?;
            Ok(AccountSources { account: name_of(&key)?, ..record })
        };
        self.guard_records(ACCOUNT)?.into_iter().map(read).collect()
    }

    fn guard_records(&self, of: u8) -> Result<Vec<KeyValue>, StoreError> {
        self.engine.scan(Space::Guard, &[of], &after_prefix(&[of]), usize::MAX)
    }
}

fn key(of: u8, name: &str) -> Vec<u8> {
    let mut key = vec![of];
    key.extend_from_slice(name.as_bytes());
    key
}

fn name_of(key: &[u8]) -> Result<String, StoreError> {
    let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
    name.map(str::to_owned).ok_or(StoreError::Damaged { space: "guard" })
}
