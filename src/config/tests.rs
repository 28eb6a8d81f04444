//! Whole configurations: the bad ones of `fixtures/config` with their messages, the good ones, the
//! example, secrets, reloads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::load::{known_keys, load_with};
use super::problem::Key;
use super::{Config, ConfigError, load, restart_needed};
use crate::intake::MinProof;
use crate::model::{Category, ChannelKind, Kind};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$\
                    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const SSH_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

/// A configuration in its own folder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(text: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("dropchute.toml", text, 0o640);
        folder
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn main(&self) -> PathBuf {
        self.0.path().join("dropchute.toml")
    }

    fn load(&self) -> Result<Config, ConfigError> {
        load_with(&self.main(), Some(self.0.path().join("credentials")))
    }

    /// All messages, with the folder's own path left out.
    fn messages(&self) -> String {
        let error = self.load().expect_err("the configuration is bad");
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new("fixtures/config").join(kind);
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// Compares with `expected.txt`, or writes it where `UPDATE` is set.
fn check_expected(case: &Path, found: &str) {
    let path = case.join("expected.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{found}\n")).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected.trim_end(), found, "{}", case.display());
}

#[test]
fn bad_configurations_are_told_all_their_problems() {
    for case in cases("bad") {
        let error = load(&case.join("dropchute.toml")).expect_err(&case.display().to_string());
        check_expected(&case, &error.to_string());
        // The password of every case that puts one where it does not belong.
        assert!(!error.to_string().contains("hunter2"), "{}", case.display());
    }
}

#[test]
fn good_configurations_load_with_their_warnings() {
    for case in cases("good") {
        let config = load(&case.join("dropchute.toml")).unwrap_or_else(|e| panic!("{e}"));
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        check_expected(&case, &warnings.join("\n"));
    }
}

fn effective(keys: &BTreeMap<String, Key>) -> BTreeMap<&str, &str> {
    keys.iter().map(|(path, key)| (path.as_str(), key.in_force.as_str())).collect()
}

#[test]
fn example_config_equals_built_in_defaults() {
    let example = Folder::with(include_str!("../../config.example.toml"));
    assert_eq!(example.load().unwrap().warnings, []);
    let nothing = Folder::with("format = 1");
    let (example, nothing) = (known_keys(&example.main()), known_keys(&nothing.main()));
    assert_eq!(effective(&example), effective(&nothing));
}

/// The example with every commented key switched on, and what it names put in place.
fn whole_example() -> Folder {
    let mut text = String::new();
    for line in include_str!("../../config.example.toml").lines() {
        let code = line.strip_prefix("# ").filter(|code| {
            let is_key =
                |key: &str| key.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            code.starts_with('[') || code.split_once(" = ").is_some_and(|(key, _)| is_key(key))
        });
        text.push_str(code.unwrap_or(line));
        text.push('\n');
    }
    let text = text.replace("$argon2id$...", HASH).replace("ssh-ed25519 AAAA...", SSH_KEY);
    let folder = Folder::with(&text);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    folder.write("ftp.crt", &made.cert.pem(), 0o644);
    folder.write("ftp.key", &made.signing_key.serialize_pem(), 0o600);
    folder.write("ca.pem", &made.cert.pem(), 0o644);
    for secret in ["mailhub.secret", "sms.secret"] {
        folder.write(secret, "secret\n", 0o640);
    }
    folder.write("acme-erp.totp", "GEZDGNBVGY3TQOJQ\n", 0o600);
    folder
}

/// The key's place without the names that operators choose: tenants and `[defaults]` share keys, and
/// so do all providers.
fn shape(path: &str) -> String {
    let names: Vec<&str> = path.split('.').collect();
    match names.as_slice() {
        ["provider", _, rest @ ..] => format!("provider.{}", rest.join(".")),
        ["tenant", _, list @ ("account" | "profile" | "template"), _, rest @ ..]
        | ["defaults", list @ ("profile" | "template"), _, rest @ ..] => {
            format!("tenant.{list}.{}", rest.join("."))
        }
        ["tenant", _, rest @ ..] | ["defaults", rest @ ..] => format!("tenant.{}", rest.join(".")),
        _ => path.to_owned(),
    }
}

