//! The corpus of odd and broken files: folders `fixtures/intake/<family>/<case>/`, each a file and
//! what is answered.
//!
//! | in a case's folder | what it is |
//! |---|---|
//! | `case.toml` | `about`, a sentence; `[config]`, differences to the base configuration; `folder` of the inbox (`messages` by default); `proof`, what the door saw (`close` by default); for a file too large to lie here its name as `file` and its `[[piece]]`s: `text` or `hex`, `times`, `times_full` |
//! | every other file | is dropped, all at the same moment |
//! | `expected/` | every `.ack.csv`, `.errors.csv` and `.rejected.csv`, byte for byte; of a large one size, digest and beginning, as `<name>.brief` |
//! | `expected-full/` | the same, of a file in full size |
//!
//! `UPDATE=1` rewrites what is expected; `CASE=<part of a path>` runs some only; `SIZE=full` runs those
//! that have a full size, in it, and takes minutes and some GB of disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dropchute::codes::{ReasonCode, Severity};
use dropchute::model::Proof;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tracing::Level;

use crate::preview::{record, seen_with};
use crate::stage::{End, Life, Stage, files_below};

/// In the case's own time.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
const MOMENT: Duration = Duration::from_secs(30);
/// Cases played at once: they mostly wait for the disk.
const THREADS: usize = 8;
/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
/// A longer answer is compared by size, digest and beginning.
const ANSWER_MAX_BYTES: u64 = 64 << 10;
const BEGINNING_BYTES: usize = 400;
/// In real time, where the file has its scaled size: whatever is dropped, the test stays quick.
const REAL_TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    about: String,
    #[serde(default)]
    config: toml::Table,
    #[serde(default)]
    folder: Option<String>,
    #[serde(default)]
    proof: Option<String>,
    /// The name of the file that is made of the pieces; one that ends in `.gz` is packed.
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    piece: Vec<Piece>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    #[serde(default)]
    text: String,
    #[serde(default)]
    hex: String,
    #[serde(default)]
    times: Option<u64>,
    #[serde(default)]
    times_full: Option<u64>,
}

struct Case {
    folder: PathBuf,
    told: Told,
    full: bool,
}

