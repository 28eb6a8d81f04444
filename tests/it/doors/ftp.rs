//! FTP and FTPS, with suppaftp as the client.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use dropchute::model::Proof;
use dropchute::transfer::{Limits, TlsMode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use suppaftp::tokio::{AsyncFtpStream, AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::types::FileType;
use suppaftp::{FtpError, Status};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::house::{House, PASSWORD, PATIENCE};

/// The doors' certificate is self-signed.
#[derive(Debug)]
pub(super) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

async fn secure(house: &House) -> AsyncRustlsFtpStream {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let ftp = AsyncRustlsFtpStream::connect(house.ftp).await.unwrap();
    ftp.into_secure(AsyncRustlsConnector::from(connector), "localhost").await.unwrap()
}

fn code(error: FtpError) -> Status {
    match error {
        FtpError::UnexpectedResponse(response) => response.status,
        other => panic!("no reply: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_in_over_ftps_and_an_answer_comes_out() {
    let house = House::open();
    let mut ftp = secure(&house).await;
    ftp.login("erp", PASSWORD).await.unwrap();
    ftp.transfer_type(FileType::Binary).await.unwrap();
    let bytes: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
    ftp.put_file("/inbox/a.csv.tmp", &mut Cursor::new(bytes.clone())).await.unwrap();
    ftp.rename("/inbox/a.csv.tmp", "/inbox/a.csv").await.unwrap();
    assert_eq!((house.last().protocol, house.last().weak), ("ftps", false));
    let stored = std::fs::read(house.path("inbox/a.csv")).unwrap();
    assert!(stored == bytes);
    assert_eq!(house.last().proof, Proof::Rename);
    assert_eq!(ftp.size("/inbox/a.csv").await.unwrap(), 2_000_000);

    std::fs::write(house.path("outbox/a.ack.csv"), &bytes).unwrap();
    assert!(ftp.nlst(Some("/outbox")).await.unwrap().contains(&"/outbox/a.ack.csv".to_owned()));
    let mut got = Vec::new();
    let mut data = ftp.retr_as_stream("/outbox/a.ack.csv").await.unwrap();
    data.read_to_end(&mut got).await.unwrap();
    data.finish().await.unwrap();
    assert!(got == bytes);
    ftp.rm("/outbox/a.ack.csv").await.unwrap();
    assert!(!house.path("outbox/a.ack.csv").exists());
    assert_eq!(code(ftp.rm("/spec/x").await.unwrap_err()), Status::FileUnavailable);
    let name = "/inbox/a\tb.csv";
    let refused = ftp.put_file(name, &mut Cursor::new(b"x")).await.unwrap_err();
    assert_eq!(code(refused), Status::BadFilename);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_tls_is_required_no_password_is_asked_for_in_clear() {
    let refused = ["530 No login without TLS: send AUTH TLS first.\r\n"; 3];
    let required = House::open();
    assert_eq!(heard_at_user(&required, ["erp", "nobody", "old"]).await, refused);
    let optional = House::with(TlsMode::Optional, Limits::default());
    let heard = heard_at_user(&optional, ["erp", "nobody", "old"]).await;
    assert_eq!(heard[..2], refused[..2]);
    assert!(heard[2].starts_with("331 "), "{heard:?}");
}

/// What follows the greeting when an account is named in clear: one line, for those who are refused.
async fn heard_at_user(house: &House, names: [&str; 3]) -> Vec<String> {
    let mut heard = Vec::new();
    for name in names {
        let stream = tokio::net::TcpStream::connect(house.ftp).await.unwrap();
        let mut lines = tokio::io::BufReader::new(stream);
        let mut answer = String::new();
        lines.read_line(&mut answer).await.unwrap();
        assert!(answer.starts_with("220 "), "{answer}");
        lines.write_all(format!("USER {name}\r\n").as_bytes()).await.unwrap();
        answer.clear();
        lines.read_line(&mut answer).await.unwrap();
        if answer.starts_with("530 ") {
            // The session goes on, and a password is not taken either.
            lines.write_all(b"PASS x\r\n").await.unwrap();
            let mut next = String::new();
            lines.read_line(&mut next).await.unwrap();
            assert!(next.starts_with("503 "), "{next}");
        }
        heard.push(answer);
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_clear_only_accounts_with_ftp_come_in() {
    let house = House::with(TlsMode::Optional, Limits::default());
    for (name, password) in [("erp", PASSWORD), ("nobody", PASSWORD), ("old", "wrong")] {
        let mut ftp = AsyncFtpStream::connect(house.ftp).await.unwrap();
        assert_eq!(code(ftp.login(name, password).await.unwrap_err()), Status::NotLoggedIn);
    }
    let mut ftp = AsyncFtpStream::connect(house.ftp).await.unwrap();
    ftp.login("old", PASSWORD).await.unwrap();
    ftp.put_file("/inbox/a.csv", &mut Cursor::new(b"0123456789")).await.unwrap();
    assert_eq!((house.last().protocol, house.last().weak), ("ftp", true));

    // A file is continued on a copy, and never beyond its end.
    ftp.resume_transfer(4).await.unwrap();
    ftp.put_file("/inbox/a.csv", &mut Cursor::new(b"x")).await.unwrap();
    assert_eq!(std::fs::read(house.path("inbox/a.csv")).unwrap(), b"0123x");
    ftp.append_file("/inbox/a.csv", &mut Cursor::new(b"yz")).await.unwrap();
    assert_eq!(std::fs::read(house.path("inbox/a.csv")).unwrap(), b"0123xyz");
    ftp.resume_transfer(100).await.unwrap();
    assert!(ftp.put_file("/inbox/a.csv", &mut Cursor::new(b"x")).await.is_err());
    assert_eq!(std::fs::read(house.path("inbox/a.csv")).unwrap(), b"0123xyz");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_stalls_or_breaks_off_is_never_seen_as_a_file() {
    let limits = Limits { stall_timeout: Duration::from_millis(300), ..Limits::default() };
    let house = House::with(TlsMode::Required, limits);
    let mut ftp = secure(&house).await;
    ftp.login("erp", PASSWORD).await.unwrap();
    let mut data = ftp.put_with_stream("/inbox/stalled.csv").await.unwrap();
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    // The doors end the transfer; the reply says that it failed.
    let reply = ftp.read_response(Status::ClosingDataConnection);
    let reply = tokio::time::timeout(PATIENCE, reply).await.expect("the stall is noticed");
    reply.unwrap_err();
    drop(data);

    let mut ftp = secure(&house).await;
    ftp.login("erp", PASSWORD).await.unwrap();
    let mut data = ftp.put_with_stream("/inbox/broken.csv").await.unwrap();
    data.write_all(b"half").await.unwrap();
    data.flush().await.unwrap();
    // Dropped without TLS's own end.
    drop(data);
    drop(ftp);
    let recorded = house.recorded.clone();
    let folder = house.close().await;
    for name in ["stalled.csv", "broken.csv"] {
        assert!(!folder.path().join("tenants/acme/inbox").join(name).exists(), "{name}");
    }
    assert_eq!(*recorded.lock().unwrap(), []);
}

/// `[::]` is the default; clients with IPv4 must be able to come in and to open data connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_open_everywhere_let_ipv4_clients_in() {
    let everywhere = "[::]:0".parse().unwrap();
    let house = House::at(everywhere, TlsMode::Optional, Limits::default());
    let mut ftp = AsyncFtpStream::connect(("127.0.0.1", house.ftp.port())).await.unwrap();
    ftp.login("old", PASSWORD).await.unwrap();
    ftp.put_file("/inbox/a.csv", &mut Cursor::new(b"x")).await.unwrap();
    let mut ssh = tokio::net::TcpStream::connect(("127.0.0.1", house.sftp.port())).await.unwrap();
    let mut greeting = [0; 8];
    ssh.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, *b"SSH-2.0-");
}
