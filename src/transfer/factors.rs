//! What a login must prove: a key, a password, a one-time code, or several of them together.

use std::str::FromStr;

/// Things a client can prove, as a set. A certificate counts as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Factors(u8);

/// A text that names no combination somebody may log in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"key\", \"password\", or several of key, password and totp joined by \"+\"")]
pub struct InvalidFactors;

/// What proving one more factor comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All that is asked was proved.
    Enough,
    /// It helps; one of these must follow.
    More(Factors),
    /// No accepted combination holds it.
    Useless,
}

impl Factors {
    pub const NONE: Factors = Factors(0);
    pub const KEY: Factors = Factors(1);
    pub const PASSWORD: Factors = Factors(2);
    pub const TOTP: Factors = Factors(4);

    pub fn and(self, others: Factors) -> Factors {
        Factors(self.0 | others.0)
    }

    pub fn without(self, others: Factors) -> Factors {
        Factors(self.0 & !others.0)
    }

    pub fn include(self, others: Factors) -> bool {
        self.0 & others.0 == others.0
    }

    /// The combinations accepted where the configuration names none: each factor the account has,
    /// and together with the code where it has one, since a code that is not asked for protects nothing.
    pub fn usual(has: Factors) -> Vec<Factors> {
        [Factors::KEY, Factors::PASSWORD]
            .into_iter()
            .filter(|factor| has.include(*factor))
            .map(
                |factor| {
                    if has.include(Factors::TOTP) { factor.and(Factors::TOTP) } else { factor }
                },
            )
            .collect()
    }
}

impl FromStr for Factors {
    type Err = InvalidFactors;

    fn from_str(text: &str) -> Result<Factors, InvalidFactors> {
        let mut factors = Factors::NONE;
        for word in text.split('+') {
            let factor = match word.trim() {
                "key" => Factors::KEY,
                "password" => Factors::PASSWORD,
                "totp" => Factors::TOTP,
                _ => return Err(InvalidFactors),
            };
            if factors.include(factor) {
                return Err(InvalidFactors);
            }
            factors = factors.and(factor);
        }
        // Six digits alone are guessed too easily.
        if factors == Factors::TOTP { Err(InvalidFactors) } else { Ok(factors) }
    }
}

/// Weighs one more proven factor against the combinations an account accepts.
pub(super) fn weigh(accepted: &[Factors], proven: Factors, factor: Factors) -> Verdict {
    let proven = proven.and(factor);
    if accepted.iter().any(|all| proven.include(*all) && all.include(factor)) {
        return Verdict::Enough;
    }
    let missing = accepted.iter().filter(|all| all.include(proven));
    match missing.fold(Factors::NONE, |sum, all| sum.and(all.without(proven))) {
        Factors::NONE => Verdict::Useless,
        next => Verdict::More(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<Factors> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_whole_combinations_let_in() {
        let (key, password, totp) = (Factors::KEY, Factors::PASSWORD, Factors::TOTP);
        let rows: &[(&[&str], Factors, Factors, Verdict)] = &[
            (&["key", "password"], Factors::NONE, key, Verdict::Enough),
            (&["key", "password"], Factors::NONE, password, Verdict::Enough),
            (&["key"], Factors::NONE, password, Verdict::Useless),
            (&["key+password"], Factors::NONE, key, Verdict::More(password)),
            (&["key+password"], key, key, Verdict::More(password)),
            (&["key+password"], key, password, Verdict::Enough),
            (&["key+password"], password, key, Verdict::Enough),
            (&["key+totp", "password+totp"], Factors::NONE, password, Verdict::More(totp)),
            (&["key+totp", "password+totp"], password, totp, Verdict::Enough),
            (&["key+totp", "password+totp"], password, key, Verdict::Useless),
            (&["key+totp", "key+password"], Factors::NONE, key, Verdict::More(totp.and(password))),
            (&["password+totp", "key"], password, key, Verdict::Enough),
            (&[], Factors::NONE, password, Verdict::Useless),
        ];
        for (accepted, proven, factor, expected) in rows {
            let verdict = weigh(&all(accepted), *proven, *factor);
            assert_eq!(verdict, *expected, "{accepted:?} {proven:?} {factor:?}");
        }
    }

    #[test]
    fn combinations_are_read_and_a_code_never_stands_alone() {
        assert_eq!("key + password".parse(), Ok(Factors::KEY.and(Factors::PASSWORD)));
        for bad in ["", "totp", "key+", "key+key", "keys", "password totp"] {
            assert_eq!(bad.parse::<Factors>(), Err(InvalidFactors), "{bad}");
        }
        let both = Factors::KEY.and(Factors::PASSWORD);
        assert_eq!(Factors::usual(both), all(&["key", "password"]));
        assert_eq!(Factors::usual(both.and(Factors::TOTP)), all(&["key+totp", "password+totp"]));
        assert_eq!(Factors::usual(Factors::TOTP), []);
    }
}
