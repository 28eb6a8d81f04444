//! The player of SFTP dialogues: words to packets, and packets to words.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use russh::client::{self, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelStream, client::Handle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pattern;
use crate::doors::house::{House, key};

struct AnyServer;

impl client::Handler for AnyServer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// Requests by name.
const REQUESTS: [(&str, u8); 18] = [
    ("INIT", 1),
    ("OPEN", 3),
    ("CLOSE", 4),
    ("LSTAT", 7),
    ("FSTAT", 8),
    ("SETSTAT", 9),
    ("FSETSTAT", 10),
    ("OPENDIR", 11),
    ("READDIR", 12),
    ("REMOVE", 13),
    ("MKDIR", 14),
    ("RMDIR", 15),
    ("REALPATH", 16),
    ("STAT", 17),
    ("RENAME", 18),
    ("READLINK", 19),
    ("SYMLINK", 20),
    ("EXTENDED", 200),
];
const READ: u8 = 5;
const WRITE: u8 = 6;

pub(super) struct Client {
    stream: ChannelStream<Msg>,
    // The session ends where this is dropped.
    _ssh: Handle<AnyServer>,
    next_id: u32,
    /// Requests whose answers no step has looked at yet.
    waiting: VecDeque<u32>,
    /// Answers that came before their turn.
    early: HashMap<u32, Vec<u8>>,
    /// The handle last given.
    handle: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(house: &House) -> Client {
        // russh's client stops where a caller asks for more than this queue takes before it reads.
        let channel_buffer_size = 10_000;
        let config =
            client::Config { nodelay: true, channel_buffer_size, ..client::Config::default() };
        let mut ssh = client::connect(Arc::new(config), house.sftp, AnyServer).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key(7)), None);
        assert!(ssh.authenticate_publickey("erp", key).await.unwrap().success());
        let channel = ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        let (waiting, early, handle) = Default::default();
        Client { stream: channel.into_stream(), _ssh: ssh, next_id: 0, waiting, early, handle }
    }

    /// `READ` and `WRITE` with a length go on until they have moved as much; anything else is one packet.
    pub(super) async fn send(&mut self, words: &[String]) -> Result<(), String> {
        match words[0].as_str() {
            "WRITE" => self.transfer(WRITE, words).await,
            "READ" => self.transfer(READ, words).await,
            name => {
                let kind = REQUESTS.iter().find(|(known, _)| *known == name);
                let (_, kind) = kind.ok_or(format!("no such request: {name}"))?;
                let body = self.body(name, &words[1..])?;
                self.request(*kind, &body).await
            }
        }
    }

    fn body(&self, name: &str, words: &[String]) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        let mut words = words.iter();
        let mut next = || words.next().ok_or(format!("{name} lacks a word"));
        match name {
            "INIT" => return Ok(next()?.parse::<u32>().unwrap().to_be_bytes().to_vec()),
            "CLOSE" | "FSTAT" | "READDIR" => string(&mut body, &self.handle),
            "FSETSTAT" => {
                string(&mut body, &self.handle);
                attributes(&mut body, words.as_slice())?;
            }
            "OPEN" => {
                string(&mut body, next()?.as_bytes());
                body.extend(flags(next()?).to_be_bytes());
                attributes(&mut body, words.as_slice())?;
            }
            "MKDIR" | "SETSTAT" => {
                string(&mut body, next()?.as_bytes());
                attributes(&mut body, words.as_slice())?;
            }
            _ => words.for_each(|word| string(&mut body, word.as_bytes())),
        }
        Ok(body)
    }

    async fn request(&mut self, kind: u8, body: &[u8]) -> Result<(), String> {
        let mut packet = vec![kind];
        // INIT has a version where others have an id.
        if kind != 1 {
            packet.extend(self.next_id.to_be_bytes());
        }
        packet.extend_from_slice(body);
        self.waiting.push_back(if kind == 1 { u32::MAX } else { self.next_id });
        self.next_id += 1;
        self.stream.write_all(&(packet.len() as u32).to_be_bytes()).await.map_err(text)?;
        self.stream.write_all(&packet).await.map_err(text)?;
        self.stream.flush().await.map_err(text)
    }

    /// `WRITE 300000 by 32768 ahead 16`: so many bytes, in portions, with so many portions unanswered.
    async fn transfer(&mut self, kind: u8, words: &[String]) -> Result<(), String> {
        let number = |index: usize| words[index].parse::<usize>().map_err(text);
        let (bytes, portion, ahead) = (number(1)?, number(3)?, number(5)?);
        let wanted = pattern(bytes);
        // A download ends with a request past the end.
        let past = usize::from(kind == READ);
        let count = bytes.div_ceil(portion) + past;
        let mut answered = 0;
        for sent in 0..=count {
            while answered < sent && (sent == count || sent - answered >= ahead) {
                let answer = self.answer().await?;
                let part =
                    &wanted[(answered * portion).min(bytes)..((answered + 1) * portion).min(bytes)];
                let good = match kind {
                    WRITE => answer[0] == 101 && answer[5..9] == [0; 4],
                    _ if part.is_empty() => answer[0] == 101 && answer[5..9] == [0, 0, 0, 1],
                    _ => answer[0] == 103 && &answer[9..] == part,
                };
                if !good {
                    return Err(format!("portion {answered}: {}", words_of(&answer)));
                }
                answered += 1;
            }
            if sent < count {
                let mut body = Vec::new();
                string(&mut body, &self.handle);
                body.extend(((sent * portion) as u64).to_be_bytes());
                match kind {
                    WRITE => string(
                        &mut body,
                        &wanted[sent * portion..((sent + 1) * portion).min(bytes)],
                    ),
                    _ => body.extend((portion as u32).to_be_bytes()),
                }
                self.request(kind, &body).await?;
            }
        }
        Ok(())
    }

    /// The answer to the request that has waited longest.
    async fn answer(&mut self) -> Result<Vec<u8>, String> {
        let wanted = self.waiting.pop_front().ok_or("nothing was asked")?;
        loop {
            if let Some(answer) = self.early.remove(&wanted) {
                return Ok(answer);
            }
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await.map_err(text)?;
            let mut packet = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut packet).await.map_err(text)?;
            let id = if packet[0] == 2 { u32::MAX } else { number(&packet[1..]) };
            self.early.insert(id, packet);
        }
    }

    /// Each word must stand in the answer.
    pub(super) async fn expect(&mut self, words: &[String]) -> Result<(), String> {
        let answer = self.answer().await?;
        if answer[0] == 102 {
            self.handle = answer[9..].to_vec();
        }
        let heard = words_of(&answer);
        let mut kind = heard.split(' ');
        if kind.next() == Some(words[0].as_str()) && words.iter().all(|word| heard.contains(word)) {
            return Ok(());
        }
        Err(format!("expected {}, heard {heard}", words.join(" ")))
    }
}

