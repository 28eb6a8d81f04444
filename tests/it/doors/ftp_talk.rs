//! FTP and FTPS line by line, as no client library would dare to speak it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dropchute::transfer::{FtpSettings, Limits, SessionReuse, TlsMode};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::ftp::AnyCertificate;
use super::house::{House, PASSWORD, PATIENCE};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A control connection.
struct Talk {
    wire: Box<dyn Stream>,
    tls: Option<TlsConnector>,
    server: SocketAddr,
    read: Vec<u8>,
}

impl Talk {
    async fn begin(house: &House) -> Talk {
        let wire = Box::new(TcpStream::connect(house.ftp).await.unwrap());
        let mut talk = Talk { wire, tls: None, server: house.ftp, read: Vec::new() };
        assert_eq!(talk.code().await, 220);
        talk
    }

    /// In clear, as the account that may.
    async fn old(house: &House) -> Talk {
        let mut talk = Talk::begin(house).await;
        talk.login("old").await;
        talk
    }

    async fn erp_under_tls(house: &House, resumption: Resumption) -> Talk {
        let mut talk = Talk::under_tls(house, resumption).await;
        talk.login("erp").await;
        assert_eq!(talk.ask("PBSZ 0").await, 200);
        assert_eq!(talk.ask("PROT P").await, 200);
        talk
    }

    async fn under_tls(house: &House, resumption: Resumption) -> Talk {
        let mut tcp = TcpStream::connect(house.ftp).await.unwrap();
        let mut greeting = [0; 64];
        assert!(tcp.read(&mut greeting).await.unwrap() > 0);
        tcp.write_all(b"AUTH TLS\r\n").await.unwrap();
        let read = tcp.read(&mut greeting).await.unwrap();
        assert!(greeting[..read].starts_with(b"234 "));
        Talk::handshake(house, tcp, resumption).await
    }

    async fn handshake(house: &House, tcp: TcpStream, resumption: Resumption) -> Talk {
        let connector = connector(resumption);
        let wire = Box::new(secured(&connector, tcp).await.unwrap());
        Talk { wire, tls: Some(connector), server: house.ftp, read: Vec::new() }
    }

    async fn login(&mut self, account: &str) {
        assert_eq!(self.ask(&format!("USER {account}")).await, 331);
        assert_eq!(self.ask(&format!("PASS {PASSWORD}")).await, 230);
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write_all(bytes.as_ref()).await.unwrap();
        self.wire.flush().await.unwrap();
    }

    /// Sends a line and returns the code of the answer.
    async fn ask(&mut self, line: impl AsRef<[u8]>) -> u16 {
        self.send([line.as_ref(), b"\r\n"].concat()).await;
        self.code().await
    }

    /// Sends a line and returns the whole answer.
    async fn hear(&mut self, line: impl AsRef<[u8]>) -> Vec<u8> {
        self.send([line.as_ref(), b"\r\n"].concat()).await;
        self.answer().await
    }

    async fn code(&mut self) -> u16 {
        let answer = self.answer().await;
        std::str::from_utf8(&answer[..3]).unwrap().parse().unwrap()
    }