#[test]
fn example_config_holds_every_key_with_a_comment() {
    let folder = whole_example();
    folder.load().unwrap_or_else(|e| panic!("{e}"));
    let keys = known_keys(&folder.main());
    let given: Vec<String> =
        keys.iter().filter(|(_, key)| key.given).map(|(path, _)| shape(path)).collect();
    for path in keys.keys() {
        let shape = shape(path);
        // A profile may say what a tenant may say.
        let in_tenant = shape.replace("tenant.profile.", "tenant.");
        let shown = given.contains(&shape) || given.contains(&in_tenant);
        assert!(shown, "config.example.toml lacks {path}");
    }
    for line in include_str!("../../config.example.toml").lines() {
        let is_key = line.contains(" = ") && !line.trim_start_matches(['#', ' ']).contains(": ");
        assert!(!is_key || line.trim_start_matches('#').contains('#'), "no comment: {line}");
    }
}

#[test]
fn commented_keys_of_the_example_show_their_defaults() {
    let bare = Folder::with(
        "format = 1\n[provider.mailhub]\nkind = \"smtp\"\nhost = \"mail.example.net\"\n\
         [provider.sms]\nkind = \"http\"\nurl = \"https://sms.example.net/v1/messages\"\n\
         [provider.dry]\nkind = \"simulator\"\n\
         [tenant.acme.account.acme-erp]\n[tenant.acme.profile.billing]\nmatch = \"INV_*.csv\"\n",
    );
    // An example is worth more there than the default.
    let other = ["tenant.acme.timezone", "provider.sms.auth.kind"];
    let has_no_default = |value: &str| ["None", "\"\"", "[]", "{}"].contains(&value);
    let shown = known_keys(&whole_example().main());
    for (path, key) in known_keys(&bare.main()) {
        if let Some(shown) = shown.get(&path)
            && !has_no_default(&key.in_force)
            && !other.contains(&path.as_str())
        {
            assert_eq!(shown.in_force, key.in_force, "{path}");
        }
    }
}

#[test]
fn secrets_come_from_files_that_nobody_else_may_read() {
    let text = |file: &str| {
        format!(
            "format = 1\n[provider.hub]\nkind = \"smtp\"\nhost = \"mail.example.net\"\n\
             username = \"u\"\npassword_file = \"{file}\"\n"
        )
    };
    let folder = Folder::with(&text("good.secret"));
    folder.write("good.secret", "hunter2\n", 0o640);
    folder.write("credentials/mail", "hunter2\n", 0o644);
    folder.write("open.secret", "hunter2\n", 0o644);
    folder.write("empty.secret", "\n", 0o600);
    assert!(!format!("{:?}", folder.load().unwrap()).contains("hunter2"));

    let rows = [
        ("credential:mail", None),
        (
            "open.secret",
            Some("is open to every user of the machine\n  hint: chmod 0640 open.secret"),
        ),
        ("empty.secret", Some("names an empty file; must be a file that holds the secret")),
        (
            "none.secret",
            Some("cannot be read: No such file or directory (os error 2) (none.secret)"),
        ),
        ("credential:../mail", Some("names no credential; must be")),
        ("credential:other", Some("cannot be read")),
    ];
    for (file, expected) in rows {
        folder.write("dropchute.toml", &text(file), 0o640);
        match expected {
            None => assert!(folder.load().is_ok(), "{file}"),
            Some(expected) => {
                let messages = folder.messages();
                assert!(messages.contains(expected), "{file}: {messages}");
                assert!(!messages.contains("hunter2"));
            }
        }
    }
}

