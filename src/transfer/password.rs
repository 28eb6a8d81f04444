//! Checking passwords against argon2id hashes, as slowly for unknown accounts as for known ones.

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;

/// A hash nobody has the password of, with the parameters `hash-password` uses. It is verified where
/// there is no account or no password, so that the answer takes the same time.
const DUMMY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$ZHJvcGNodXRlZHJvcGNodXRl$\
                          AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// True where the password fits the hash. Takes tens of milliseconds of a processor and megabytes.
pub(super) fn verify(password: &str, hash: Option<&str>) -> bool {
    let given = hash.and_then(|hash| PasswordHash::new(hash).ok());
    let dummy = || PasswordHash::new(DUMMY_HASH).expect("the constant is a valid hash");
    let known = given.is_some();
    let hash = given.unwrap_or_else(dummy);
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && known
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher;

    use super::*;

    #[test]
    fn only_the_right_password_fits() {
        let hash = Argon2::default().hash_password(b"secret").unwrap().to_string();
        assert!(verify("secret", Some(&hash)));
        assert!(!verify("Secret", Some(&hash)));
        assert!(!verify("", Some(&hash)));
        assert!(!verify("secret", None));
        assert!(!verify("secret", Some("secret")));
    }

    #[test]
    fn the_dummy_costs_what_a_real_hash_costs() {
        let real = Argon2::default().hash_password(b"x").unwrap();
        let dummy = PasswordHash::new(DUMMY_HASH).unwrap();
        assert_eq!(dummy.params.to_string(), real.params.to_string());
        assert_eq!((dummy.algorithm, dummy.version), (real.algorithm, real.version));
    }
}
