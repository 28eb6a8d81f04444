//! An SSH client that does what it is told and nothing more: curve25519, AES-128-GCM, an Ed25519 key.
//!
//! It checks no host key and keeps no rules; that is what makes it useful.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::daemon::connect;

pub(super) const DISCONNECT: u8 = 1;
pub(super) const KEXINIT: u8 = 20;
pub(super) const NEWKEYS: u8 = 21;
pub(super) const REQUEST_SUCCESS: u8 = 81;
pub(super) const REQUEST_FAILURE: u8 = 82;
pub(super) const CHANNEL_OPEN: u8 = 90;
pub(super) const CHANNEL_OPENED: u8 = 91;
pub(super) const OPEN_FAILURE: u8 = 92;
pub(super) const WINDOW_ADJUST: u8 = 93;
pub(super) const CHANNEL_DATA: u8 = 94;
pub(super) const CHANNEL_EOF: u8 = 96;
pub(super) const CHANNEL_CLOSE: u8 = 97;
pub(super) const CHANNEL_REQUEST: u8 = 98;
pub(super) const CHANNEL_SUCCESS: u8 = 99;
pub(super) const CHANNEL_FAILURE: u8 = 100;
pub(super) const USERAUTH_SUCCESS: u8 = 52;
const SERVICE_ACCEPT: u8 = 6;
const USERAUTH_FAILURE: u8 = 51;
const BANNER: &[u8] = b"SSH-2.0-hostile";
/// Blocks of AES; padding fills a packet up to them.
const BLOCK_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

fn key_pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn public_key_blob() -> Vec<u8> {
    let mut blob = Vec::new();
    string(&mut blob, b"ssh-ed25519");
    string(&mut blob, key_pair().public_key().as_ref());
    blob
}

/// The key of every account, as `ssh_keys` has it.
pub(super) fn public_key_line() -> String {
    format!("ssh-ed25519 {}", BASE64_STANDARD.encode(public_key_blob()))
}

/// Adds bytes with their length before them.
pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The first string of `rest`, which moves behind it.
fn take_string<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (length, after) = rest.split_first_chunk::<4>().unwrap();
    let (first, after) = after.split_at(u32::from_be_bytes(*length) as usize);
    *rest = after;
    first
}

/// One direction's cipher.
struct Cipher {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Cipher {
    fn next_nonce(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let counter = u64::from_be_bytes(self.nonce[4..].try_into().unwrap());
        self.nonce[4..].copy_from_slice(&counter.wrapping_add(1).to_be_bytes());
        nonce
    }
}

/// One connection, in clear or behind the key exchange.
pub(super) struct Ssh {
    pub(super) stream: TcpStream,
    banner: Vec<u8>,
    sealing: Option<Cipher>,
    opening: Option<Cipher>,
    session_id: Vec<u8>,
}

impl Ssh {
    /// Connected, banners exchanged.
    pub(super) fn greet(to: SocketAddr) -> Ssh {
        Ssh::over(connect(to)).expect("a greeting")
    }

    /// The same over a connection that is there.
    pub(super) fn over(mut stream: TcpStream) -> io::Result<Ssh> {
        stream.write_all(&[BANNER, b"\r\n"].concat())?;
        let mut banner = Vec::new();
        while banner.last() != Some(&b'\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            banner.push(byte[0]);
        }
        banner.truncate(banner.len() - 2);
        Ok(Ssh { stream, banner, sealing: None, opening: None, session_id: Vec::new() })
    }

    /// Behind the first key exchange.
    pub(super) fn exchange(to: SocketAddr) -> Ssh {
        let mut ssh = Ssh::greet(to);
        ssh.exchange_keys().expect("a key exchange");
        ssh
    }

    /// Logged in with the key of every account.
    pub(super) fn login(to: SocketAddr, account: &str) -> Ssh {
        let mut ssh = Ssh::exchange(to);
        ssh.authenticate(account).expect("a login");
        ssh
    }

    /// Sends a packet.
    pub(super) fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let packet = self.wrap(payload, None);
        self.stream.write_all(&packet)
    }

