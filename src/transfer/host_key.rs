//! The server's SSH keys: read, or made on first start.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{EcdsaKeypair, Ed25519Keypair, RsaKeypair};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};

use super::HostKeyType;
use crate::world::Dice;

/// Size of the RSA keys we make, as NIST asks for until 2030 and beyond.
const RSA_BITS: usize = 3072;

/// Reads the key, or makes one of the kind that only we can read. A key others can read is refused,
/// and so is one of another kind.
pub(super) fn load_or_create(
    path: &Path,
    kind: HostKeyType,
    dice: &Dice,
) -> io::Result<PrivateKey> {
    let pem = match std::fs::read(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return create(path, kind, dice),
        Err(error) => return Err(error),
    };
    if std::fs::metadata(path)?.mode() & 0o007 != 0 {
        return Err(io::Error::other("everyone on this machine can read the host key"));
    }
    let key = PrivateKey::from_openssh(pem).map_err(io::Error::other)?;
    let fits = match kind {
        HostKeyType::Ed25519 => key.algorithm() == Algorithm::Ed25519,
        HostKeyType::Rsa => matches!(key.algorithm(), Algorithm::Rsa { .. }),
        HostKeyType::Ecdsa => matches!(key.algorithm(), Algorithm::Ecdsa { .. }),
    };
    if !fits {
        let (is, asked) = (key.algorithm(), kind.as_str());
        return Err(io::Error::other(format!(
            "it is an {is} key, host_key_types asks for {asked}"
        )));
    }
    Ok(key)
}

fn create(path: &Path, kind: HostKeyType, dice: &Dice) -> io::Result<PrivateKey> {
    let mut seed = [0; 32];
    dice.fill(&mut seed);
    let key = match kind {
        HostKeyType::Ed25519 => PrivateKey::from(Ed25519Keypair::from_seed(&seed)),
        HostKeyType::Rsa => {
            let pair = RsaKeypair::random(&mut StdRng::from_seed(seed), RSA_BITS);
            PrivateKey::from(pair.map_err(io::Error::other)?)
        }
        HostKeyType::Ecdsa => {
            let pair = EcdsaKeypair::random(&mut StdRng::from_seed(seed), EcdsaCurve::NistP256);
            PrivateKey::from(pair.map_err(io::Error::other)?)
        }
    };
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
        let world = World::real();
        for kind in HostKeyType::ALL {
            let path = folder.path().join(format!("keys/{}", kind.as_str()));
            let made = load_or_create(&path, kind, &world.dice).unwrap();
            let read = load_or_create(&path, kind, &world.dice).unwrap();
            assert_eq!(made.public_key(), read.public_key());
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            for other in HostKeyType::ALL.into_iter().filter(|other| *other != kind) {
                let error = load_or_create(&path, other, &world.dice).unwrap_err();
                assert!(error.to_string().contains("host_key_types asks for"), "{error}");
            }
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(load_or_create(&path, kind, &world.dice).is_err());
        }
    }
}
