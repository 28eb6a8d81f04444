//! How far one client has come with logging in. Holds no credentials and checks none.

use russh::{MethodKind, MethodSet};

use crate::transfer::Factors;
use crate::transfer::accounts::Login;
use crate::transfer::factors::{Verdict, weigh};

/// The factors proved so far, all for one name.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    name: String,
    proven: Factors,
    login: Option<Login>,
    /// What the dialogue under way asked for.
    asked: Option<Factors>,
}

/// What follows from a factor that was proved.
#[derive(Debug)]
pub(super) enum Step {
    /// The account is open.
    Open(Login),
    /// It counts, and more is asked.
    Next,
    /// It counts for nothing: the answer is that to a wrong one.
    Refused,
}

impl Attempt {
    /// Another name begins anew: what was proved for one account is nothing to another.
    pub(super) fn of(&mut self, name: &str) -> &mut Attempt {
        if self.name != name {
            *self = Attempt { name: name.to_owned(), ..Attempt::default() };
        }
        self
    }

    /// The account whose first factor was proved.
    pub(super) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Takes a factor that was just proved for the present name.
    pub(super) fn prove(&mut self, factor: Factors, login: Login) -> Step {
        match weigh(&login.account.login, self.proven, factor) {
            Verdict::Enough => Step::Open(login),
            Verdict::More(_) => {
                self.proven = self.proven.and(factor);
                self.login = Some(login);
                Step::Next
            }
            Verdict::Useless => Step::Refused,
        }
    }

    /// What may be proved next. Before the first factor it is the same for every name.
    fn next(&self) -> Factors {
        let all = Factors::KEY.and(Factors::PASSWORD);
        let Some(login) = &self.login else { return all };
        match weigh(&login.account.login, self.proven, Factors::NONE) {
            Verdict::More(next) => next,
            Verdict::Enough | Verdict::Useless => all,
        }
    }

    /// The methods a client may go on with.
    pub(super) fn methods(&self) -> MethodSet {
        let next = self.next();
        let mut methods = MethodSet::empty();
        if next.include(Factors::KEY) {
            methods.push(MethodKind::PublicKey);
        }
        if next.include(Factors::PASSWORD) {
            methods.push(MethodKind::Password);
        }
        if next.without(Factors::KEY) != Factors::NONE {
            methods.push(MethodKind::KeyboardInteractive);
        }
        methods
    }

    pub(super) fn asks_for_code(&self) -> bool {
        self.next().include(Factors::TOTP)
    }

    /// What a dialogue (keyboard-interactive) asks for now.
    pub(super) fn ask(&mut self) -> Factors {
        // A code has no other way in; a password has.
        let asked = if self.asks_for_code() { Factors::TOTP } else { Factors::PASSWORD };
        self.asked = Some(asked);
        asked
    }

    /// What the answer that came is the answer to.
    pub(super) fn answered(&mut self) -> Option<Factors> {
        self.asked.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transfer::{Account, Protocols, Rights, Tenant};

    fn login(combinations: &[&str]) -> Login {
        let account = Account {
            name: "erp".to_owned(),
            tenant: "acme".parse().unwrap(),
            password_hash: None,
            ssh_keys: Vec::new(),
            ssh_authorities: Vec::new(),
            totp_secret: None,
            login: combinations.iter().map(|text| text.parse().unwrap()).collect(),
            rights: Rights::default(),
            kinds: Vec::new(),
            protocols: Protocols::default(),
            allow_from: Vec::new(),
            expires: None,
            sessions_max: None,
        };
        Login { account: Arc::new(account), tenant: Arc::new(Tenant::new("acme".parse().unwrap())) }
    }

    fn names(attempt: &Attempt) -> String {
        let methods = attempt.methods();
        methods.iter().map(<&str>::from).collect::<Vec<_>>().join(",")
    }

    const FIRST: &str = "publickey,password,keyboard-interactive";

    #[test]
    fn two_factors_open_in_either_order() {
        for (first, second, after) in [
            (Factors::KEY, Factors::PASSWORD, "password,keyboard-interactive"),
            (Factors::PASSWORD, Factors::KEY, "publickey"),
        ] {
            let mut attempt = Attempt::default();
            assert_eq!(names(attempt.of("erp")), FIRST);
            assert!(matches!(attempt.prove(first, login(&["key+password"])), Step::Next));
            assert_eq!(names(&attempt), after);
            let step = attempt.of("erp").prove(second, login(&["key+password"]));
            assert!(matches!(step, Step::Open(_)));
        }
    }

    #[test]
    fn another_name_takes_nothing_along() {
        let mut attempt = Attempt::default();
        attempt.of("erp").prove(Factors::KEY, login(&["key+password"]));
        attempt.of("crm");
        assert_eq!(names(&attempt), FIRST);
        assert!(attempt.login().is_none());
        let step = attempt.prove(Factors::PASSWORD, login(&["key+password"]));
        assert!(matches!(step, Step::Next));
        // Nor does coming back.
        assert_eq!(names(attempt.of("erp")), FIRST);
    }

    #[test]
    fn a_dialogue_asks_for_the_code_only_after_the_first_factor() {
        let mut attempt = Attempt::default();
        assert_eq!(attempt.of("erp").answered(), None);
        assert_eq!(attempt.ask(), Factors::PASSWORD);
        assert_eq!(attempt.answered(), Some(Factors::PASSWORD));
        assert_eq!(attempt.answered(), None);
        assert!(matches!(attempt.prove(Factors::PASSWORD, login(&["password+totp"])), Step::Next));
        assert_eq!(names(&attempt), "keyboard-interactive");
        assert_eq!(attempt.ask(), Factors::TOTP);
        attempt.of("crm");
        assert_eq!(attempt.answered(), None);
    }
}