    /// A packet as it goes over the wire; its length field is a lie where one is given.
    pub(super) fn wrap(&mut self, payload: &[u8], lie: Option<u32>) -> Vec<u8> {
        // In clear the length field counts into the blocks, under GCM it does not.
        let outside = if self.sealing.is_some() { 0 } else { 4 };
        let unpadded = outside + 1 + payload.len();
        let padding = BLOCK_BYTES + 4 - (unpadded + 4) % BLOCK_BYTES;
        let mut body = vec![padding as u8];
        body.extend_from_slice(payload);
        body.resize(body.len() + padding, 0);
        let length = lie.unwrap_or(body.len() as u32).to_be_bytes();
        let mut packet = length.to_vec();
        if let Some(cipher) = &mut self.sealing {
            let nonce = cipher.next_nonce();
            let tag = cipher.key.seal_in_place_separate_tag(nonce, Aad::from(length), &mut body);
            body.extend_from_slice(tag.unwrap().as_ref());
        }
        packet.append(&mut body);
        packet
    }

    /// Reads a packet's payload.
    pub(super) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let tag = if self.opening.is_some() { TAG_BYTES } else { 0 };
        let mut body = vec![0; u32::from_be_bytes(length) as usize + tag];
        self.stream.read_exact(&mut body)?;
        if let Some(cipher) = &mut self.opening {
            let nonce = cipher.next_nonce();
            cipher.key.open_in_place(nonce, Aad::from(length), &mut body).expect("a good tag");
            body.truncate(body.len() - TAG_BYTES);
        }
        let padding = body[0] as usize;
        Ok(body[1..body.len() - padding].to_vec())
    }

    /// Reads packets up to one of a kind.
    pub(super) fn await_kind(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        loop {
            let packet = self.receive()?;
            if packet[0] == kind {
                return Ok(packet);
            }
            if [DISCONNECT, OPEN_FAILURE, CHANNEL_FAILURE].contains(&packet[0]) {
                return Err(io::Error::other(format!("message {} instead of {kind}", packet[0])));
            }
        }
    }

    /// Our KEXINIT, with this way of exchanging keys.
    pub(super) fn kexinit(exchange: &str) -> Vec<u8> {
        let mut packet = vec![KEXINIT];
        packet.extend_from_slice(&[0; 16]);
        for list in [exchange, "ssh-ed25519,rsa-sha2-512"] {
            string(&mut packet, list.as_bytes());
        }
        for _ in 0..2 {
            string(&mut packet, b"aes128-gcm@openssh.com");
        }
        for list in ["hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""] {
            string(&mut packet, list.as_bytes());
        }
        packet.extend_from_slice(&[0; 5]);
        packet
    }

    /// The exchange up to and with NEWKEYS, at the beginning or again later.
    pub(super) fn exchange_keys(&mut self) -> io::Result<()> {
        let ours = Ssh::kexinit("curve25519-sha256");
        self.send(&ours)?;
        let theirs = self.await_kind(KEXINIT)?;
        let private = agreement::PrivateKey::from_private_key(&X25519, &[9; 32]).unwrap();
        let point = private.compute_public_key().unwrap();
        let mut init = vec![30];
        string(&mut init, point.as_ref());
        self.send(&init)?;
        let reply = self.await_kind(31)?;
        let mut rest = &reply[1..];
        let host_key = take_string(&mut rest);
        let their_point = take_string(&mut rest);
        let mut secret = Vec::new();
        agreement::agree(
            &private,
            UnparsedPublicKey::new(&X25519, their_point),
            io::Error::other("no agreement"),
            |shared| {
                number(&mut secret, shared);
                Ok(())
            },
        )?;
        let mut hashed = Vec::new();
        for part in [BANNER, &self.banner, &ours, &theirs, host_key, point.as_ref(), their_point] {
            string(&mut hashed, part);
        }
        hashed.extend_from_slice(&secret);
        let hash = Sha256::digest(&hashed);
        if self.session_id.is_empty() {
            self.session_id = hash.to_vec();
        }
        self.send(&[NEWKEYS])?;
        self.await_kind(NEWKEYS)?;
        self.sealing = Some(self.cipher(&secret, &hash, *b"AC"));
        self.opening = Some(self.cipher(&secret, &hash, *b"BD"));
        Ok(())
    }

    fn cipher(&self, secret: &[u8], hash: &[u8], letters: [u8; 2]) -> Cipher {
        let [iv, key] = letters.map(|letter| {
            Sha256::digest([secret, hash, &[letter], self.session_id.as_slice()].concat())
        });
        let key = UnboundKey::new(&AES_128_GCM, &key[..16]).unwrap();
        Cipher { key: LessSafeKey::new(key), nonce: iv[..12].try_into().unwrap() }
    }

    pub(super) fn authenticate(&mut self, account: &str) -> io::Result<()> {
        self.begin_userauth()?;
        let request = self.key_login(account.as_bytes());
        if self.asks_in(&request)? { Ok(()) } else { Err(io::Error::other("login refused")) }
    }

    /// Asks for the service that logs people in.
    pub(super) fn begin_userauth(&mut self) -> io::Result<()> {
        let mut request = vec![5];
        string(&mut request, b"ssh-userauth");
        self.send(&request)?;
        self.await_kind(SERVICE_ACCEPT).map(|_| ())
    }

    /// Sends a request to be let in; whether it is granted.
    pub(super) fn asks_in(&mut self, request: &[u8]) -> io::Result<bool> {
        self.send(request)?;
        loop {
            match self.receive()?[0] {
                USERAUTH_SUCCESS => return Ok(true),
                USERAUTH_FAILURE => return Ok(false),
                DISCONNECT => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    /// A request to be let in by the key of every account, signed for this session.
    pub(super) fn key_login(&self, account: &[u8]) -> Vec<u8> {
        let mut request = vec![50];
        for part in [account, b"ssh-connection", b"publickey"] {
            string(&mut request, part);
        }
        request.push(1);
        string(&mut request, b"ssh-ed25519");
        string(&mut request, &public_key_blob());
        let mut signed = Vec::new();
        string(&mut signed, &self.session_id);
        signed.extend_from_slice(&request);
        let mut signature = Vec::new();
        string(&mut signature, b"ssh-ed25519");
        string(&mut signature, key_pair().sign(&signed).as_ref());
        string(&mut request, &signature);
        request
    }

    /// What the server says until it ends the connection: the kinds of its packets. Panics where it
    /// does not end it.
    pub(super) fn last_words(&mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        loop {
            match self.receive() {
                Ok(packet) => kinds.push(packet[0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the connection is still open after {kinds:?}")
                }
                Err(_) => return kinds,
            }
        }
    }

    /// Opens channel `number` of ours and starts SFTP on it; its number over there, and the bytes it has room for.
    pub(super) fn open_sftp(&mut self, number: u32, window: u32) -> io::Result<(u32, u32)> {
        self.send(&channel_open(b"session", number, window))?;
        let opened = self.await_kind(CHANNEL_OPENED)?;
        let field = |at: usize| u32::from_be_bytes(opened[at..at + 4].try_into().unwrap());
        let (theirs, room) = (field(5), field(9));
        let mut request = vec![CHANNEL_REQUEST];
        request.extend_from_slice(&theirs.to_be_bytes());
        string(&mut request, b"subsystem");
        request.push(1);
        string(&mut request, b"sftp");
        self.send(&request)?;
        self.await_kind(CHANNEL_SUCCESS)?;
        Ok((theirs, room))
    }
}

/// A request to open a channel; our number, the bytes we let the server send.
pub(super) fn channel_open(kind: &[u8], number: u32, window: u32) -> Vec<u8> {
    let mut open = vec![CHANNEL_OPEN];
    string(&mut open, kind);
    for field in [number, window, 32 << 10] {
        open.extend_from_slice(&field.to_be_bytes());
    }
    open
}

/// Adds a positive number as SSH writes it: without leading zeros, but never with the sign bit set.
fn number(out: &mut Vec<u8>, bytes: &[u8]) {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let mut bytes = bytes[first..].to_vec();
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    string(out, &bytes);
}
