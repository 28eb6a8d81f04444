//! The player of FTPS dialogues: lines on the control connection, bytes on the data connections.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::pattern;
use crate::doors::ftp::AnyCertificate;
use crate::doors::house::House;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) struct Client {
    control: BufReader<Box<dyn Stream>>,
    /// One for all connections, so that those for data resume the session of the control connection.
    tls: TlsConnector,
    address: SocketAddr,
    /// The command whose answer is awaited.
    command: String,
    protected: bool,
    /// Clients connect as soon as they know where to.
    data: Option<JoinHandle<std::io::Result<Box<dyn Stream>>>>,
}

impl Client {
    pub(super) async fn connect(house: &House) -> Client {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        let stream = TcpStream::connect(house.ftp).await.unwrap();
        Client {
            control: BufReader::new(Box::new(stream)),
            tls: TlsConnector::from(Arc::new(config)),
            address: house.ftp,
            command: String::new(),
            protected: false,
            data: None,
        }
    }

    pub(super) async fn send(&mut self, words: &[String]) -> Result<(), String> {
        self.command = words.join(" ");
        let line = format!("{}\r\n", self.command);
        self.control.write_all(line.as_bytes()).await.map_err(text)?;
        self.control.flush().await.map_err(text)
    }

    /// The code, or how it begins; each further word must stand in the reply.
    pub(super) async fn expect(&mut self, words: &[String]) -> Result<(), String> {
        let reply = self.reply().await?;
        if !reply.starts_with(&words[0]) || !words.iter().all(|word| reply.contains(word)) {
            return Err(format!("expected {}, heard {reply}", words.join(" ")));
        }
        match &reply[..3] {
            "234" => self.secure().await?,
            "200" if self.command == "PROT P" => self.protected = true,
            "227" | "229" => self.open_data(port_of(&reply).ok_or("no port in it")?),
            _ => {}
        }
        Ok(())
    }

    /// A whole reply, of as many lines as it has.
    async fn reply(&mut self) -> Result<String, String> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line).await.map_err(text)? == 0 {
                return Err(format!("the connection ends after \"{}\"", self.command));
            }
            let last = line.len() > 3
                && line.as_bytes()[3] == b' '
                && line[..3].bytes().all(|c| c.is_ascii_digit());
            reply.push_str(&line);
            if last {
                return Ok(reply);
            }
        }
    }

    async fn secure(&mut self) -> Result<(), String> {
        let nothing: Box<dyn Stream> = Box::new(tokio::io::empty());
        let clear = std::mem::replace(&mut self.control, BufReader::new(nothing)).into_inner();
        let secure = self.tls.connect(name(), clear).await.map_err(text)?;
        self.control = BufReader::new(Box::new(secure));
        Ok(())
    }

    fn open_data(&mut self, port: u16) {
        let (address, tls, protected) =
            (SocketAddr::new(self.address.ip(), port), self.tls.clone(), self.protected);
        self.data = Some(tokio::spawn(async move {
            let stream = TcpStream::connect(address).await?;
            let stream: Box<dyn Stream> = if protected {
                Box::new(tls.connect(name(), stream).await?)
            } else {
                Box::new(stream)
            };
            Ok(stream)
        }));
    }

    /// `push BYTES`: writes, says the end and is gone, without ever having read: an unread byte of ours would make
    /// the kernel reset the connection with the end of the upload still in it.
    async fn push(&mut self, bytes: usize) -> Result<(), String> {
        let stream = self.data.take().ok_or("no data connection")?;
        let mut stream = stream.await.map_err(text)?.map_err(text)?;
        stream.write_all(&pattern(bytes)).await.map_err(text)?;
        stream.shutdown().await.map_err(text)
    }

    /// `send BYTES`, `receive BYTES [FROM]`, `lists NAME…`: each ends the connection properly and sees it ended so.
    pub(super) async fn data(&mut self, words: &[String]) -> Result<(), String> {
        if words[0] == "push" {
            return self.push(words[1].parse().map_err(text)?).await;
        }
        let stream = self.data.take().ok_or("no data connection")?;
        let mut stream = stream.await.map_err(text)?.map_err(text)?;
        let number = |index: usize| {
            words.get(index).map_or(Ok(0), |word| word.parse::<usize>()).map_err(text)
        };
        if words[0] == "send" {
            stream.write_all(&pattern(number(1)?)[number(2)?..]).await.map_err(text)?;
            stream.shutdown().await.map_err(text)?;
        }
        // An end of TLS without close_notify is an error here.
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.map_err(text)?;
        let good = match words[0].as_str() {
            "send" => heard.is_empty(),
            "receive" => heard == pattern(number(1)?)[number(2)?..],
            "lists" => {
                let heard = String::from_utf8_lossy(&heard);
                words[1..].iter().all(|word| heard.contains(word))
            }
            other => return Err(format!("no such step: {other}")),
        };
        if good {
            Ok(())
        } else {
            Err(format!("heard {}", String::from_utf8_lossy(&heard[..heard.len().min(500)])))
        }
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("this is a name")
}

/// The port of a reply to PASV or EPSV.
fn port_of(reply: &str) -> Option<u16> {
    let inner = reply.split_once('(')?.1.split_once(')')?.0;
    if let Some(port) = inner.strip_prefix("|||") {
        return port.trim_end_matches('|').parse().ok();
    }
    let numbers: Vec<u16> = inner.split(',').filter_map(|number| number.parse().ok()).collect();
    Some(numbers.get(4)? * 256 + numbers.get(5)?)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
