//! What is only tried out: nothing of it leaves the house, whatever the tenant's channels are.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::time::Duration;

use jiff::Timestamp;

use crate::stage::{End, Life, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);
/// Between the end of a process and the start of the next.
const PAUSE: Duration = Duration::from_secs(60);

type Files = BTreeMap<String, Vec<u8>>;

fn one(name: &str, text: &str) -> Files {
    [(name.to_owned(), text.as_bytes().to_vec())].into()
}

/// Rows that end at once and rows that are tried again, by email and SMS.
const ROWS: &str = "row_id,phone,email,subject,text,x_n\n\
                    r1,01701234567,,,One,1\n\
                    r2,,ann.0106@example.com,S,Two,2\n\
                    r3,12,,,Bad,3\n\
                    r4,,bob.0101@example.com,S,Gone,5\n\
                    r5,01701230109,,,Three times,6\n";

/// A place where a provider should be: it takes connections and says nothing.
struct Sink(TcpListener);

impl Sink {
    fn open() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Sink(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// True where somebody connected since the last time.
    fn was_reached(&self) -> bool {
        match self.0.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A tenant of which every message goes to one of two real providers.
fn with_providers(mail: &Sink, api: &Sink) -> Stage {
    Stage::new(&format!(
        r#"
        [provider.mail]
        kind = "smtp"
        host = "127.0.0.1"
        port = {}
        tls = "none"
        [provider.api]
        kind = "http"
        url = "http://127.0.0.1:{}/send"
        body = "{{{{ text | tojson }}}}"
        [tenant.acme.channel]
        email = ["mail"]
        sms = ["api"]
        "#,
        mail.port(),
        api.port()
    ))
}

#[test]
fn no_socket_to_a_provider_is_opened_for_a_test() {
    let (mail, api) = (Sink::open(), Sink::open());
    let stage = with_providers(&mail, &api);
    // Rows of its own: it shares the memory of tests.
    let said = format!("#test=yes\n{}", ROWS.replace("\nr", "\ns"));
    stage.live(START.parse().unwrap(), async |life| {
        life.drop_files_into("test/inbox", "erp", &one("messages/a.csv", ROWS), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.drop_files(&one("messages/b.csv", &said), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    for (outbox, name) in [("test/outbox", "a.csv"), ("outbox", "b.csv")] {
        let answers = files_below(&stage.tenant(outbox));
        let text = |which: &str| {
            let bytes = &answers[&format!("messages/{name}.{which}.csv")];
            String::from_utf8_lossy(bytes).into_owned()
        };
        assert_eq!(text("ack").trim_end().rsplit(',').next(), Some("yes"), "{name}");
        assert_eq!(text("rendered").lines().count(), 5, "{name}");
        let result = text("result");
        for word in [",delivered,", ",failed,", ",rejected,"] {
            assert!(result.contains(word), "{name}: {word} is not in {result}");
        }
    }
    assert!(!mail.was_reached() && !api.was_reached(), "something left the house");
    // The sinks are where such a file goes when it is meant.
    stage.live("2026-11-23T12:00:00Z".parse().unwrap(), async |life| {
        life.drop_files(&one("messages/c.csv", ROWS), true);
        life.rest(Duration::from_secs(30)).await;
    });
    assert!(mail.was_reached() && api.was_reached());
}

/// A test that has no provider named by its tenant at all stays a test over a restart and a resend.
#[test]
fn a_test_that_is_interrupted_or_sent_again_stays_in_the_house() {
    let (mail, api) = (Sink::open(), Sink::open());
    let stage = with_providers(&mail, &api);
    let start: Timestamp = START.parse().unwrap();
    let later = "phone,text,send_at\n01701230101,One,2026-11-23T09:10:00Z\n";
    stage.live(start, async |life| {
        life.drop_files_into("test/inbox", "erp", &one("messages/a.csv", later), true);
        life.rest(Duration::from_secs(60)).await;
    });
    stage.live(start + Duration::from_secs(120), async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let asked = "op,target\nresend,file:a.csv\n";
        life.drop_files_into("test/inbox", "erp", &one("control/again.csv", asked), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 2);
    assert!(stage.log.sent().iter().all(|line| line.field("test") == "true"));
    assert!(!mail.was_reached() && !api.was_reached());
}

#[test]
fn a_test_never_acts_on_what_is_meant_not_even_by_its_batch() {
    let stage = Stage::new("tenant.acme.approve_above = 1\n");
    let two = "phone,text\n01701234567,One\n01701234568,Two\n";
    stage.live(START.parse().unwrap(), async |life| {
        life.drop_files(&one("messages/a.csv", two), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let held = life.store.holds().unwrap().remove(0);
        let asked = format!("op,target\napprove,batch:{}\n", held.id);
        life.drop_files_into("test/inbox", "erp", &one("control/one.csv", &asked), true);
        let said = format!("#test=yes\n{asked}");
        life.drop_files(&one("control/two.csv", &said), true);
        life.drop_files_into("test/inbox", "erp", &one("messages/a.csv.approve", ""), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        assert_eq!(life.store.holds().unwrap().len(), 1, "the file waits as before");
        // The other way round the same word is heard.
        life.drop_files(&one("control/three.csv", &asked), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    for (answer, state) in [
        ("test/outbox/control/one.csv", "REJECTED"),
        ("outbox/control/two.csv", "REJECTED"),
        ("test/outbox/messages/a.csv.approve", "REJECTED"),
        ("outbox/control/three.csv", "ACCEPTED"),
    ] {
        let mut ack = String::new();
        let path = stage.tenant(&format!("{answer}.ack.csv"));
        std::fs::File::open(path).unwrap().read_to_string(&mut ack).unwrap();
        assert!(ack.contains(&format!(",{state},")), "{answer}: {ack}");
    }
    assert_eq!(stage.log.sent().len(), 2);
}

/// The names of all answers, and each cell of `status` and `text`.
fn outcome(stage: &Stage) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for (name, bytes) in files_below(&stage.tenant("test/outbox")) {
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().unwrap().clone();
        let told = |column: &str| ["status", "state", "text", "test"].contains(&column);
        let rows = reader.records().map(|record| {
            let record = record.unwrap();
            let cells = header.iter().zip(&record).filter(|(column, _)| told(column));
            cells.map(|(_, cell)| cell.to_owned()).collect::<Vec<_>>().join(" ")
        });
        found.insert(name, rows.collect());
    }
    found
}

async fn try_out(life: &Life<'_>) -> (End, Timestamp) {
    life.drop_files_into("test/inbox", "erp", &one("messages/a.csv", ROWS), true);
    (life.rest(PATIENCE).await, life.world.clock.now())
}

#[test]
fn a_test_is_answered_as_without_it_whatever_commit_fails() {
    let whole = Stage::new("");
    let (end, _) = whole.live(START.parse().unwrap(), async |life| try_out(&life).await);
    assert_eq!(end, End::Rest);
    let (expected, commits) = (outcome(&whole), whole.disk.commits());
    assert_eq!(expected["messages/a.csv.rendered.csv"].len(), 4);
    for nth in 1..=commits {
        for applied in [false, true] {
            let stage = Stage::new("");
            let (end, now) = stage.live(START.parse().unwrap(), async |life| {
                stage.disk.fail_commit(nth, applied);
                try_out(&life).await
            });
            if end == End::Crash {
                let end = stage.live(now + PAUSE, async |life| life.rest(PATIENCE).await);
                assert_eq!(end, End::Rest, "commit {nth}, applied: {applied}");
            }
            let (mut found, mut expected) = (outcome(&stage), expected.clone());
            // A row may have been on the wire, which its summary then counts.
            for which in ["result", "final"] {
                let name = format!("messages/a.csv.{which}.csv");
                let rows = found.remove(&name).unwrap();
                let all = expected.remove(&name).unwrap();
                let same = |(row, as_ever): (&String, &String)| row == as_ever || row == "unknown";
                assert!(rows.iter().zip(&all).all(same), "commit {nth}: {rows:?}");
            }
            assert_eq!(found, expected, "commit {nth}, applied: {applied}");
        }
    }
}

/// Ending and status of each line of the table that partners read.
fn endings(readme: &str) -> Vec<(String, String)> {
    let of_line = |line: &str| {
        let mut words = line.strip_prefix("  0")?.split_whitespace();
        Some((format!("0{}", words.next()?), words.next()?.to_owned()))
    };
    readme.lines().filter_map(of_line).collect()
}

#[test]
fn the_endings_in_the_readme_are_what_comes_out() {
    let stage = Stage::new("");
    let table = stage.live(START.parse().unwrap(), async |life| {
        let readme = std::fs::read_to_string(stage.tenant("spec/README.txt")).unwrap();
        let mut table = endings(&readme);
        assert!(table.len() > 10, "{readme}");
        table.push(("4567".to_owned(), "delivered".to_owned()));
        // Each in a file of its own, since one of them makes the whole file wait.
        for (ending, _) in &table {
            let until = "2026-11-23T09:30:00Z";
            let rows = format!("phone,text,expires_at\n0170123{ending},Text,{until}\n");
            let name = format!("messages/{ending}.csv");
            life.drop_files_into("test/inbox", "erp", &one(&name, &rows), true);
        }
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
        table
    });
    let found = outcome(&stage);
    for (ending, status) in table {
        let rows = &found[&format!("messages/{ending}.csv.result.csv")];
        assert_eq!(rows, &[status], "{ending}");
    }
}

#[test]
fn a_test_that_is_refused_for_its_header_says_so() {
    let stage = Stage::new("");
    stage.live(START.parse().unwrap(), async |life| {
        let twice = "#test=yes\nphone,phone,text\n01701234567,01701234567,One\n";
        life.drop_files(&one("messages/a.csv", twice), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let ack = std::fs::read_to_string(stage.tenant("outbox/messages/a.csv.ack.csv")).unwrap();
    assert!(ack.contains(",REJECTED,header.column_twice,"), "{ack}");
    assert!(ack.trim_end().ends_with(",yes"), "{ack}");
}

#[test]
fn notices_about_tests_stand_beside_their_answers() {
    let stage = Stage::new("");
    let path = "test/inbox/messages/cut.csv";
    stage.lay_cut_upload(path, b"phone,text\n0170", "2026-11-23T08:00:01Z");
    stage.live(START.parse().unwrap(), async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let answers = files_below(&stage.tenant("test/outbox"));
    let names: Vec<&str> = answers.keys().map(String::as_str).collect();
    assert_eq!(names, ["messages/cut.csv.ack.csv", "notices_20261123_000001.csv"]);
    assert_eq!(files_below(&stage.tenant("outbox")), Files::new());
    assert!(String::from_utf8_lossy(&answers[names[0]]).contains(",HELD,file.incomplete,"));
}
