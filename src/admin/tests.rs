//! Both listeners over real sockets, with a hand-written client.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    Admin, AdminError, ClientError, CommandAnswer, HaltTarget, Settings, Views, ask, tell,
};
use crate::batch::BatchOp;
use crate::model::ControlOp;

struct Running {
    address: std::net::SocketAddr,
    data_dir: TempDir,
    ready: Arc<AtomicBool>,
    token: CancellationToken,
    task: JoinHandle<()>,
}

fn settings(data_dir: &Path) -> Settings {
    Settings { listen: Some("127.0.0.1:0".parse().unwrap()), data_dir: data_dir.to_owned() }
}

fn views(ready: Arc<AtomicBool>) -> Views {
    Views {
        readiness: Arc::new(move || {
            if ready.load(Ordering::SeqCst) {
                return Vec::new();
            }
            vec!["the outbox of acme cannot be written".to_owned(), "the disk is full".to_owned()]
        }),
        metrics: Arc::new(|| "# EOF\n".to_owned()),
        status: Arc::new(|| json!({ "version": "1" })),
        batches: Arc::new(|query| json!([{ "tenant": query.tenant, "limit": query.limit }])),
        bans: Arc::new(|| json!({ "bans": [] })),
        remove_bans: Arc::new(|address| json!({ "removed": address })),
        sessions: Arc::new(|query| json!({ "sessions": [{ "tenant": query.tenant }] })),
        kill_sessions: Arc::new(|query| json!({ "killed": query.id })),
        tenants: Arc::new(|| json!({ "tenants": [] })),
        providers: Arc::new(|| json!({ "providers": [] })),
        halt: Arc::new(|asked| match &asked.what {
            HaltTarget::Tenant(id) if id == "acme" => CommandAnswer::Done(
                json!({ "op": asked.op(), "by": asked.by, "reason": asked.reason }),
            ),
            _ => CommandAnswer::Refused("there is no such thing".to_owned()),
        }),
        unknown: Arc::new(|query| json!({ "rows": [], "limit": query.limit })),
        settle: Arc::new(|asked| match asked.batch.as_str() {
            "b1" => CommandAnswer::Done(json!({ "as": asked.status.as_str(), "rows": 1 })),
            _ => CommandAnswer::Unknown,
        }),
        command: Arc::new(|asked| match (asked.batch.as_str(), asked.op) {
            ("b1", BatchOp::Control(ControlOp::Pause)) => {
                CommandAnswer::Done(json!({ "reason": asked.reason }))
            }
            ("b1", _) => CommandAnswer::Refused("a.csv has nothing left to send".to_owned()),
            _ => CommandAnswer::Unknown,
        }),
        batch: Arc::new(|id| (id == "b1").then(|| json!({ "batch": id }))),
    }
}

#[allow(clippy::disallowed_methods, reason = "the test plays the part of app")]
async fn start() -> Running {
    let data_dir = tempfile::tempdir().unwrap();
    let admin = Admin::bind(&settings(data_dir.path())).await.unwrap();
    let address = admin.local_addr().unwrap();
    let (ready, token) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
    let task = tokio::spawn(admin.serve(views(ready.clone()), token.clone()));
    Running { address, data_dir, ready, token, task }
}

