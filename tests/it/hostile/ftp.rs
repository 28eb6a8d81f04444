//! An FTP client that sends what it is told, in clear or in TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ClientConfig;

use super::daemon::{PASSWORD, connect, connect_from};
use super::tls::{self, Wire};

/// Lets accounts with `ftp` in without TLS.
pub(super) const CLEAR_TOO: &str = "ftp.tls = \"optional\"";

pub(super) struct Ftp {
    pub(super) control: Wire,
    /// Received and not yet read.
    received: Vec<u8>,
    pub(super) client: Arc<ClientConfig>,
}

/// What the server answered; a reply of several lines is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) text: String,
}

impl Reply {
    /// Not what was asked for: 4xx or 5xx.
    pub(super) fn refuses(&self) -> bool {
        (400..600).contains(&self.code)
    }
}

impl Ftp {
    /// Connected, greeting read, in clear.
    pub(super) fn greet(to: SocketAddr) -> Ftp {
        Ftp::over(connect(to)).expect("a greeting")
    }

    /// The same over a connection that is there.
    pub(super) fn over(stream: TcpStream) -> io::Result<Ftp> {
        let control = Wire::Clear(stream);
        let mut ftp = Ftp { control, received: Vec::new(), client: tls::client() };
        let greeting = ftp.reply()?;
        if greeting.code == 220 { Ok(ftp) } else { Err(io::Error::other(format!("{greeting:?}"))) }
    }

    /// In TLS, data too.
    pub(super) fn secure(to: SocketAddr) -> Ftp {
        let mut ftp = Ftp::greet(to);
        assert_eq!(ftp.ask("AUTH TLS").code, 234);
        ftp.upgrade().expect("TLS");
        assert_eq!(ftp.ask("PBSZ 0").code, 200);
        assert_eq!(ftp.ask("PROT P").code, 200);
        ftp
    }

    /// Goes on in TLS from here.
    pub(super) fn upgrade(&mut self) -> io::Result<()> {
        let Wire::Clear(stream) = &self.control else { panic!("TLS in TLS") };
        self.control = Wire::secure(stream.try_clone()?, self.client.clone())?;
        Ok(())
    }

    /// Logged in over TLS.
    pub(super) fn login(to: SocketAddr, account: &str) -> Ftp {
        let mut ftp = Ftp::secure(to);
        ftp.authenticate(account);
        ftp
    }

    /// Logged in in clear.
    pub(super) fn login_clear(to: SocketAddr, account: &str) -> Ftp {
        let mut ftp = Ftp::greet(to);
        ftp.authenticate(account);
        ftp
    }

    fn authenticate(&mut self, account: &str) {
        assert_eq!(self.ask(format!("USER {account}")).code, 331);
        assert_eq!(self.ask(format!("PASS {PASSWORD}")).code, 230);
        assert_eq!(self.ask("TYPE I").code, 200);
    }

    /// Sends bytes as they are.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.control.write_all(bytes)?;
        self.control.flush()
    }

    /// Sends a command and reads its reply.
    pub(super) fn ask(&mut self, command: impl AsRef<[u8]>) -> Reply {
        let command = command.as_ref();
        let asked = || String::from_utf8_lossy(command).into_owned();
        let reply = self.try_ask(command);
        reply.unwrap_or_else(|error| panic!("no reply to {}: {error}", asked()))
    }

    /// The same where the server may have gone.
    pub(super) fn try_ask(&mut self, command: impl AsRef<[u8]>) -> io::Result<Reply> {
        self.send(&[command.as_ref(), b"\r\n"].concat())?;
        self.reply()
    }

    /// Reads the next reply.
    pub(super) fn reply(&mut self) -> io::Result<Reply> {
        let first = self.line()?;
        let code = first.get(..3).and_then(|code| code.parse().ok());
        let code: u16 = code.ok_or_else(|| io::Error::other(format!("no reply: {first:?}")))?;
        let mut text = first.clone();
        if first.as_bytes().get(3) == Some(&b'-') {
            let last = format!("{code} ");
            loop {
                let line = self.line()?;
                text.push('\n');
                text.push_str(&line);
                if line.starts_with(&last) {
                    break;
                }
            }
        }
        Ok(Reply { code, text })
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut part = [0; 4096];
            match self.control.read(&mut part)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&part[..count]),
            }
        }
    }

    /// Asks for a port and gives where it is.
    pub(super) fn passive(&mut self) -> SocketAddr {
        let reply = self.ask("EPSV");
        let port = reply.text.split('|').nth(3).and_then(|port| port.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("no port: {reply:?}"));
        SocketAddr::new(self.control.tcp().peer_addr().unwrap().ip(), port)
    }

    /// A data connection from where the control connection comes from, not yet in TLS.
    pub(super) fn data(&mut self) -> TcpStream {
        let to = self.passive();
        let from = self.control.tcp().local_addr().unwrap().ip();
        connect_from(from, to).expect("a data connection")
    }

    /// The data connection as this session has it: in TLS where the control connection is.
    pub(super) fn protect(&self, data: TcpStream) -> io::Result<Wire> {
        match self.control {
            Wire::Clear(_) => Ok(Wire::Clear(data)),
            Wire::Tls(_) => Wire::secure(data, self.client.clone()),
        }
    }

    /// Begins a transfer; the data connection, or the reply that refuses.
    pub(super) fn transfer(&mut self, command: impl AsRef<[u8]>) -> Result<Wire, Reply> {
        let data = self.data();
        let reply = self.ask(command);
        if reply.code != 150 && reply.code != 125 {
            return Err(reply);
        }
        Ok(self.protect(data).expect("TLS on the data connection"))
    }

    /// Sends a file; the last reply.
    pub(super) fn put(&mut self, command: impl AsRef<[u8]>, bytes: &[u8]) -> Reply {
        match self.transfer(command) {
            Ok(mut data) => {
                // The server may refuse in the middle; its reply says so.
                let _refused = data.write_all(bytes).is_err();
                data.finish();
                self.reply().expect("a reply at the end")
            }
            Err(reply) => reply,
        }
    }

    /// Fetches a file or a listing, with the last reply.
    pub(super) fn get(&mut self, command: impl AsRef<[u8]>) -> (Vec<u8>, Reply) {
        match self.transfer(command) {
            Ok(data) => {
                let bytes = data.read_all().expect("a proper end of the data");
                (bytes, self.reply().expect("a reply at the end"))
            }
            Err(reply) => (Vec::new(), reply),
        }
    }
}
