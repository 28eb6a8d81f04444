//! `/spec` as a partner meets it: its samples are dropped as they are.

use std::collections::BTreeMap;

use crate::stage::{End, Stage, files_below};

/// Samples go to numbers all over the world: somewhere it is night.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Profiles of every shape, so that each has a sample of its own.
const RICH: &str = r#"
[tenant.acme.channel]
email = ["sim"]
sms = ["sim"]
whatsapp = ["sim"]
viber = ["sim"]
telegram = ["sim"]

[tenant.acme.template.invoice]
channel = "email"
lang = "en"
subject = "Invoice {{ number }}"
text = "Dear {{ first_name }}, {{ number }}"

[tenant.acme.template.pin]
channel = "sms"
lang = "de-AT"
category = "authentication"
text = "PIN {{ code }}"

[tenant.acme.profile.billing]
match = "INV_*.csv"
kind = "messages"
delimiter = ";"
encoding = "windows-1252"
columns = { Handy = "phone", Nachricht = "text", KDNR = "x_kdnr" }
defaults = { channel = "sms", category = "transactional", window = "08:00-20:00" }

[tenant.acme.profile.bare]
match = "bare-[0-9][0-9].txt"
kind = "messages"
header = "none"
delimiter = "\t"
quote = "none"
columns = ["row_id", "mobile", "channel", "text", "x_a"]

[tenant.acme.profile.wide]
match = "wide.*"
encoding = "utf-16le"
skip_lines = 2
columns = { "E-Mail" = "email", "Sendezeit" = "send_at" }
date_format = "%d.%m.%Y %H:%M"

[tenant.acme.profile.fixed_template]
match = "{pin,code}_?.csv"
kind = "messages"
values = { template = "pin", channel = "sms" }
min_proof = "medium"

[tenant.acme.profile.to]
match = "to_*.csv.gz"
kind = "messages"
columns = { "Empfänger" = "to", Kanal = "channel", Vorlage = "template" }
final_newline = "optional"
"#;

/// The folder below the inbox for each sample, as the README tells it.
fn placed(readme: &str) -> BTreeMap<String, String> {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("  samples/"));
    lines
        .map(|line| {
            let (name, rest) = line.split_once("  ->  /inbox").unwrap();
            let folder = rest.split_once("/  ").unwrap().0.trim_matches('/');
            (name.to_owned(), format!("{folder}/{name}").trim_matches('/').to_owned())
        })
        .collect()
}

#[test]
fn every_sample_of_a_rich_configuration_is_accepted_as_it_is() {
    let stage = Stage::new(RICH);
    stage.live("2026-11-23T09:00:00Z".parse().unwrap(), async |life| {
        let samples = files_below(&stage.tenant("spec/samples"));
        let readme = std::fs::read_to_string(stage.tenant("spec/README.txt")).unwrap();
        let placed = placed(&readme);
        // Two without a profile, one of kind control, and one for each profile.
        assert_eq!(samples.len(), 8, "{:?}", samples.keys());
        assert_eq!(placed.len(), samples.len(), "the README tells where each goes");
        let files = samples.iter().map(|(name, bytes)| (placed[name].clone(), bytes.clone()));
        // What asks for answers again comes once they are there, as the README says.
        let (control, files): (BTreeMap<_, _>, BTreeMap<_, _>) =
            files.partition(|(path, _)| path.starts_with("control"));
        for files in [files, control] {
            life.drop_files(&files, true);
            assert_eq!(life.rest(PATIENCE).await, End::Rest);
        }
        let outbox = files_below(&stage.tenant("outbox"));
        for path in placed.values() {
            let ack = String::from_utf8_lossy(&outbox[&format!("{path}.ack.csv")]).into_owned();
            assert!(ack.contains(",ACCEPTED,"), "{path}: {ack}");
            assert!(!outbox.contains_key(&format!("{path}.rejected.csv")), "{path}");
        }
        life.stop().await;
    });
}

#[test]
fn spec_says_what_the_configuration_says() {
    let tenant = "sentinel = \"READY_*.TXT\"\ntemporary_names = [\"*.upl\"]";
    let stage = Stage::new(&format!("[limits]\nrows_max = 4711\n[tenant.acme]\n{tenant}\n{RICH}"));
    stage.live("2026-11-23T09:00:00Z".parse().unwrap(), async |life| {
        let page = |name: &str| std::fs::read_to_string(stage.tenant("spec").join(name)).unwrap();
        assert!(page("limits.csv").contains("\nrows,4711,file.too_many_rows,"));
        assert!(page("limits.csv").contains("\nexpansion,100,file.archive_invalid,"));
        assert!(page("limits.csv").contains("\nwindow_marketing,08:00-20:00,"));
        assert!(page("templates.csv").contains("\npin,sms,de-AT,authentication,code\n"));
        assert!(page("columns.csv").contains("\nmessages,phone,one of the addresses,"));
        assert!(page("columns.csv").contains(",msisdn|mobile|phone_number,"));
        assert!(page("error-codes.csv").contains("\nrow.phone_invalid,error,"));
        let readme = page("README.txt");
        for words in [
            "Europe/Berlin",
            "billing: INV_*.csv, messages",
            "column KDNR is x_kdnr",
            "the first sheet of an .xlsx",
            "One file packed as .gz or .zip",
            "a file READY_<name>.TXT",
            "Nor are names like these:\r\n  *.upl\r\n",
            "control_sample.csv  ->  /inbox/  asks for the answers of messages_sample.csv again",
        ] {
            assert!(readme.contains(words), "{words}:\n{readme}");
        }
        assert!(readme.lines().all(|line| line.chars().count() <= 110), "{readme}");
        life.stop().await;
    });
}

#[test]
fn a_tenant_without_a_channel_is_shown_no_sample_and_told_why() {
    let stage = Stage::new("[tenant.acme.channel]\nemail = []\nsms = []\n");
    stage.live("2026-11-23T09:00:00Z".parse().unwrap(), async |life| {
        assert_eq!(files_below(&stage.tenant("spec/samples")).len(), 0);
        let readme = std::fs::read_to_string(stage.tenant("spec/README.txt")).unwrap();
        assert!(readme.contains("NOTHING CAN BE SENT"), "{readme}");
        life.stop().await;
    });
}