#[test]
fn tenants_may_stand_in_files_of_their_own() {
    let folder =
        Folder::with("format = 1\n[defaults]\ngrace = \"5s\"\nquiet = \"9s\"\n[tenant.a]\n");
    folder.write("tenants.d/b.toml", "grace = \"7s\"\n[account.b1]\nrights = [\"drop\"]\n", 0o640);
    folder.write("tenants.d/.b.toml.swp", "no toml", 0o640);
    folder.write("tenants.d/README", "no toml", 0o640);
    let config = folder.load().unwrap();
    let grace = |index: usize| {
        let rules = &config.tenants[index].settings.rules;
        (config.tenants[index].id.to_string(), rules.grace.as_secs(), rules.quiet.as_secs())
    };
    assert_eq!(grace(0), ("a".to_owned(), 5, 9));
    assert_eq!(grace(1), ("b".to_owned(), 7, 9));
    assert_eq!(config.accounts[0].tenant.as_str(), "b");
    assert!(config.accounts[0].rights.drop && !config.accounts[0].rights.collect);

    folder.write("tenants.d/a.toml", "", 0o640);
    folder.write("tenants.d/C.toml", "grcae = \"1s\"", 0o640);
    folder.write("tenants.d/d.toml", "no toml", 0o640);
    let messages = folder.messages();
    assert!(messages.contains("tenants.d/a.toml: holds the tenant a a second time"), "{messages}");
    assert!(messages.contains("tenants.d/C.toml: names a tenant \"C\" that must be"), "{messages}");
    assert!(messages.contains("tenants.d/d.toml:1: is not TOML"), "{messages}");
}

#[test]
fn the_innermost_setting_holds() {
    let folder = Folder::with(
        "format = 1\n[defaults]\ngrace = \"3s\"\nsettle = \"3s\"\nquiet = \"3s\"\n\
         [defaults.profile.shared]\nmatch = \"S_*\"\nquiet = \"6s\"\n\
         [tenant.a]\ngrace = \"4s\"\nsettle = \"4s\"\n\
         [tenant.a.profile.own]\nmatch = \"O_*\"\ngrace = \"5s\"\n",
    );
    let settings = &folder.load().unwrap().tenants[0].settings;
    let rules = |index: usize| {
        let profile = &settings.profiles[index];
        let secs = [profile.rules.grace, profile.rules.settle, profile.rules.quiet];
        (profile.name.as_str(), secs.map(|time| time.as_secs()))
    };
    assert_eq!(rules(0), ("own", [5, 4, 3]));
    assert_eq!(rules(1), ("shared", [4, 4, 6]));
    assert!(settings.profiles[1].pattern.is_match("S_1.csv"));
}

#[test]
fn quotas_and_resume_windows_reach_the_doors() {
    let folder = Folder::with(
        "format = 1\n[defaults]\nquota_bytes = \"1GiB\"\nresume_window = \"2h\"\n[tenant.a]\n\
         [tenant.b]\nquota_bytes = \"1KiB\"\nquota_files = 5\nresume_window = \"0s\"\nsuspended = true\n",
    );
    let doors = folder.load().unwrap().for_doors();
    let told = |tenant: &crate::transfer::Tenant| {
        let quota = (tenant.quota.bytes, tenant.quota.files);
        (quota, tenant.resume_window.as_secs(), tenant.suspended)
    };
    assert_eq!(told(&doors[0]), ((Some(1 << 30), None), 7200, false));
    assert_eq!(told(&doors[1]), ((Some(1 << 10), Some(5)), 0, true));
}