#[test]
fn every_file_of_the_corpus_is_answered_as_its_folder_says() {
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let (only, full) = (setting("CASE"), setting("SIZE") == "full");
    let mut cases = cases(full);
    cases.retain(|case| case.folder.to_string_lossy().contains(&only));
    assert!(!cases.is_empty(), "no case of this name");
    let wrong: String = each(cases, if full { 1 } else { THREADS }, Case::compare).concat();
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Does something with each case, several at once; gives what came of it, in the order of the cases.
fn each<T: Send>(cases: Vec<Case>, threads: usize, play: impl Fn(&Case) -> T + Sync) -> Vec<T> {
    let (queue, done) = (Mutex::new(cases.into_iter()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { break };
                    let outcome = play(&case);
                    done.lock().unwrap().insert(case.folder, outcome);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

#[test]
fn a_preview_of_the_corpus_gives_the_same_answers_and_rejected_files_are_taken_back() {
    let previews = each(cases(false), THREADS, Case::preview);
    let compared = previews.iter().filter(|p| **p != Previewed::Passed).count();
    let taken_back = previews.iter().filter(|p| **p == Previewed::TakenBack).count();
    assert!(compared > 300 && taken_back > 100, "{compared} compared, {taken_back} taken back");
}

/// What a preview of a case was held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Previewed {
    /// Not a single file: what stands beside it is for the daemon to judge.
    Passed,
    Compared,
    /// Its rejected file, too, was read again.
    TakenBack,
}

/// Another system switches off when there are more than 500 files in the folder.
#[test]
fn more_than_five_hundred_files_in_one_folder_are_all_answered() {
    let stage = Stage::new("");
    let files: BTreeMap<String, Vec<u8>> =
        (0..501).map(|n| (format!("messages/{n}.csv"), Vec::new())).collect();
    stage.live(START.parse().unwrap(), async |life| {
        life.drop_files(&files, true);
        assert_eq!(life.answered(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let answers = names_in(&stage.tenant("outbox/messages"));
    assert_eq!(answers.iter().filter(|name| name.ends_with(".ack.csv")).count(), 501);
}

/// What each case expects: for whoever looks which codes are reached.
pub(crate) fn expected() -> impl Iterator<Item = BTreeMap<String, Vec<u8>>> {
    cases(false).into_iter().map(|case| files_below(&case.folder.join("expected")))
}

fn cases(full: bool) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/intake");
    let mut cases = Vec::new();
    for family in folders(&root) {
        for folder in folders(&family) {
            let text = std::fs::read_to_string(folder.join("case.toml"))
                .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let told: Told = toml::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let has_full = told.piece.iter().any(|piece| piece.times_full.is_some());
            if !full || has_full {
                cases.push(Case { folder, told, full });
            }
        }
    }
    cases
}

fn folders(root: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

impl Case {
    /// Plays the case; returns what is not as expected.
    fn compare(&self) -> String {
        let began = Instant::now();
        let found = self.play();
        let took = began.elapsed();
        let folder = self.folder.join(if self.full { "expected-full" } else { "expected" });
        if std::env::var_os("UPDATE").is_some() {
            rewrite(&folder, &found);
        }
        let mut difference = differences(&files_below(&folder), &found);
        if took > REAL_TIME_MAX && !self.full {
            writeln!(difference, "it took {took:?}").unwrap();
        }
        if difference.is_empty() {
            return difference;
        }
        format!("== {}: {}\n{difference}", self.folder.display(), self.told.about)
    }

    /// Holds the preview of the case's file against what is expected of the daemon, and its rejected
    /// file against the rule that it can be dropped again.
    fn preview(&self) -> Previewed {
        let place = self.folder.display();
        let files: Vec<String> =
            names_in(&self.folder).into_iter().filter(|name| name != "case.toml").collect();
        let [file] = files.as_slice() else { return Previewed::Passed };
        let folder = self.told.folder.as_deref().unwrap_or("messages");
        let seen = |name: &str, file: PathBuf| {
            seen_with(
                &self.told.config,
                START,
                Path::new(folder).join(name).to_str().unwrap(),
                file,
            )
        };
        let expected = files_below(&self.folder.join("expected"));
        let answer = |which: &str| expected.get(&format!("{file}.{which}.csv"));
        let ack = record(answer("ack").unwrap());
        if ack["code"] == "file.pair_missing" {
            return Previewed::Passed;
        }
        let preview = seen(file, self.folder.join(file));
        let found = |which: &str| preview.answers.get(&format!("{file}.{which}.csv"));
        assert_eq!(record(found("ack").unwrap()), ack, "{place}");
        for which in ["errors", "rejected"] {
            let is_brief = expected.contains_key(&format!("{file}.{which}.csv.brief"));
            assert!(is_brief || found(which) == answer(which), "{place}: {which}");
        }
        let Some(rejected) = found("rejected") else { return Previewed::Compared };
        let again = tempfile::tempdir().unwrap();
        let name = format!("{file}.rejected.csv");
        std::fs::write(again.path().join(&name), rejected).unwrap();
        let preview = seen(&name, again.path().join(&name));
        let back = record(&preview.answers[&format!("{name}.ack.csv")]);
        assert_eq!(back["rows_total"], ack["rows_rejected"], "{place}: {back:?}");
        Previewed::TakenBack
    }

    fn play(&self) -> BTreeMap<String, Vec<u8>> {
        let stage = Stage::new(&self.told.config.to_string());
        let folder = self.told.folder.as_deref().unwrap_or("messages");
        stage.live(START.parse().unwrap(), async |mut life| {
            if let Some(proof) = &self.told.proof {
                life.proof = Proof::from_text(proof).unwrap();
            }
            self.drop_files(&stage, &life, folder);
            assert_eq!(life.answered(PATIENCE).await, End::Rest, "{}", self.folder.display());
            // What is due at once is sent, and has its result.
            let _later = life.rest(MOMENT).await;
            life.stop().await;
        });
        for line in stage.log.lines() {
            assert_ne!(line.level, Level::ERROR, "{}: {line}", self.folder.display());
        }
        let outbox = stage.tenant("outbox").join(folder);
        self.hold_laws(&outbox, &stage.tenant("archive"));
        let mut found = BTreeMap::new();
        for name in names_in(&outbox) {
            if [".ack.csv", ".errors.csv", ".rejected.csv"].iter().any(|end| name.ends_with(end)) {
                let (name, bytes) = kept(&outbox, name);
                found.insert(name, bytes);
            }
        }
        found
    }

    fn drop_files(&self, stage: &Stage, life: &Life<'_>, folder: &str) {
        let inbox = stage.tenant("inbox").join(folder);
        let below = Path::new("inbox").join(folder);
        let path = |name: &str| below.join(name).to_str().unwrap().to_owned();
        for name in names_in(&self.folder) {
            if name != "case.toml" {
                std::fs::copy(self.folder.join(&name), inbox.join(&name)).unwrap();
                life.see_upload_end("erp", path(&name));
            }
        }
        if let Some(name) = &self.told.file {
            self.make(&inbox.join(name)).unwrap();
            life.see_upload_end("erp", path(name));
        }
    }

    /// Writes the file that is made of pieces.
    fn make(&self, path: &Path) -> io::Result<()> {
        let plain = BufWriter::new(File::create(path)?);
        let is_packed = path.extension().is_some_and(|ending| ending == "gz");
        let mut out: Box<dyn Write> = match is_packed {
            true => Box::new(GzEncoder::new(plain, Compression::best())),
            false => Box::new(plain),
        };
        for piece in &self.told.piece {
            let bytes = [piece.text.as_bytes(), &hex::decode(&piece.hex).unwrap()].concat();
            let full = piece.times_full.filter(|_| self.full);
            let mut left = full.or(piece.times).unwrap_or(1) * bytes.len() as u64;
            let block = bytes.repeat(((1 << 20) / bytes.len()).max(1));
            while left > 0 {
                let length = left.min(block.len() as u64);
                out.write_all(&block[..length as usize])?;
                left -= length;
            }
        }
        out.flush()
    }

    /// What holds of every answer, whatever is in it.
    fn hold_laws(&self, outbox: &Path, archive: &Path) {
        let place = self.folder.display();
        let archive = sizes_below(archive);
        for name in names_in(outbox) {
            let Some(file) = name.strip_suffix(".ack.csv") else { continue };
            let acks = table(&outbox.join(&name));
            assert_eq!(acks.len(), 1, "{place}: {name}");
            let count = |column: &str| acks[0][column].parse::<u64>().unwrap();
            let parts = ["rows_accepted", "rows_rejected", "rows_duplicate"].map(count);
            assert_eq!(count("rows_total"), parts.iter().sum::<u64>(), "{place}: {name}");
            let answer = |which: &str| outbox.join(format!("{file}.{which}.csv"));
            let rejected = answer("rejected");
            assert_eq!(rejected.exists(), parts[1] > 0, "{place}: {file}");
            assert_eq!(!acks[0]["rejected_file"].is_empty(), parts[1] > 0, "{place}: {file}");
            let result = answer("result");
            if result.exists() {
                let rows = table(&result).len() as u64;
                assert_eq!(rows, count("rows_total"), "{place}: a result line for every row");
            }
            let errors = answer("errors");
            assert_eq!(!acks[0]["errors_file"].is_empty(), errors.exists(), "{place}: {file}");
            if errors.exists() {
                table(&errors).iter().for_each(|line| self.hold_law_of_errors(line));
            }
            self.hold_law_of_the_archive(&archive, file, &acks[0]);
            let told = acks[0]["code"].is_empty() == acks[0]["message"].is_empty();
            assert!(told, "{place}: a code and a sentence");
        }
    }

    /// The original of every file is kept, whatever it was.
    fn hold_law_of_the_archive(
        &self,
        archive: &BTreeMap<String, u64>,
        file: &str,
        ack: &BTreeMap<String, String>,
    ) {
        let kept = archive.get(&format!("{}_{file}", ack["batch_id"])).map(u64::to_string);
        let is_held = ack["state"] == "HELD";
        assert!(
            is_held || kept.as_ref() == Some(&ack["bytes"]),
            "{}: {kept:?}",
            self.folder.display()
        );
    }

    /// A line of an errors file says where it is and what to do.
    fn hold_law_of_errors(&self, line: &BTreeMap<String, String>) {
        let place = self.folder.display();
        let Some(code) = ReasonCode::from_text(&line["code"]) else {
            // The last line of a long file says how many more there are.
            return assert!(line["message"].contains("more"), "{place}: {line:?}");
        };
        assert!(!line["message"].is_empty() && !line["hint"].is_empty(), "{place}: {line:?}");
        // A step of a chain that has no address is left out: the row is sent all the same.
        let is_left_out = code == ReasonCode::RowAddressMissing && !line["column"].is_empty();
        let severity = if is_left_out { Severity::Warning } else { code.severity() };
        assert_eq!(line["severity"], severity.as_str(), "{place}: {line:?}");
        if code.as_str().starts_with("row.") {
            let number = |column: &str| line[column].parse::<u64>().unwrap();
            assert!(number("line") > 0 && number("row") > 0, "{place}: {line:?}");
        }
        // A cell that is named has its place, unless the profile or a directive gave the value.
        let named = !line["column"].is_empty() && code.severity() != Severity::Info;
        assert!(!named || line["column"].parse::<u64>().is_ok(), "{place}: {line:?}");
        assert!(line["value"].chars().count() <= 80, "{place}: {line:?}");
    }
}

/// The records of a CSV, by column.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let cells = |record: csv::StringRecord| {
        header.iter().zip(&record).map(|(n, cell)| (n.to_owned(), cell.to_owned())).collect()
    };
    reader.records().map(|record| cells(record.unwrap())).collect()
}

/// Names and sizes of all files below a folder.
fn sizes_below(folder: &Path) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for folder in folders(folder) {
        sizes.extend(sizes_below(&folder));
    }
    for name in names_in(folder) {
        let size = folder.join(&name).metadata().unwrap().len();
        sizes.insert(name, size);
    }
    sizes
}

/// The files of a folder, without its folders.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.filter(|path| path.is_file()).map(name).collect()
}

/// An answer as it is kept in `expected/`.
fn kept(folder: &Path, name: String) -> (String, Vec<u8>) {
    let path = folder.join(&name);
    let length = path.metadata().unwrap().len();
    if length <= ANSWER_MAX_BYTES {
        return (name, std::fs::read(path).unwrap());
    }
    let (mut file, mut digest) = (BufReader::new(File::open(path).unwrap()), Sha256::new());
    let (mut buffer, mut beginning) = (vec![0; 1 << 20], Vec::new());
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
        let wanted = BEGINNING_BYTES - beginning.len();
        beginning.extend_from_slice(&buffer[..count.min(wanted)]);
    }
    let digest = hex::encode(digest.finalize());
    let brief = format!("bytes {length}\nsha256 {digest}\n{}\n", beginning.escape_ascii());
    (format!("{name}.brief"), brief.into_bytes())
}

fn rewrite(expected: &Path, found: &BTreeMap<String, Vec<u8>>) {
    if expected.exists() {
        std::fs::remove_dir_all(expected).unwrap();
    }
    std::fs::create_dir_all(expected).unwrap();
    for (name, bytes) in found {
        std::fs::write(expected.join(name), bytes).unwrap();
    }
}

fn differences(expected: &BTreeMap<String, Vec<u8>>, found: &BTreeMap<String, Vec<u8>>) -> String {
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let mut text = String::new();
    for name in names {
        if expected.get(name) != found.get(name) {
            let shown = |bytes: Option<&Vec<u8>>| match bytes {
                Some(bytes) => {
                    format!("\n{}", bytes.escape_ascii().to_string().replace("\\n", "\n    "))
                }
                None => " nothing".to_owned(),
            };
            let (old, new) = (shown(expected.get(name)), shown(found.get(name)));
            writeln!(text, "{name}:\n  expected{old}\n  found{new}").unwrap();
        }
    }
    text
}