    /// One answer of one or more lines; panics where the connection ends.
    async fn answer(&mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        loop {
            let line = self.line().await.expect("an answer");
            answer.extend(&line);
            if line.len() > 3 && line[..3].iter().all(u8::is_ascii_digit) && line[3] == b' ' {
                return answer;
            }
        }
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Some(self.read.drain(..=end).collect());
            }
            let mut piece = [0; 1024];
            let read = tokio::time::timeout(PATIENCE, self.wire.read(&mut piece));
            match read.await.expect("an answer in time") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend(&piece[..count]),
            }
        }
    }

    async fn port(&mut self) -> u16 {
        let answer = self.hear("EPSV").await;
        let answer = String::from_utf8(answer).unwrap();
        answer.split('|').nth(3).expect("a port").parse().unwrap()
    }

    /// A data connection, not yet under TLS.
    async fn data(&mut self) -> TcpStream {
        let port = self.port().await;
        TcpStream::connect((self.server.ip(), port)).await.unwrap()
    }

    /// Sends a command that takes bytes; returns the last code.
    async fn put(&mut self, line: impl AsRef<[u8]>, bytes: &[u8]) -> u16 {
        let data = self.data().await;
        let code = self.ask(line).await;
        if code != 150 {
            return code;
        }
        match self.tls.clone() {
            Some(connector) => {
                let Ok(mut data) = secured(&connector, data).await else {
                    return self.code().await;
                };
                // Whether they arrived is for the answer to say.
                data.write_all(bytes).await.ok();
                data.shutdown().await.ok();
                // Our end, and before it the tickets for data connections to come.
                data.read_to_end(&mut Vec::new()).await.ok();
                self.code().await
            }
            None => {
                let mut data = data;
                data.write_all(bytes).await.unwrap();
                drop(data);
                self.code().await
            }
        }
    }

    /// Sends a command that gives bytes; `Err` holds a code that was not 150.
    async fn get(&mut self, line: impl AsRef<[u8]>) -> Result<Vec<u8>, u16> {
        let mut data = self.data().await;
        let code = self.ask(line).await;
        if code != 150 {
            return Err(code);
        }
        let mut bytes = Vec::new();
        match self.tls.clone() {
            Some(connector) => {
                let mut data = secured(&connector, data).await.unwrap();
                data.read_to_end(&mut bytes).await.expect("bytes, and TLS's own end");
            }
            None => {
                data.read_to_end(&mut bytes).await.unwrap();
            }
        }
        match self.code().await {
            226 => Ok(bytes),
            code => Err(code),
        }
    }
}

fn connector(resumption: Resumption) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.resumption = resumption;
    TlsConnector::from(Arc::new(config))
}

