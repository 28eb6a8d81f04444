//! The house's laws as tests: who may import whom, how long things may be, which tables are current.
//!
//! `UPDATE=1` rewrites the generated tables in `docs/`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use dropchute::codes::ReasonCode;
use dropchute::telemetry::Metrics;

/// The floors from top to bottom. A room stands here before it is built.
const FLOORS: &[(&str, &[&str])] = &[
    ("roof", &["cli", "app"]),
    ("front", &["admin", "config", "spec"]),
    ("station", &["transfer", "intake", "audience", "workflow", "dispatch", "receipts", "outbox"]),
    ("shore", &["channel", "files", "spool", "store"]),
    ("rules", &["records", "policy", "batch", "render", "pacing", "report"]),
    ("ground", &["worker", "telemetry", "world", "faults", "disk", "codes", "model"]),
];

/// What a room may import beyond its floor's law.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("cli", "app"),
    ("channel", "render"),
    ("channel", "pacing"),
    ("spool", "batch"),
    ("store", "batch"),
    ("store", "policy"),
    ("model", "codes"),
    ("telemetry", "model"),
    ("telemetry", "codes"),
];

/// What the rules may import of the ground; of `world` only the types.
const GROUND_FOR_RULES: &[&str] = &["model", "codes", "world"];

/// What would make a rule impure.
const IMPURE: &[&str] =
    &["tokio::", "tracing::", "std::fs", "std::net", "std::env", "async fn", "::now()"];

const FUNCTION_LINES_MAX: usize = 70;
/// Functions that may be longer: file, name, why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] =
    &[("src/telemetry/metrics.rs", "new", "the table of all metrics: one list, without a branch")];

const FILE_LINES_MAX: usize = 600;
/// Files that may be longer: file, why.
const LONG_FILES: &[(&str, &str)] =
    &[("src/codes.rs", "the table of all reason codes: data, read by looking up")];

const NAMES_THAT_SAY_NOTHING: &[&str] =
    &["mod.rs", "utils.rs", "util.rs", "helpers.rs", "helper.rs", "common.rs", "misc.rs"];

/// A source file of the crate, with what is only compiled for tests blanked out in `shipped`.
struct Source {
    path: String,
    room: String,
    text: String,
    shipped: String,
}

#[test]
fn every_room_is_in_the_plan_and_on_a_floor() {
    let plan = read("src/lib.rs");
    let mut found = Vec::new();
    for room in plan.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        if floor(room).is_none() {
            found.push(format!("{room}: stands on no floor of tests/tidy.rs"));
        }
        if !read(&format!("src/{room}.rs")).starts_with("//! ") {
            found.push(format!("src/{room}.rs: a face opens with what the room owns"));
        }
    }
    for source in sources() {
        if !plan.contains(&format!("pub mod {};", source.room)) {
            found.push(format!("{}: its room is not in src/lib.rs", source.path));
        }
    }
    assert_none(&found);
}