/// Sends raw bytes and reads until the server closes.
async fn exchange(running: &Running, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(running: &Running, path: &str) -> String {
    exchange(running, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
}

async fn control(running: &Running, path: &'static str) -> Result<serde_json::Value, ClientError> {
    let data_dir = running.data_dir.path().to_owned();
    spawn_blocking(move || ask(&data_dir, path)).await.unwrap()
}

#[tokio::test]
async fn not_ready_is_503_with_its_reasons_and_still_alive() {
    let running = start().await;
    assert!(get(&running, "/readyz").await.starts_with("HTTP/1.1 200 "));
    running.ready.store(false, Ordering::SeqCst);
    let answer = get(&running, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\nthe outbox of acme cannot be written\nthe disk is full\n"),
        "{answer}"
    );
    assert!(get(&running, "/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn bans_are_removed_by_a_post_on_the_socket_only() {
    let running = start().await;
    let data_dir = running.data_dir.path().to_owned();
    let told = |path: &'static str| {
        let data_dir = data_dir.clone();
        async move { spawn_blocking(move || super::tell(&data_dir, path)).await.unwrap() }
    };
    let removed =
        |answer: Result<serde_json::Value, ClientError>| answer.unwrap()["removed"].clone();
    assert_eq!(removed(told("/bans/192.0.2.7/remove").await), "192.0.2.7");
    assert_eq!(removed(told("/bans/2001%3Adb8%3A%3A%2F64/remove").await), "2001:db8::");
    assert_eq!(removed(told("/bans/all/remove").await), serde_json::Value::Null);
    let error = told("/bans/x/remove").await.unwrap_err();
    assert!(error.to_string().contains("say an IP address"), "{error}");
    assert!(control(&running, "/bans/all/remove").await.is_err(), "a question changes nothing");
    let post = exchange(&running, b"POST /bans/all/remove HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 404 "), "{post}");
}

#[tokio::test]
async fn metrics_say_what_format_they_are_in() {
    let running = start().await;
    let answer = get(&running, "/metrics").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn the_front_does_not_tell_what_the_control_socket_tells() {
    let running = start().await;
    assert!(get(&running, "/status").await.starts_with("HTTP/1.1 404 "));
    assert!(get(&running, "/batches").await.starts_with("HTTP/1.1 404 "));
    let post = exchange(&running, b"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let running = start().await;
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(17 * 1024));
    let answer = exchange(&running, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_cut_off() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
    // Paused time runs to the next timer as soon as everything waits: the test takes no real seconds.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn the_control_socket_answers_its_owner_in_json() {
    let running = start().await;
    assert_eq!(control(&running, "/status").await.unwrap(), json!({ "version": "1" }));
    assert_eq!(
        control(&running, "/batches?tenant=acme&limit=3").await.unwrap(),
        json!([{ "tenant": "acme", "limit": 3 }])
    );
    assert_eq!(control(&running, "/batches/b1").await.unwrap(), json!({ "batch": "b1" }));
    for (path, refusal) in [
        ("/batches/b2", "there is no batch of this batch_id; the ACK and `batch list` give it"),
        ("/nonsense", "no such question"),
        ("/batches?limit=x", "limit \"x\" is not a number 1 to 1000"),
    ] {
        assert_eq!(control(&running, path).await.unwrap_err().to_string(), refusal);
    }
    let socket = running.data_dir.path().join("control.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn commands_on_a_batch_are_posts_and_refusals_say_why() {
    let running = start().await;
    let tell = async |path: &'static str| {
        let data_dir = running.data_dir.path().to_owned();
        spawn_blocking(move || tell(&data_dir, path)).await.unwrap()
    };
    let done = tell("/batches/b1/pause?reason=wrong%20price").await.unwrap();
    assert_eq!(done, json!({ "reason": "wrong price" }));
    for (path, refusal) in [
        (
            "/batches/b2/pause",
            "there is no batch of this batch_id; the ACK and `batch list` give it",
        ),
        ("/batches/b1/stop", "no such operation"),
        ("/batches/b1/cancel", "a.csv has nothing left to send"),
        ("/batches/b1/pause?whose=me", "unknown query key \"whose\""),
    ] {
        assert_eq!(tell(path).await.unwrap_err().to_string(), refusal);
    }
    assert!(control(&running, "/batches/b1/pause").await.is_err(), "a question changes nothing");
}

#[tokio::test]
async fn tenants_and_providers_are_halted_by_posts_and_each_has_its_own_words() {
    let running = start().await;
    let tell = async |path: &'static str| {
        let data_dir = running.data_dir.path().to_owned();
        spawn_blocking(move || tell(&data_dir, path)).await.unwrap()
    };
    let done = tell("/tenants/acme/suspend?reason=unpaid&by=ann").await.unwrap();
    assert_eq!(done, json!({ "op": "suspend", "by": "ann", "reason": "unpaid" }));
    assert_eq!(tell("/tenants/acme/resume").await.unwrap()["op"], "resume");
    for (path, refusal) in [
        ("/tenants/acme/pause", "no such operation"),
        ("/providers/mail/suspend", "no such operation"),
        ("/providers/mail/pause", "there is no such thing"),
        ("/tenants/acme/suspend?row=1", "unknown query key \"row\""),
        ("/tenants/acme/suspend?by=a%0ab", "by holds a control character or line end"),
    ] {
        assert_eq!(tell(path).await.unwrap_err().to_string(), refusal);
    }
    assert!(
        control(&running, "/tenants/acme/suspend").await.is_err(),
        "a question changes nothing"
    );
    assert_eq!(control(&running, "/providers").await.unwrap(), json!({ "providers": [] }));
}

#[tokio::test]
async fn a_stop_removes_the_socket_and_ends_the_task() {
    let running = start().await;
    running.token.cancel();
    running.task.await.unwrap();
    assert!(!running.data_dir.path().join("control.sock").exists());
}

#[tokio::test]
async fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let crashed = Admin::bind(&settings(dir.path())).await.unwrap();
    let error = Admin::bind(&settings(dir.path())).await.unwrap_err();
    assert!(matches!(error, AdminError::AlreadyRunning { .. }), "{error}");
    drop(crashed);
    assert!(dir.path().join("control.sock").exists());
    let error = spawn_ask(dir.path()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    Admin::bind(&settings(dir.path())).await.unwrap();
}

async fn spawn_ask(data_dir: &Path) -> Result<serde_json::Value, ClientError> {
    let data_dir = data_dir.to_owned();
    spawn_blocking(move || ask(&data_dir, "/status")).await.unwrap()
}

#[tokio::test]
async fn a_plain_file_in_the_sockets_place_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("control.sock"), "mine").unwrap();
    let error = Admin::bind(&settings(dir.path())).await.unwrap_err();
    assert!(matches!(error, AdminError::NotASocket { .. }), "{error}");
}