#[test]
fn each_station_gets_its_settings() {
    let config = load(Path::new("fixtures/config/good/journey/dropchute.toml")).unwrap();
    let doors = config.for_doors();
    assert_eq!(doors[0].aliases["Send_SMS"].to_text().as_deref(), Some("inbox/messages"));
    assert_eq!(config.transfer.limits.drain_grace, config.shutdown_grace);
    assert!(config.transfer.ftp.is_none() && config.admin_listen.is_none());

    let intake = &config.for_intake()[0];
    assert_eq!(intake.channels, [ChannelKind::Email, ChannelKind::Sms]);
    assert_eq!(intake.windows.keys().copied().collect::<Vec<_>>(), [Category::Service]);
    assert_eq!(intake.max_age.authentication.as_secs(), 300);
    assert_eq!(intake.account_kinds["erp@acme.example"].len(), 9);
    assert_eq!(intake.templates[0].variables, ["number"]);
    assert_eq!(intake.plain.grace.as_secs(), 1);
    let plain = intake.profile("plain").unwrap();
    assert_eq!(plain.min_proof, MinProof::Medium);
    assert_eq!((plain.read.delimiter, plain.read.quote), (Some(b'\t'), None));
    let billing = intake.profile("billing").unwrap();
    assert!(billing.matcher.as_ref().unwrap().is_match("INV_1.csv"));
    assert_eq!(billing.kind, Some(Kind::Messages));
    assert_eq!(billing.default_category, Some(Category::Transactional));

    let (id, route) = &config.for_dispatch()[0];
    assert_eq!(id.as_str(), "acme");
    assert_eq!(route.channels[&ChannelKind::Sms], ["sms", "dry"]);
    assert_eq!(route.templates[0].template.name(), "invoice");
}

#[test]
fn changes_outside_tenants_need_a_restart() {
    let load = |text: &str| Folder::with(text).load().unwrap();
    let old = load("format = 1\n[ftp]\nlisten = []\n[tenant.a]\n");
    let same = load(
        "format = 1\n[ftp]\nlisten = [ ]\n[shutdown]\ngrace = \"20s\"\n[tenant.b]\n\
         [guard]\nsafe = [\"192.0.2.0/24\"]\npoints.garbage = 0\n",
    );
    assert_eq!(restart_needed(&old, &same), [""; 0]);
    let live = load(
        "format = 1\n[ftp]\nlisten = []\nfrom_proxy = [\"192.0.2.1\"]\n[limits]\nconnections_max = 7\n\
         session_bandwidth = \"1MiB/s\"\n[guard]\nthreshold = 50\n[tenant.a]\nbandwidth = \"2MiB/s\"\n",
    );
    assert_eq!(restart_needed(&old, &live), [""; 0]);
    let new = load("format = 1\n[ftp]\ntls = \"off\"\n[provider.x]\nkind = \"simulator\"\n");
    let needed = restart_needed(&old, &new);
    assert_eq!(needed[..2], ["ftp.listen", "ftp.tls"]);
    assert!(needed[2].starts_with("provider.x."), "{needed:?}");
}

#[test]
fn an_account_ends_with_its_last_day_in_its_tenants_zone() {
    let rows = [
        ("\"2026-12-31\"", "2026-12-31T23:00:00Z"),
        ("2026-12-31", "2026-12-31T23:00:00Z"),
        ("\"2026-12-31T18:00:00Z\"", "2026-12-31T18:00:00Z"),
        ("2026-12-31T18:00:00+02:00", "2026-12-31T16:00:00Z"),
    ];
    for (expires, end) in rows {
        let folder = Folder::with(&format!(
            "format = 1\n[tenant.acme]\ntimezone = \"Europe/Berlin\"\n\
             [tenant.acme.account.erp]\nexpires = {expires}\nsessions_max = 3\n"
        ));
        let account = folder.load().unwrap().accounts.remove(0);
        assert_eq!(account.expires.map(|end| end.to_string()).as_deref(), Some(end), "{expires}");
        assert_eq!(account.sessions_max, Some(3));
    }
}

#[test]
fn a_missing_file_is_a_problem_like_any_other() {
    let error = load(Path::new("no/such/dropchute.toml")).unwrap_err();
    let expected = "dropchute.toml: cannot be read: No such file or directory (os error 2)";
    assert!(error.to_string().starts_with(expected), "{error}");
}