#[test]
fn imports_run_down_the_floors() {
    let mut found = Vec::new();
    for source in sources() {
        for path in crate_paths(&source.text) {
            let to = &path[0];
            if floor(to).is_some() && !may_import(&source.room, to) {
                found.push(format!("{}: {} may not import {to}", source.path, source.room));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn other_rooms_are_entered_through_the_face() {
    let mut found = Vec::new();
    for source in sources() {
        for path in crate_paths(&source.text) {
            let [room, inner, _, ..] = path.as_slice() else { continue };
            let behind_the_face = is_file(&format!("src/{room}/{inner}.rs"));
            if *room != source.room && behind_the_face {
                found.push(format!(
                    "{}: crate::{} goes past the face",
                    source.path,
                    path.join("::")
                ));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn rules_are_pure() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| floor(&source.room) == Some("rules")) {
        for word in IMPURE.iter().filter(|word| without_comments(&source.shipped).contains(*word)) {
            found.push(format!("{}: {word} in a rule", source.path));
        }
    }
    assert_none(&found);
}

#[test]
fn no_failing_look_is_taken_for_absence() {
    // `Path::exists` says no where the disk fails: `try_exists`, or open and match `NotFound`.
    let mut found = Vec::new();
    for source in sources() {
        let is_test = source.path.contains("/tests/");
        if !is_test && without_comments(&source.shipped).contains(".exists()") {
            found.push(format!("{}: exists()", source.path));
        }
    }
    assert_none(&found);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut found = Vec::new();
    for source in sources() {
        for (name, lines) in functions(&source.shipped) {
            let allowed =
                LONG_FUNCTIONS.iter().any(|(path, long, _)| *path == source.path && *long == name);
            if lines > FUNCTION_LINES_MAX && !allowed {
                found.push(format!("{}: fn {name} has {lines} lines", source.path));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn files_fit_in_the_head_and_have_names_that_say_something() {
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.shipped.lines().filter(|line| *line != BLANKED).count();
        let allowed = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        if lines > FILE_LINES_MAX && !allowed {
            found.push(format!("{}: {lines} lines", source.path));
        }
    }
    for path in files_below("src").iter().chain(&files_below("tests")) {
        let name = path.rsplit('/').next().unwrap_or_default();
        // `tests/it/common` and the like would be the same nothing under another roof.
        if NAMES_THAT_SAY_NOTHING.contains(&name) {
            found.push(format!("{path}: name the idea"));
        }
    }
    assert_none(&found);
}

#[test]
fn nothing_is_left_for_later() {
    // Written so that this file does not find itself.
    let words = [["FIX", "ME"], ["to", "do!("], ["unimpl", "emented!("]].map(|word| word.concat());
    let mut found = Vec::new();
    for path in files_below("src").iter().chain(&files_below("tests")) {
        let text = read(path);
        found.extend(
            words
                .iter()
                .filter(|word| text.contains(*word))
                .map(|word| format!("{path}: holds {word}")),
        );
    }
    assert_none(&found);
}

#[test]
fn every_fixture_folder_is_used() {
    let mut users = String::new();
    let scripts = ["justfile"].into_iter().map(str::to_owned).chain(files_below("scripts"));
    for path in files_below("src").into_iter().chain(files_below("tests")).chain(scripts) {
        users.push_str(&read(&path));
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("fixtures")).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() && !users.contains(&format!("fixtures/{name}")) {
            found.push(format!("fixtures/{name}: no test or script names it"));
        }
    }
    assert_none(&found);
}

#[test]
fn the_table_of_reason_codes_is_current() {
    let mut table = String::from(
        "# Reason codes\n\n\
         What the `code` column of an answer says. Codes are never renamed and never reused.\n\
         An `error` stops the row or the file; a `warning` or an `info` does not.\n\n\
         | Code | Severity | What happened | What to do |\n|---|---|---|---|\n",
    );
    for code in ReasonCode::ALL {
        let (severity, meaning) = (code.severity().as_str(), cell(code.meaning()));
        let advice = cell(code.advice());
        writeln!(table, "| `{code}` | {severity} | {meaning} | {advice} |").unwrap();
    }
    assert_current("docs/codes.md", &table);
}

#[test]
fn the_table_of_metrics_is_current() {
    let mut table = String::from(
        "# Metrics\n\n\
         Served as OpenMetrics text on `/metrics` of `[admin] listen`. A metric with labels appears with its\n\
         first value. Label values are words of closed lists and names from the configuration.\n\n\
         | Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for row in Metrics::new("").table() {
        let labels: Vec<_> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        let (labels, help) = (labels.join(", "), cell(row.help));
        writeln!(table, "| `{}` | {} | {labels} | {help} |", row.name, row.kind).unwrap();
    }
    assert_current("docs/metrics.md", &table);
}

#[test]
fn the_table_of_the_simulators_endings_is_current() {
    let mut table = String::from(
        "# The simulator\n\n\
         A provider of `kind = \"simulator\"` sends nothing; the recipient's ending chooses what it answers: the\n\
         last four digits of a number, or the last four characters before the `@` (`ann.0101@example.com`).\n\n",
    );
    let source = read("src/channel/simulator.rs");
    for line in source.lines().filter_map(|line| line.strip_prefix("//! |")) {
        writeln!(table, "|{line}").unwrap();
    }
    table.push_str(
        "\n\"Once\" and \"twice\" go by the message's attempt number. Receipts follow only what is tried out, below\n\
         `/test` or with `#test=yes`, which has a simulator of its own for each file and needs no section for it;\n\
         of other messages nothing is known once they were accepted.\n",
    );
    assert_current("docs/simulator.md", &table);
}

#[test]
fn the_map_shows_every_room_in_the_order_of_the_plan() {
    let plan = read("src/lib.rs");
    let plan: Vec<_> =
        plan.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let map = read("ARCHITECTURE.md");
    let map: Vec<_> = map
        .lines()
        .skip_while(|line| *line != "## Floor plan")
        .take_while(|line| *line != "## Where to start reading")
        .filter_map(|line| line.strip_prefix("| ")?.split("| `").nth(1)?.split('`').next())
        .collect();
    assert_eq!(map, plan);
}

/// Text that may stand in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn assert_current(path: &str, generated: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join(path), generated).expect("docs can be written");
    }
    let stored = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(stored == generated, "{path} is not current: run with UPDATE=1 and read the diff");
}

fn floor(room: &str) -> Option<&'static str> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

fn may_import(from: &str, to: &str) -> bool {
    if from == to || EXCEPTIONS.contains(&(from, to)) {
        return true;
    }
    let depth = |room| FLOORS.iter().position(|(_, rooms)| rooms.contains(&room));
    match floor(from) {
        Some("ground") | None => false,
        Some("rules") => GROUND_FOR_RULES.contains(&to),
        // The shore stands on the ground, not on the rules: those it needs are exceptions.
        Some("shore") => floor(to) == Some("ground"),
        Some(_) => depth(from) < depth(to),
    }
}

/// Every path behind `crate::`, groups spread out: `crate::a::{B, c::D}` gives `a::B` and `a::c::D`.
fn crate_paths(text: &str) -> Vec<Vec<String>> {
    let text = without_comments(text);
    let mut paths = Vec::new();
    for (at, found) in text.match_indices("crate::") {
        let inside_a_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !inside_a_word {
            spread(&text[at + found.len()..], &mut Vec::new(), &mut paths);
        }
    }
    paths
}

/// Reads one path, a group included, from the start of `rest`; returns what stands behind it.
fn spread<'t>(rest: &'t str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'t str {
    let mut rest = rest.trim_start();
    let outer = prefix.len();
    loop {
        if let Some(mut members) = rest.strip_prefix('{') {
            loop {
                members = members.trim_start().trim_start_matches(',').trim_start();
                if members.is_empty() || members.starts_with('}') {
                    break;
                }
                members = spread(members, prefix, paths);
                // Past `as Name`, to the next member.
                let end = members.find([',', '}']).unwrap_or(members.len());
                members = &members[end..];
            }
            prefix.truncate(outer);
            return members.strip_prefix('}').unwrap_or(members);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            prefix.push(rest[..end].to_owned());
        }
        // A `*` ends a path as a name does, so that a glob is seen as one level deeper.
        let glob = rest[end..].starts_with('*');
        if glob {
            prefix.push("*".to_owned());
        }
        rest = &rest[end + usize::from(glob)..];
        match rest.strip_prefix("::") {
            Some(more) if !more.starts_with('<') => rest = more,
            _ => {
                if !prefix.is_empty() {
                    paths.push(prefix.clone());
                }
                prefix.truncate(outer);
                return rest;
            }
        }
    }
}

fn without_comments(text: &str) -> String {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// Name and length of each function; formatted code closes a body at the indent of its first line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indent}}}");
        let body = lines[at..].iter().position(|line| *line == close || ends_early(line, indent));
        // Without an end it counts to the end of the file, so that it is looked at.
        found.push((name, body.map_or(lines.len() - at, |last| last + 1)));
    }
    found
}

/// A body on one line, or a signature without a body, in a line at the function's own indent.
fn ends_early(line: &str, indent: &str) -> bool {
    let own = line.strip_prefix(indent).is_some_and(|rest| !rest.starts_with(' '));
    own && (line.ends_with(';') || line.ends_with('}'))
}

fn function_name(line: &str) -> Option<String> {
    let words = line.trim_start();
    let (before, after) = words.split_once("fn ")?;
    let signature = before.split_whitespace().all(|word| {
        ["pub", "const", "async", "extern", "\"C\""].contains(&word) || word.starts_with("pub(")
    });
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (signature && !name.is_empty()).then_some(name)
}

/// What stands in place of a line that only tests compile.
const BLANKED: &str = "//!test";

/// All files of all rooms; `main.rs` and `lib.rs` are no rooms.
fn sources() -> Vec<Source> {
    let paths = files_below("src");
    let mut test_files = Vec::new();
    let mut sources = Vec::new();
    for path in paths.iter().filter(|path| path.ends_with(".rs")) {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
        let room = inner.split('/').next().unwrap_or_default().to_owned();
        if room == "main" || room == "lib" {
            continue;
        }
        let text = read(path);
        let (shipped, test_modules) = without_test_code(&text);
        let folder = path.trim_end_matches(".rs");
        test_files.extend(test_modules.iter().map(|module| format!("{folder}/{module}.rs")));
        sources.push(Source { path: path.clone(), room, text, shipped });
    }
    for source in sources.iter_mut().filter(|source| test_files.contains(&source.path)) {
        source.shipped.clear();
    }
    sources
}

/// Blanks out items behind `#[cfg(test)]`; names the modules among them that are files.
fn without_test_code(text: &str) -> (String, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push(line);
            continue;
        }
        kept.push(BLANKED);
        for line in lines.by_ref() {
            kept.push(BLANKED);
            let module = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
            modules.extend(module.map(|(_, name)| name.to_owned()));
            if ends_early(line, "") && !line.starts_with('#') {
                break;
            }
        }
    }
    (kept.join("\n"), modules)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn is_file(path: &str) -> bool {
    root().join(path).is_file()
}

/// Paths from the root of the project, sorted; none where there is no such folder.
fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("found below the root");
    path.to_str().expect("names in this project are ASCII").to_owned()
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_law_of_floors_reads_as_written() {
    for (from, to, allowed) in [
        ("app", "store", true),
        ("cli", "app", true),
        ("app", "cli", false),
        ("config", "admin", false),
        ("intake", "batch", true),
        ("intake", "dispatch", false),
        ("dispatch", "config", false),
        ("store", "batch", true),
        ("store", "records", false),
        ("spool", "store", false),
        ("channel", "render", true),
        ("policy", "model", true),
        ("policy", "batch", false),
        ("policy", "telemetry", false),
        ("model", "codes", true),
        ("codes", "model", false),
        ("worker", "world", false),
    ] {
        assert_eq!(may_import(from, to), allowed, "{from} -> {to}");
    }
}

#[test]
fn paths_are_found_in_every_form() {
    for (text, expected) in [
        ("use crate::model::Kind;", "model::Kind"),
        (
            "use crate::{model::Kind, store::{Store, keys::*}};",
            "model::Kind store::Store store::keys::*",
        ),
        (
            "use crate::a::{\n    B as C,\n    d,\n};\nlet x = crate::e::F::new();",
            "a::B a::d e::F::new",
        ),
        ("/// [`crate::app::App`]\npub(crate) fn f() {}", ""),
        ("$crate::a!(); mycrate::b::C", "a"),
        ("let v = crate::a::B::<u8>::new();", "a::B"),
    ] {
        let paths: Vec<_> = crate_paths(text).iter().map(|path| path.join("::")).collect();
        assert_eq!(paths.join(" "), expected, "{text}");
    }
}

#[test]
fn functions_are_measured_and_test_code_is_not() {
    let text = "pub fn a() {\n    let b = 1;\n}\n\nimpl X {\n    async fn c(\n        d: u8,\n    ) {\n    }\n}\n\
                fn one() {}\ntrait T {\n    fn e(&self);\n}\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n\
                #[cfg(test)]\nmod more;\n";
    let (shipped, modules) = without_test_code(text);
    let found: Vec<_> = functions(&shipped).iter().map(|(name, n)| format!("{name}={n}")).collect();
    assert_eq!(found, ["a=3", "c=4", "one=1", "e=1"]);
    assert_eq!(modules, ["more"]);
}
