//! `hash-password`: stdin to an argon2id hash.

use std::io::Read;

use anyhow::{Context, bail};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;

use super::outcome::{Failure, print};
use crate::world::World;

/// Longest password, in bytes.
const PASSWORD_MAX_BYTES: u64 = 1024;

pub(super) fn hash_password() -> Result<(), Failure> {
    let mut password = Vec::new();
    let read = std::io::stdin().take(PASSWORD_MAX_BYTES + 2).read_to_end(&mut password);
    read.context("read password from stdin")?;
    // One line end is the terminal's or echo's, not the password's.
    for end in [&b"\n"[..], b"\r"] {
        if password.ends_with(end) {
            password.pop();
        }
    }
    print(format_args!("{}", hash(&password, &World::real())?))
}

/// The PHC string for a password.
pub(super) fn hash(password: &[u8], world: &World) -> anyhow::Result<String> {
    if password.is_empty() {
        bail!("the password is empty");
    }
    if password.len() as u64 > PASSWORD_MAX_BYTES {
        bail!("the password is longer than {PASSWORD_MAX_BYTES} bytes");
    }
    let mut salt = [0; 16];
    world.dice.fill(&mut salt);
    let hashed = Argon2::default().hash_password_with_salt(password, &salt);
    Ok(hashed.context("hash password")?.to_string())
}
