//! What the two agree on, and what the server tells of itself: FEAT, HELP, STAT, OPTS, ALLO, REST.

use super::command::VERBS;
use super::digest::Algorithm;
use super::listing::Facts;
use super::reply::Reply;
use super::session::Session;

/// Verbs on one line of HELP.
const HELP_COLUMNS: usize = 9;

impl Session {
    pub(super) fn feat(&self) -> Reply {
        let digest = |one: Algorithm| {
            format!("{}{}", one.name(), if one == self.algorithm { "*" } else { "" })
        };
        let digests = Algorithm::ALL.map(digest).join(";");
        let mut features = Vec::new();
        if self.tls.is_some() {
            features.extend(["AUTH TLS", "PBSZ", "PROT"].map(str::to_owned));
        }
        if self.door.settings.active {
            features.push("EPRT".to_owned());
        }
        features.push("EPSV".to_owned());
        features.push(format!("HASH {digests}"));
        features.extend(["HOST", "LANG EN*", "MDTM", "MFMT"].map(str::to_owned));
        features.push(format!("MLST {}", self.facts.feature()));
        features.extend(["REST STREAM", "SIZE", "TVFS", "UTF8"].map(str::to_owned));
        let lines = features.into_iter().map(String::into_bytes).collect();
        Reply::long(211, "Features:", lines, "End.")
    }

    pub(super) fn help(&self) -> Reply {
        let lines = VERBS.chunks(HELP_COLUMNS).map(|verbs| verbs.join(" ").into_bytes()).collect();
        Reply::long(214, "These commands are known:", lines, "End.")
    }

    /// STAT without a path, between transfers.
    pub(super) fn state(&self) -> Reply {
        let account = self.guest.as_ref().map_or("nobody", |guest| &guest.login.account.name);
        let protection = match (self.secured, self.protected) {
            (false, _) => "nothing is protected",
            (true, false) => "the control connection is under TLS",
            (true, true) => "control and data connections are under TLS",
        };
        let lines = vec![
            format!("Logged in as {account}.").into_bytes(),
            format!("Of this session, {protection}.").into_bytes(),
            b"No transfer runs.".to_vec(),
        ];
        Reply::long(211, "Dropchute:", lines, "End.")
    }

    pub(super) fn choose_facts(&mut self, wanted: &[u8]) -> Reply {
        self.facts = Facts::chosen(wanted);
        Reply::new(200, format!("MLST OPTS {}", self.facts.names()).trim_end())
    }

    pub(super) fn choose_digest(&mut self, wanted: Option<Algorithm>) -> Reply {
        self.algorithm = wanted.unwrap_or(self.algorithm);
        Reply::new(200, self.algorithm.name())
    }

    pub(super) fn allo(&self, bytes: u64) -> Reply {
        let most = self.limits.upload_max_bytes;
        if bytes > most {
            return Reply::new(552, format!("Files have at most {most} bytes here."));
        }
        Reply::new(200, "There is room.")
    }

    pub(super) fn rest(&mut self, offset: u64) -> Reply {
        self.restart = offset;
        Reply::new(350, format!("The next transfer begins at byte {offset}."))
    }
}