/// An answer in words, as dialogues have it.
fn words_of(answer: &[u8]) -> String {
    let rest = &answer[5.min(answer.len())..];
    match answer[0] {
        2 => format!("VERSION {}", number(&answer[1..])),
        101 => format!("STATUS {} {}", number(rest), String::from_utf8_lossy(&rest[8..])),
        102 => "HANDLE".to_owned(),
        103 => format!("DATA {}", number(rest)),
        104 => format!("NAME {} {}", number(rest), String::from_utf8_lossy(&rest[4..])),
        105 if number(rest) & 1 != 0 => format!("ATTRS size={}", number(&rest[8..])),
        105 => "ATTRS".to_owned(),
        201 => "EXTENDED_REPLY".to_owned(),
        other => format!("kind {other}"),
    }
}

/// `rwcatx`: read, write, create, append, truncate, exclusive.
fn flags(letters: &str) -> u32 {
    let bits = [('r', 1), ('w', 2), ('a', 4), ('c', 8), ('t', 16), ('x', 32)];
    bits.iter().filter(|(letter, _)| letters.contains(*letter)).map(|(_, bit)| bit).sum()
}

/// `size=… mode=… times=…`, in the order of the protocol.
fn attributes(body: &mut Vec<u8>, words: &[String]) -> Result<(), String> {
    let (mut flags, mut fields) = (0u32, Vec::new());
    for word in words {
        let (name, value) = word.split_once('=').ok_or(format!("no attribute: {word}"))?;
        match name {
            "size" => {
                flags |= 1;
                fields.extend(value.parse::<u64>().map_err(text)?.to_be_bytes());
            }
            "mode" => {
                flags |= 4;
                fields.extend(u32::from_str_radix(value, 8).map_err(text)?.to_be_bytes());
            }
            "times" => {
                flags |= 8;
                fields.extend(value.parse::<u32>().map_err(text)?.to_be_bytes().repeat(2));
            }
            _ => return Err(format!("no attribute: {word}")),
        }
    }
    body.extend(flags.to_be_bytes());
    body.append(&mut fields);
    Ok(())
}

fn string(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend((bytes.len() as u32).to_be_bytes());
    body.extend_from_slice(bytes);
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
