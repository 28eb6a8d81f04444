//! The server's SSH key: read, or made on first start.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

use crate::world::Dice;

/// Reads the key, or makes an Ed25519 key that only we can read. A key others can read is refused.
pub(super) fn load_or_create(path: &Path, dice: &Dice) -> io::Result<PrivateKey> {
    match std::fs::read(path) {
        Ok(pem) => {
            if std::fs::metadata(path)?.mode() & 0o007 != 0 {
                return Err(io::Error::other("everyone on this machine can read the host key"));
            }
            PrivateKey::from_openssh(pem).map_err(io::Error::other)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, dice),
        Err(error) => Err(error),
    }
}

fn create(path: &Path, dice: &Dice) -> io::Result<PrivateKey> {
    let mut seed = [0; 32];
    dice.fill(&mut seed);
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let pem = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    write_secret(path, pem.as_bytes())?;
    Ok(key)
}

/// Writes a new file only we can read, whole or not at all. An existing file is an error.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temp = path.with_extension("new");
    match std::fs::remove_file(&temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::hard_link(&temp, path)?;
    std::fs::remove_file(&temp)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::world::World;

    #[test]
    fn the_key_is_made_once_and_kept_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/host_key");
        let world = World::real();
        let made = load_or_create(&path, &world.dice).unwrap();
        let read = load_or_create(&path, &world.dice).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_create(&path, &world.dice).is_err());
    }
}
