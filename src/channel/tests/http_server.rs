//! An HTTP server that gives the answers it was given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) body: String,
    /// The client's port: the same for requests on one connection.
    pub(super) port: u16,
}

/// Answers each request with the bytes given, one after the other, the last for all that follow; then
/// hangs up, unless the answer says keep-alive. Empty bytes: only hangs up.
#[allow(clippy::disallowed_methods, reason = "the other side of a test")]
pub(super) async fn serve(answers: Vec<String>) -> (SocketAddr, Arc<Mutex<Vec<Request>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = seen.clone();
    tokio::spawn(async move {
        let mut served = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(request) = read(&mut stream).await {
                shared.lock().unwrap().push(request);
                let answer = &answers[served.min(answers.len() - 1)];
                served += 1;
                let _gone = stream.write_all(answer.as_bytes()).await;
                if !answer.contains("Connection: keep-alive") {
                    break;
                }
            }
        }
    });
    (address, seen)
}

/// A whole answer.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let port = stream.peer_addr().ok()?.port();
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(Request { head: head.to_owned(), body: body.to_owned(), port });
            }
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}
