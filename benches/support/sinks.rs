//! Providers that take everything, each in a process of its own so that the CPU of the bench is ours.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// A sink that runs until it is dropped.
pub struct Sink {
    child: Child,
    pub port: u16,
    /// Which program it is.
    pub name: String,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Sink {
    /// Postfix's `smtp-sink`, if `SMTP_SINK` names it or it is installed, else our own.
    pub fn smtp() -> Sink {
        let named = std::env::var("SMTP_SINK").ok();
        let installed = || Some("/usr/sbin/smtp-sink".to_owned());
        let program = named.or_else(installed).filter(|p| std::path::Path::new(p).exists());
        match program {
            Some(program) => Sink::postfix(&program),
            None => Sink::own("smtp"),
        }
    }

    pub fn http() -> Sink {
        Sink::own("http")
    }

    fn postfix(program: &str) -> Sink {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // As root it insists on another user.
        let child = Command::new(program)
            .args(["-4", "-u", "nobody", &format!("inet:127.0.0.1:{port}"), "1024"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let sink = Sink { child, port, name: "Postfix smtp-sink".to_owned() };
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        sink
    }

    /// This program again, with `--sink`.
    fn own(kind: &str) -> Sink {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--sink", kind])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Sink { child, port: line.trim().parse().unwrap(), name: format!("built-in {kind} sink") }
    }
}

/// The process of a sink of our own: tells its port, then serves for ever.
pub fn serve(kind: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        std::io::stdout().flush().unwrap();
        if kind == "http" {
            let count = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&count);
            let told = move || async move { counted.load(Ordering::Relaxed).to_string() };
            let answer = move || async move {
                count.fetch_add(1, Ordering::Relaxed);
                r#"{"status":"ok","id":"m-1"}"#
            };
            let router =
                axum::Router::new().route("/count", axum::routing::get(told)).fallback(answer);
            axum::serve(listener, router).await.unwrap();
            return;
        }
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(smtp_session(socket));
        }
    });
}

/// Enough SMTP to take any message, answers to pipelined commands together.
async fn smtp_session(socket: tokio::net::TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = tokio::io::BufReader::new(socket);
    let (mut line, mut answers, mut in_data) = (Vec::new(), Vec::new(), false);
    socket.write_all(b"220 sink ESMTP\r\n").await?;
    loop {
        line.clear();
        if socket.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match line.get(..4) {
            _ if in_data && line == b".\r\n" => {
                in_data = false;
                b"250 2.0.0 Ok\r\n"
            }
            _ if in_data => b"",
            Some(b"EHLO") => b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            Some(b"DATA") => {
                in_data = true;
                b"354 go on\r\n"
            }
            Some(b"QUIT") => b"221 bye\r\n",
            _ => b"250 Ok\r\n",
        };
        answers.extend_from_slice(answer);
        if socket.buffer().is_empty() && !answers.is_empty() {
            socket.write_all(&answers).await?;
            answers.clear();
        }
    }
}
