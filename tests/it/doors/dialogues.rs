//! Clients that cannot run here, as dialogues: what WinSCP, FileZilla, JSch and SSH.NET send, in which order and in
//! which portions, read from their sources. A dialogue is a file of `fixtures/dialogues`, a step a line:
//!
//! - `C: …` the client sends this and does not wait;
//! - `S: …` the server's next answer must be this;
//! - `D: …` (FTP) what happens on the data connection;
//! - `= PATH BYTES` a file of so many bytes of the pattern is in place on the operator's side;
//! - `proof NAME` the last upload was recorded with this proof; `# …` is a comment.

mod ftp;
mod sftp;

use dropchute::model::Proof;

use super::house::{House, PATIENCE};

/// The bytes every transfer carries: no two neighbouring 64 KiB are alike.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|n| (n ^ (n >> 8).wrapping_mul(31)) as u8).collect()
}

/// One line of a dialogue, taken apart: words, with quotes around those that hold spaces.
struct Step {
    kind: String,
    words: Vec<String>,
}

/// The steps of a dialogue with their lines' numbers.
fn steps(name: &str) -> Vec<(usize, Step)> {
    let file = format!("{}/fixtures/dialogues/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| (index + 1, step(line))).collect()
}

fn step(line: &str) -> Step {
    let mut words: Vec<String> = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    Step { kind: words.remove(0), words }
}

/// The steps that are about what came of it.
fn check(house: &House, step: &Step) {
    match step.kind.as_str() {
        "=" => {
            let found = std::fs::read(house.path(step.words[0].trim_start_matches('/'))).unwrap();
            assert!(found == pattern(step.words[1].parse().unwrap()), "other bytes");
        }
        "proof" => {
            let wanted = match step.words[0].as_str() {
                "rename" => Proof::Rename,
                "close" => Proof::Close,
                other => panic!("no such proof: {other}"),
            };
            assert_eq!(house.last().proof, wanted);
        }
        other => panic!("no such step: {other}"),
    }
}

/// Plays a dialogue of SFTP to its end; a failure names the line.
async fn play_sftp(name: &str) {
    let house = House::open();
    let mut client = sftp::Client::connect(&house).await;
    for (line, step) in steps(name) {
        let done = tokio::time::timeout(PATIENCE, async {
            match step.kind.as_str() {
                "C:" => client.send(&step.words).await,
                "S:" => client.expect(&step.words).await,
                _ => Ok(check(&house, &step)),
            }
        });
        let done = done.await.unwrap_or_else(|_| Err("no answer".to_owned()));
        done.unwrap_or_else(|error| panic!("{name}.txt:{line}: {error}"));
    }
    house.close().await;
}

/// The same over FTPS.
async fn play_ftp(name: &str) {
    let house = House::open();
    let mut client = ftp::Client::connect(&house).await;
    for (line, step) in steps(name) {
        let done = tokio::time::timeout(PATIENCE, async {
            match step.kind.as_str() {
                "C:" => client.send(&step.words).await,
                "S:" => client.expect(&step.words).await,
                "D:" => client.data(&step.words).await,
                _ => {
                    check(&house, &step);
                    Ok(())
                }
            }
        });
        let done = done.await.unwrap_or_else(|_| Err("no answer".to_owned()));
        done.unwrap_or_else(|error| panic!("{name}.txt:{line}: {error}"));
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filezilla_speaks_ftps() {
    play_ftp("filezilla-ftps").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_speaks_ftps() {
    play_ftp("go-ftps").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winscp_speaks_ftps() {
    play_ftp("winscp-ftps").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winscp_speaks_sftp() {
    play_sftp("winscp-sftp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filezilla_speaks_sftp() {
    play_sftp("filezilla-sftp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jsch_speaks_sftp() {
    play_sftp("jsch-sftp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_net_speaks_sftp() {
    play_sftp("ssh-net-sftp").await;
}
