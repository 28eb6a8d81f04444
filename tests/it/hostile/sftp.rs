//! SFTP packets from the bytes up, on one channel of `Ssh`.

use std::io;
use std::net::SocketAddr;

use super::ssh::{self, Ssh, string};

pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;

/// Flags of OPEN.
pub(super) const READ: u32 = 0x01;
pub(super) const WRITE: u32 = 0x02;
/// Write, create, truncate.
pub(super) const CREATE: u32 = 0x1a;

/// Bytes the server may send before we say that we have room again.
const WINDOW_BYTES: u32 = 1 << 20;
/// Data in one SSH packet.
const PART_BYTES: usize = 32 << 10;

pub(super) struct Sftp {
    pub(super) ssh: Ssh,
    channel: u32,
    /// Bytes we may send before the server says that it has room again.
    room: usize,
    /// Received and not yet read.
    received: Vec<u8>,
    next_id: u32,
}

impl Sftp {
    /// Logged in, SFTP begun.
    pub(super) fn login(to: SocketAddr, account: &str) -> Sftp {
        Sftp::on(Ssh::login(to, account), WINDOW_BYTES).expect("an SFTP channel")
    }

    /// SFTP on a connection that is logged in.
    pub(super) fn on(mut ssh: Ssh, window: u32) -> io::Result<Sftp> {
        let (channel, room) = ssh.open_sftp(0, window)?;
        let mut sftp = Sftp { ssh, channel, room: room as usize, received: Vec::new(), next_id: 1 };
        sftp.send(&[0, 0, 0, 5, 1, 0, 0, 0, 3])?;
        assert_eq!(sftp.answer()?[0], 2);
        Ok(sftp)
    }

    /// A new channel in place of this one, which the server has closed or will.
    pub(super) fn again(mut self) -> Sftp {
        let mut close = vec![ssh::CHANNEL_CLOSE];
        close.extend_from_slice(&self.channel.to_be_bytes());
        self.ssh.send(&close).expect("the connection lives on");
        Sftp::on(self.ssh, WINDOW_BYTES).expect("another channel")
    }

    /// Sends bytes of the channel, waiting for the server's window.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            while self.room == 0 {
                self.take_packet()?;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.room).min(PART_BYTES));
            let mut packet = vec![ssh::CHANNEL_DATA];
            packet.extend_from_slice(&self.channel.to_be_bytes());
            string(&mut packet, part);
            self.ssh.send(&packet)?;
            self.room -= part.len();
            bytes = rest;
        }
        Ok(())
    }

    /// Sends a request and forgets it; its id.
    pub(super) fn request(&mut self, kind: u8, body: &[u8]) -> io::Result<u32> {
        let id = self.next_id;
        self.next_id += 1;
        let packet = packet(kind, id, body);
        self.send(&packet)?;
        Ok(id)
    }

    /// Sends a request and reads its answer, without its length.
    pub(super) fn ask(&mut self, kind: u8, body: &[u8]) -> io::Result<Vec<u8>> {
        let id = self.request(kind, body)?;
        let answer = self.answer()?;
        assert_eq!(answer[1..5], id.to_be_bytes(), "answers come in order");
        Ok(answer)
    }

    /// Sends what may be no request at all; the answer, or none where the channel ended.
    pub(super) fn ask_anything(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self.send(bytes).and_then(|()| self.answer()) {
            Ok(answer) => Some(answer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("no answer, no end"),
            Err(_) => None,
        }
    }

    /// The next answer.
    pub(super) fn answer(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some((length, rest)) = self.received.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if let Some(body) = rest.get(..length) {
                    let body = body.to_vec();
                    self.received.drain(..length + 4);
                    return Ok(body);
                }
            }
            self.take_packet()?;
        }
    }

    /// Reads one SSH packet of the channel.
    fn take_packet(&mut self) -> io::Result<()> {
        let packet = self.ssh.receive()?;
        match packet[0] {
            ssh::CHANNEL_DATA => {
                self.received.extend_from_slice(&packet[9..]);
                let mut adjust = vec![ssh::WINDOW_ADJUST];
                adjust.extend_from_slice(&self.channel.to_be_bytes());
                adjust.extend_from_slice(&(packet.len() as u32 - 9).to_be_bytes());
                self.ssh.send(&adjust)
            }
            ssh::WINDOW_ADJUST => {
                self.room += u32::from_be_bytes(packet[5..9].try_into().unwrap()) as usize;
                Ok(())
            }
            ssh::DISCONNECT | ssh::CHANNEL_EOF | ssh::CHANNEL_CLOSE => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            _ => Ok(()),
        }
    }

    /// Opens a file; its handle, or the answer that refuses.
    pub(super) fn open(&mut self, path: &[u8], flags: u32) -> Result<Vec<u8>, Vec<u8>> {
        let answer = self.ask(3, &open_body(path, flags)).expect("an answer to OPEN");
        handle_of(answer)
    }

    pub(super) fn write(&mut self, handle: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
        self.ask(6, &write_body(handle, offset, data)).expect("an answer to WRITE")
    }

    pub(super) fn read(&mut self, handle: &[u8], offset: u64, length: u32) -> Vec<u8> {
        self.ask(5, &read_body(handle, offset, length)).expect("an answer to READ")
    }

    pub(super) fn close(&mut self, handle: &[u8]) -> Vec<u8> {
        self.ask(4, &path_body(handle)).expect("an answer to CLOSE")
    }
}

/// A whole packet.
pub(super) fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = (body.len() as u32 + 5).to_be_bytes().to_vec();
    packet.push(kind);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(body);
    packet
}

/// The body of a request that names one path, or one handle.
pub(super) fn path_body(path: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, path);
    body
}

/// The same with a number behind it: flags of attributes, or of OPEN.
pub(super) fn number_body(path: &[u8], number: u32) -> Vec<u8> {
    let mut body = path_body(path);
    body.extend_from_slice(&number.to_be_bytes());
    body
}

/// The body of a request that names two.
pub(super) fn two_paths_body(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut body = path_body(from);
    string(&mut body, to);
    body
}

pub(super) fn open_body(path: &[u8], flags: u32) -> Vec<u8> {
    let mut body = number_body(path, flags);
    body.extend_from_slice(&[0; 4]);
    body
}

pub(super) fn read_body(handle: &[u8], offset: u64, length: u32) -> Vec<u8> {
    let mut body = path_body(handle);
    body.extend_from_slice(&offset.to_be_bytes());
    body.extend_from_slice(&length.to_be_bytes());
    body
}

pub(super) fn write_body(handle: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
    let mut body = path_body(handle);
    body.extend_from_slice(&offset.to_be_bytes());
    string(&mut body, data);
    body
}

/// The handle an answer gives, or the answer that gives none.
pub(super) fn handle_of(answer: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
    if answer[0] == HANDLE { Ok(answer[9..].to_vec()) } else { Err(answer) }
}

/// The code of a STATUS; `None` where the answer is no STATUS.
pub(super) fn status(answer: &[u8]) -> Option<u32> {
    (answer[0] == STATUS).then(|| u32::from_be_bytes(answer[5..9].try_into().unwrap()))
}
