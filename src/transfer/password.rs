//! Checking passwords against argon2id hashes, as slowly for unknown accounts as for known ones.

use std::collections::HashMap;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;

/// A hash nobody has the password of, with the parameters `hash-password` uses.
const DUMMY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$ZHJvcGNodXRlZHJvcGNodXRl$\
                          AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A hash nobody has the password of, which costs what most of these cost. It is verified where there
/// is no account or no password, so that the answer takes the same time.
pub(super) fn dummy<'h>(hashes: impl Iterator<Item = &'h str>) -> String {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for hash in hashes {
        *counts.entry(cost_of(hash)).or_default() += 1;
    }
    let usual = counts.into_iter().max_by_key(|(cost, count)| (*count, *cost));
    let usual = usual.map_or(cost_of(DUMMY_HASH), |(cost, _)| cost);
    let dummy = DUMMY_HASH.replacen(cost_of(DUMMY_HASH), usual, 1);
    if PasswordHash::new(&dummy).is_ok() { dummy } else { DUMMY_HASH.to_owned() }
}

/// What stands before salt and hash: algorithm, version and parameters.
fn cost_of(hash: &str) -> &str {
    let mut ends = hash.match_indices('$').map(|(at, _)| at).skip(3);
    ends.next().map_or(hash, |end| &hash[..end])
}

/// True where the password fits the hash. Takes tens of milliseconds of a processor and megabytes.
pub(super) fn verify(password: &str, hash: &str) -> bool {
    let hash = PasswordHash::new(hash);
    hash.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher;

    use super::*;

    #[test]
    fn only_the_right_password_fits() {
        let hash = Argon2::default().hash_password(b"secret").unwrap().to_string();
        assert!(verify("secret", &hash));
        assert!(!verify("Secret", &hash));
        assert!(!verify("", &hash));
        assert!(!verify("secret", "secret"));
        assert!(!verify("", DUMMY_HASH));
    }

    #[test]
    fn the_dummy_costs_what_most_hashes_cost() {
        let usual = Argon2::default().hash_password(b"x").unwrap().to_string();
        assert_eq!(cost_of(DUMMY_HASH), cost_of(&usual), "what hash-password makes");
        assert_eq!(dummy(std::iter::empty()), DUMMY_HASH);
        let cheap = "$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA";
        let made = dummy([&*usual, cheap, cheap].into_iter());
        assert_eq!(cost_of(&made), "$argon2id$v=19$m=256,t=1,p=1");
        assert!(PasswordHash::new(&made).unwrap().hash.is_some());
        assert_eq!(cost_of(&dummy([&*usual, &*usual, cheap].into_iter())), cost_of(&usual));
    }
}