async fn secured(
    connector: &TlsConnector,
    tcp: TcpStream,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

fn here() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn clear() -> House {
    House::with(TlsMode::Optional, Limits::default())
}

fn reusing(tls_session_reuse: SessionReuse) -> House {
    let ftp = FtpSettings { listen: vec![here()], tls_session_reuse, ..FtpSettings::default() };
    House::speaking(ftp, Limits::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_parameter_never_ends_the_session() {
    let house = clear();
    let mut talk = Talk::begin(&house).await;
    for (line, code) in [("", 500), ("LIST", 530), ("STOR x", 530), ("FEAT", 211), ("PROT P", 503)]
    {
        assert_eq!(talk.ask(line).await, code, "{line}");
    }
    talk.login("old").await;
    let rows: &[(&[u8], u16)] = &[
        (b"MODE Z", 504),
        (b"TYPE A", 200),
        (b"REST abc", 501),
        (b"SIZE", 501),
        (b"SIZE /nowhere", 550),
        (b"SIZE /inbox", 550),
        (b"CWD /inbox/x\0y", 501),
        (b"OPTS UTF8 ON", 200),
        (b"OPTS MLST type;size;", 200),
        (b"RNTO x", 503),
        (b"LIST", 425),
        (b"PORT 127,0,0,1,200,1", 502),
        (b"ALLO 99999999999", 552),
        (b"MKD /inbox/new", 550),
        (b"STAT /media", 213),
        (b"STAT", 211),
        (b"SITE CHMOD 644 /media", 200),
        (b"EPSV 2", 522),
        (b"EPSV ALL", 200),
        (b"PASV", 501),
        (b"CDUP", 250),
        (b"CWD ..", 250),
        (b"ABOR", 226),
        (b"NOOP", 200),
    ];
    for (line, code) in rows {
        assert_eq!(talk.ask(line).await, *code, "{}", line.escape_ascii());
    }
    assert_eq!(talk.hear("PWD").await, b"257 \"/\" is where you are.\r\n");
    assert_eq!(talk.ask(vec![b'x'; 20_000]).await, 500);
    assert_eq!(talk.ask("NOOP").await, 200);
    talk.send(vec![b'x'; 100_000]).await;
    assert_eq!(talk.code().await, 500);
    assert_eq!(talk.line().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_may_be_sent_ahead_of_their_answers() {
    let house = clear();
    let mut talk = Talk::begin(&house).await;
    let login = format!("USER old\r\nPASS {PASSWORD}\r\nCWD inbox\r\nPWD\r\nQUIT\r\n");
    talk.send(login).await;
    for code in [331, 230, 250, 257, 221] {
        assert_eq!(talk.code().await, code);
    }
    assert_eq!(talk.line().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_bytes_in_media_and_text_in_the_inbox() {
    let house = clear();
    let mut talk = Talk::old(&house).await;
    for name in [&b"\xfcber \xe9\xff\xf4"[..], "grüße 🎈".as_bytes(), b" [x] \x1b", &[b'n'; 255]]
    {
        let path = [b"/media/", name].concat();
        assert_eq!(talk.put([b"STOR ", &path[..]].concat(), b"bytes").await, 226);
        assert_eq!(talk.get([b"RETR ", &path[..]].concat()).await, Ok(b"bytes".to_vec()));
        let listed = talk.get("NLST /media").await.unwrap();
        assert_eq!(listed, [&path[..], b"\r\n"].concat());
        assert_eq!(talk.ask([b"DELE ", &path[..]].concat()).await, 250);
    }
    assert_eq!(talk.put(b"STOR /inbox/\xfc.csv", b"x").await, 553);
    assert_eq!(talk.put("STOR /inbox/ü.csv", b"x").await, 226);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_take_patterns_and_refuse_before_they_begin() {
    let house = clear();
    let mut talk = Talk::old(&house).await;
    for name in ["a.csv", "b.csv", "c.txt"] {
        assert_eq!(talk.put(format!("STOR /media/{name}"), b"12345").await, 226);
    }
    assert_eq!(talk.ask("CWD media").await, 250);
    assert_eq!(talk.get("NLST *.csv").await.unwrap(), b"a.csv\r\nb.csv\r\n");
    assert_eq!(talk.get("NLST /media/[bc]*").await.unwrap(), b"/media/b.csv\r\n/media/c.txt\r\n");
    assert_eq!(talk.get("NLST -a *.pdf").await.unwrap(), b"");
    let facts = String::from_utf8(talk.get("MLSD").await.unwrap()).unwrap();
    assert!(facts.starts_with("type=file;size=5;modify="), "{facts}");
    assert_eq!(facts.lines().count(), 3);
    let long = String::from_utf8(talk.get("LIST -la").await.unwrap()).unwrap();
    assert!(long.lines().all(|line| line.starts_with("-rw")), "{long}");
    for line in ["MLSD nowhere", "LIST nowhere", "NLST nowhere", "MLSD a.csv", "RETR nowhere"] {
        assert_eq!(talk.get(line).await, Err(550), "{line}");
    }
    let hash = talk.hear("HASH a.csv").await;
    let expected = "213 SHA-256 0-5 \
                    5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5 a.csv\r\n";
    assert_eq!(String::from_utf8(hash).unwrap(), expected);
    assert_eq!(talk.hear("XCRC a.csv").await, b"250 cbf53a1c\r\n");
    assert_eq!(talk.ask("REST 6").await, 350);
    assert_eq!(talk.get("RETR a.csv").await, Err(554));
    assert_eq!(talk.ask("REST 3").await, 350);
    assert_eq!(talk.get("RETR a.csv").await, Ok(b"45".to_vec()));
    let time = talk.hear("MFMT 20200102030405 a.csv").await;
    assert_eq!(time, b"213 Modify=20200102030405; a.csv\r\n");
    assert_eq!(talk.hear("MDTM a.csv").await, b"213 20200102030405\r\n");
    assert_eq!(talk.put("STOU a.csv", b"x").await, 226);
    assert_eq!(talk.get("NLST a_*.csv").await.unwrap().len(), "a_01234567.csv\r\n".len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_can_be_watched_and_called_off() {
    let house = clear();
    let mut talk = Talk::old(&house).await;
    for abort in [&b"ABOR\r\n"[..], b"\xff\xf4\xff\xf2ABOR\r\n"] {
        let mut data = talk.data().await;
        assert_eq!(talk.ask("STOR /inbox/a.csv").await, 150);
        data.write_all(b"12345").await.unwrap();
        assert_eq!(talk.ask("NOOP").await, 200);
        while talk.hear("STAT").await != b"213 5 bytes so far.\r\n" {}
        talk.send(abort).await;
        assert_eq!((talk.code().await, talk.code().await), (426, 226));
        assert_eq!(talk.ask("NOOP").await, 200);
    }
    // QUIT waits for the transfer, and what is asked meanwhile is answered after it.
    let mut data = talk.data().await;
    assert_eq!(talk.ask("STOR /inbox/b.csv").await, 150);
    talk.send("SIZE /inbox/b.csv\r\nQUIT\r\n").await;
    data.write_all(b"12345").await.unwrap();
    drop(data);
    for code in [226, 213, 221] {
        assert_eq!(talk.code().await, code);
    }
    assert!(!house.path("inbox/a.csv").exists());
    assert_eq!(house.last().path, "inbox/b.csv");
}

/// Python's ftplib sends ABOR as urgent data: the kernel cuts the line in two before its last byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urgent_bytes_are_read_where_they_stand() {
    let house = clear();
    let control = TcpStream::connect(house.ftp).await.unwrap().into_std().unwrap();
    let urgent = control.try_clone().unwrap();
    let wire = Box::new(TcpStream::from_std(control).unwrap());
    let mut talk = Talk { wire, tls: None, server: house.ftp, read: Vec::new() };
    assert_eq!(talk.code().await, 220);
    for line in [&b"NOOP\r\n"[..], b"\xff\xf4\xff\xf2NOOP\r\n"] {
        assert_eq!(socket2::SockRef::from(&urgent).send_out_of_band(line).unwrap(), line.len());
        assert_eq!(talk.code().await, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_sender_dies_is_not_published() {
    let house = clear();
    for reset in [false, true] {
        let control = TcpSocket::new_v4().unwrap();
        let control = control.connect(house.ftp).await.unwrap();
        let mut talk = Talk { wire: Box::new(control), tls: None, server: house.ftp, read: vec![] };
        assert_eq!(talk.code().await, 220);
        talk.login("old").await;
        let mut data = talk.data().await;
        assert_eq!(talk.ask("STOR /inbox/cut.csv").await, 150);
        data.write_all(b"half").await.unwrap();
        while talk.hear("STAT").await != b"213 4 bytes so far.\r\n" {}
        if reset {
            // Closing with an answer unread makes the kernel send a reset.
            talk.send("NOOP\r\n").await;
            tokio::time::timeout(PATIENCE, talk.wire.read(&mut [0; 1])).await.unwrap().unwrap();
        }
        drop(talk);
        // The server ends the data connection when it has given the upload up.
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, data.read_to_end(&mut rest)).await.unwrap().ok();
    }
    let recorded = house.recorded.clone();
    let folder = house.close().await;
    assert!(!folder.path().join("tenants/acme/inbox/cut.csv").exists());
    assert_eq!(*recorded.lock().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_upload_is_taken_back_when_its_sender_is_lost_at_once() {
    let house = clear();
    let path = house.path("inbox/a.csv");
    for (words, taken_back) in [("NOOP\r\n", true), ("NOOP\r\nQUIT\r\n", false)] {
        let control = TcpStream::connect(house.ftp).await.unwrap().into_std().unwrap();
        let double = control.try_clone().unwrap();
        let wire = Box::new(TcpStream::from_std(control).unwrap());
        let mut talk = Talk { wire, tls: None, server: house.ftp, read: Vec::new() };
        assert_eq!(talk.code().await, 220);
        talk.login("old").await;
        assert_eq!(talk.put("STOR /inbox/a.csv", b"whole").await, 226);
        assert!(path.exists());
        talk.send(words).await;
        // Closed with a linger of nothing, a connection is reset; what was sent before arrives.
        assert_eq!(talk.code().await, 200);
        socket2::SockRef::from(&double).set_linger(Some(Duration::ZERO)).unwrap();
        drop((talk, double));
        if taken_back {
            let gone = async {
                while path.exists() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, gone).await.expect("the loss is noticed");
        }
    }
    // When the doors have closed, nobody is left who could take it back.
    let _folder = house.close().await;
    assert!(path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_connections_of_another_address_are_sent_away() {
    let house = clear();
    let mut talk = Talk::old(&house).await;
    let port = talk.port().await;
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let thief = TcpSocket::new_v4().unwrap();
    thief.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut thief = thief.connect(server).await.unwrap();
    let mut data = TcpStream::connect(server).await.unwrap();
    assert_eq!(talk.ask("STOR /media/a").await, 150);
    let mut stolen = Vec::new();
    tokio::time::timeout(PATIENCE, thief.read_to_end(&mut stolen)).await.unwrap().ok();
    data.write_all(b"mine").await.unwrap();
    drop(data);
    assert_eq!(talk.code().await, 226);
    assert_eq!(std::fs::read(house.path("media/a")).unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_connection_that_never_comes_is_not_waited_for() {
    let limits = Limits { data_timeout: Duration::from_millis(100), ..Limits::default() };
    let house = House::with(TlsMode::Optional, limits);
    let mut talk = Talk::old(&house).await;
    talk.send("EPSV\r\nSTOR /inbox/a.csv\r\n").await;
    for code in [229, 150, 425] {
        assert_eq!(talk.code().await, code);
    }
    assert_eq!(talk.ask("NOOP").await, 200);
    assert!(!house.path("inbox/a.csv").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn active_mode_goes_to_the_clients_own_address_only() {
    let ftp = FtpSettings {
        listen: vec![here()],
        tls: TlsMode::Optional,
        active: true,
        ..FtpSettings::default()
    };
    let house = House::speaking(ftp, Limits::default());
    let mut talk = Talk::old(&house).await;
    assert_eq!(talk.ask("PORT 127,0,0,2,200,1").await, 501);
    assert_eq!(talk.ask("PORT 127,0,0,1,0,22").await, 501);
    assert_eq!(talk.ask("EPRT |1|192.0.2.1|50000|").await, 501);
    let listener = tokio::net::TcpListener::bind(here()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(talk.ask(format!("EPRT |1|127.0.0.1|{port}|")).await, 200);
    assert_eq!(talk.ask("STOR /media/a").await, 150);
    let (mut data, _) = listener.accept().await.unwrap();
    data.write_all(b"called").await.unwrap();
    drop(data);
    assert_eq!(talk.code().await, 226);
    assert_eq!(std::fs::read(house.path("media/a")).unwrap(), b"called");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_in_clear_behind_auth_never_counts() {
    let house = House::open();
    let mut talk = Talk::begin(&house).await;
    talk.send("AUTH TLS\r\nUSER erp\r\n").await;
    assert_eq!(talk.code().await, 421);
    assert_eq!(talk.line().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_cannot_be_taken_off_again() {
    let house = House::open();
    let mut talk = Talk::under_tls(&house, Resumption::default()).await;
    assert_eq!(talk.ask("PROT P").await, 503);
    talk.login("erp").await;
    let rows = [("AUTH TLS", 503), ("CCC", 534), ("PBSZ 0", 200), ("PROT C", 534), ("USER x", 503)];
    for (line, code) in rows {
        assert_eq!(talk.ask(line).await, code, "{line}");
    }
    // Without PROT P no data connection comes about.
    let data = talk.data().await;
    assert_eq!(talk.ask("STOR /inbox/a.csv").await, 521);
    drop(data);
    assert_eq!(talk.ask("PROT P").await, 200);
    assert_eq!(talk.put("STOR /inbox/a.csv", b"x").await, 226);
    assert_eq!(talk.ask("REIN").await, 220);
    assert_eq!(talk.ask("PWD").await, 530);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_in_clear_beside_tls_proves_no_more_than_ftp() {
    let house = clear();
    let mut talk = Talk::under_tls(&house, Resumption::default()).await;
    talk.login("old").await;
    talk.tls = None;
    assert_eq!(talk.put("STOR /inbox/a.csv", b"x").await, 226);
    assert_eq!((house.last().protocol, house.last().weak), ("ftp", true));
    let mut talk = Talk::under_tls(&house, Resumption::default()).await;
    talk.login("erp").await;
    talk.tls = None;
    assert_eq!(talk.put("STOR /inbox/a.csv", b"x").await, 521);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_sessions_must_be_resumed_others_are_refused() {
    let house = reusing(SessionReuse::Required);
    let mut talk = Talk::erp_under_tls(&house, Resumption::default()).await;
    for number in 0..6 {
        let bytes = vec![7; number * 1000];
        assert_eq!(talk.put("STOR /media/a", &bytes).await, 226, "{number}");
        assert_eq!(talk.get("RETR /media/a").await, Ok(bytes), "{number}");
    }
    let mut fresh = Talk::erp_under_tls(&house, Resumption::disabled()).await;
    assert_eq!(fresh.put("STOR /media/a", b"x").await, 522);
    assert_eq!(fresh.ask("NOOP").await, 200);
    // A session of another control connection is none of this one.
    fresh.tls = talk.tls.clone();
    assert_eq!(fresh.put("STOR /media/a", b"x").await, 522);

    let house = reusing(SessionReuse::Preferred);
    let mut fresh = Talk::erp_under_tls(&house, Resumption::disabled()).await;
    assert_eq!(fresh.put("STOR /media/a", b"x").await, 226);
    let house = reusing(SessionReuse::Off);
    let mut talk = Talk::erp_under_tls(&house, Resumption::default()).await;
    assert_eq!(talk.put("STOR /media/a", b"x").await, 226);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_place_of_tls_ends_the_transfer_only() {
    let house = House::open();
    let mut talk = Talk::erp_under_tls(&house, Resumption::default()).await;
    let mut data = talk.data().await;
    assert_eq!(talk.ask("STOR /inbox/a.csv").await, 150);
    data.write_all(&[b'x'; 1000]).await.unwrap();
    assert_eq!(talk.code().await, 522);
    assert_eq!(talk.put("STOR /inbox/a.csv", b"x").await, 226);
    // An end without TLS's own is a cut.
    let data = talk.data().await;
    assert_eq!(talk.ask("STOR /inbox/b.csv").await, 150);
    let mut data = secured(&talk.tls.clone().unwrap(), data).await.unwrap();
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    drop(data);
    assert_eq!(talk.code().await, 426);
    assert!(!house.path("inbox/b.csv").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn implicit_ftps_begins_with_tls_and_protects_data() {
    let ftp =
        FtpSettings { listen: Vec::new(), implicit_listen: vec![here()], ..FtpSettings::default() };
    let house = House::speaking(ftp, Limits::default());
    let tcp = TcpStream::connect(house.ftp).await.unwrap();
    let mut talk = Talk::handshake(&house, tcp, Resumption::default()).await;
    assert_eq!(talk.code().await, 220);
    talk.login("erp").await;
    assert_eq!(talk.put("STOR /inbox/a.csv", b"x").await, 226);
    assert_eq!(house.last().protocol, "ftps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_idles_and_who_is_there_at_the_end_hears_so() {
    let limits = Limits { idle_timeout: Duration::from_millis(50), ..Limits::default() };
    let house = House::with(TlsMode::Optional, limits);
    let mut talk = Talk::begin(&house).await;
    assert_eq!(talk.code().await, 421);
    assert_eq!(talk.line().await, None);

    let house = clear();
    let mut talk = Talk::old(&house).await;
    house.token.cancel();
    let answer = talk.answer().await;
    assert!(answer.starts_with(b"421 The server is stopping"), "{answer:?}");
    assert_eq!(talk.line().await, None);
    house.close().await;
}
