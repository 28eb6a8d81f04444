//! Meant, or only tried out: the two realms of a tenant's files.

use super::TenantId;

/// What is dropped below `/test`, or says `#test=yes`, goes the way of what is meant and shares nothing
/// with it: no provider, no memory, no number, no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Realm {
    Real,
    Test,
}

/// A tenant's files of one realm: they wait for each other, never for those of another lane.
pub type Lane = (TenantId, Realm);

impl Realm {
    pub const ALL: [Realm; 2] = [Realm::Real, Realm::Test];

    /// The realm in whose folders a path below the tenant's root lies.
    pub fn of_path(path: &str) -> Realm {
        if path.starts_with(Realm::Test.root()) { Realm::Test } else { Realm::Real }
    }

    /// What stands in front of `inbox` and `outbox`.
    pub const fn root(self) -> &'static str {
        match self {
            Realm::Real => "",
            Realm::Test => "test/",
        }
    }

    /// A path without what tells its realm: `inbox/messages/a.csv`.
    pub fn within(path: &str) -> &str {
        path.strip_prefix(Realm::Test.root()).unwrap_or(path)
    }

    /// The word of the column and label `test`.
    pub const fn yes_no(self) -> &'static str {
        match self {
            Realm::Real => "no",
            Realm::Test => "yes",
        }
    }

    pub fn is_test(self) -> bool {
        self == Realm::Test
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_its_realm() {
        for (path, realm, within) in [
            ("inbox/a.csv", Realm::Real, "inbox/a.csv"),
            ("test/inbox/messages/a.csv", Realm::Test, "inbox/messages/a.csv"),
            ("inbox/test/a.csv", Realm::Real, "inbox/test/a.csv"),
            ("testing/inbox/a.csv", Realm::Real, "testing/inbox/a.csv"),
        ] {
            assert_eq!((Realm::of_path(path), Realm::within(path)), (realm, within), "{path}");
        }
    }
}
