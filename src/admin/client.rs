//! The command line's side of the control socket: one question, one JSON answer.
//!
//! Blocking, because a command does nothing else meanwhile.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::listen::CONTROL_SOCKET;

/// How long one read or write may wait.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The largest answer taken.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a running daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon is running on {data_dir:?}")]
    NotRunning { data_dir: PathBuf },
    #[error("may not open the control socket in {data_dir:?}: run as the daemon's user")]
    NotAllowed { data_dir: PathBuf },
    #[error("talk to the daemon")]
    Io(#[source] io::Error),
    /// What was asked cannot be done; the sentence is the daemon's.
    #[error("{reason}")]
    Refused { reason: String },
    #[error("the daemon's answer is cut or is not JSON over HTTP")]
    Unreadable,
}

/// Asks the daemon that serves `data_dir`; `path` is such as `/batches?tenant=acme`, percent-encoded.
pub fn ask(data_dir: &Path, path: &str) -> Result<Value, ClientError> {
    request(data_dir, "GET", path)
}

/// Tells the daemon that serves `data_dir` to do something; `path` as in [`ask`].
pub fn tell(data_dir: &Path, path: &str) -> Result<Value, ClientError> {
    request(data_dir, "POST", path)
}

fn request(data_dir: &Path, method: &str, path: &str) -> Result<Value, ClientError> {
    let mut stream = UnixStream::connect(data_dir.join(CONTROL_SOCKET))
        .map_err(|error| connect_error(error, data_dir))?;
    let answer = exchange(&mut stream, method, path).map_err(ClientError::Io)?;
    let (status, body) = read_answer(&answer).ok_or(ClientError::Unreadable)?;
    if status == 200 {
        return Ok(body);
    }
    let reason = body["error"].as_str().unwrap_or("no reason given").to_owned();
    Err(ClientError::Refused { reason })
}

fn connect_error(error: io::Error, data_dir: &Path) -> ClientError {
    let data_dir = data_dir.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning { data_dir }
        }
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed { data_dir },
        _ => ClientError::Io(error),
    }
}

fn exchange(stream: &mut UnixStream, method: &str, path: &str) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    let headers = "host: control\r\ncontent-length: 0\r\nconnection: close";
    write!(stream, "{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body, where the answer is whole.
fn read_answer(answer: &[u8]) -> Option<(u16, Value)> {
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let (status_line, headers) = head.split_once("\r\n")?;
    let status = status_line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length: usize = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })?;
    let body = answer[head_end + 4..].get(..length)?;
    Some((status, serde_json::from_slice(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_json_answer_is_read() {
        let whole = b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n{\"error\":\"x\"}";
        let (status, body) = read_answer(whole).unwrap();
        assert_eq!((status, body["error"].as_str()), (404, Some("x")));
        assert!(read_answer(&whole[..whole.len() - 1]).is_none());
        assert!(read_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrats").is_none());
        assert!(read_answer(b"HTTP/1.1 200 OK\r\n\r\n{}").is_none());
        assert!(read_answer(b"SSH-2.0-x\r\n\r\n").is_none());
    }

    #[test]
    fn without_a_daemon_the_message_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = ask(dir.path(), "/status").unwrap_err();
        assert!(error.to_string().starts_with("no daemon is running on "), "{error}");
    }
}
