use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::{
    Channel, HmacEncoding, HttpAuth, HttpSettings, ProviderKind, ProviderSettings, Secret,
    SuccessRule,
};
use super::black_hole::black_hole;
use super::http_server::{answer, serve};
use super::{channel, message, send};
use crate::model::{Outcome, OutgoingMessage, UntilHint};
use crate::world::World;

const BODY: &str =
    r#"{"to": {{ to | tojson }}, "text": {{ text | tojson }}, "name": "{{ first_name }}"}"#;

fn settings(address: SocketAddr) -> HttpSettings {
    HttpSettings {
        url: format!("http://{address}/v1/messages"),
        body: BODY.to_owned(),
        id_pointer: "/id".to_owned(),
        code_pointer: "/error/code".to_owned(),
        success: Some(SuccessRule { pointer: "/status".to_owned(), equals: "ok".to_owned() }),
        outcomes: BTreeMap::from([("21211".to_owned(), Outcome::PermanentRecipient)]),
        timeout: Duration::from_secs(20),
        ..HttpSettings::default()
    }
}

fn http(settings: HttpSettings) -> Channel {
    channel(ProviderKind::Http(Box::new(settings)))
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    let ok = r#"{"status":"ok","id":"m-7"}"#;
    let hint = |seconds| UntilHint(Some(Duration::from_secs(seconds)));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"status\":\"ok\"";
    for (reply, want) in [
        (answer("200 OK", "", ok), Outcome::Accepted),
        (answer("201 Created", "", ok), Outcome::Accepted),
        (answer("200 OK", "", r#"{"status":"no"}"#), Outcome::PermanentMessage),
        (answer("200 OK", "", r#"{"error":{"code":21211}}"#), Outcome::PermanentRecipient),
        (answer("429 Slow", "Retry-After: 7\r\n", ""), Outcome::Throttled(hint(7))),
        (
            answer("429 Slow", "Retry-After: Sun, 22 Nov 2099 10:00:00 GMT\r\n", ""),
            Outcome::Throttled(hint(3600)),
        ),
        (answer("429 Slow", "", ""), Outcome::Throttled(UntilHint(None))),
        (answer("429 Slow", "Retry-After: 0\r\n", ""), Outcome::Throttled(UntilHint(None))),
        (
            answer("503 Busy", "Retry-After: Sun, 22 Nov 2020 10:00:00 GMT\r\n", ""),
            Outcome::Throttled(UntilHint(None)),
        ),
        (answer("200 OK", "", "<html>please log in</html>"), Outcome::Unknown),
        (answer("200 OK", "", ""), Outcome::Unknown),
        (answer("200 OK", &"X-Filler: y\r\n".repeat(50_000), ok), Outcome::Unknown),
        (answer("503 Busy", "Retry-After: 9\r\n", ""), Outcome::Throttled(hint(9))),
        (answer("503 Busy", "", ""), Outcome::Unknown),
        (answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""), Outcome::Account),
        (answer("400 Bad", "", r#"{"error":{"code":7}}"#), Outcome::PermanentRecipient),
        (answer("415 No", "", ""), Outcome::PermanentMessage),
        (cut.to_owned(), Outcome::Unknown),
        ("not HTTP at all".to_owned(), Outcome::Unknown),
        (String::new(), Outcome::Unknown),
    ] {
        let (address, seen) = serve(vec![reply.clone()]).await;
        let attempt = send(&http(settings(address)), &message()).await;
        assert_eq!(attempt.outcome, want, "{reply}: {attempt:?}");
        assert_eq!(seen.lock().unwrap().len(), 1, "{reply}: sent exactly once");
        if attempt.outcome == Outcome::Accepted {
            assert_eq!(attempt.provider_message_id, "m-7");
            assert!(!attempt.left_provider);
        }
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let ok = r#"{"status":"ok","id":7}"#;
    let keep = format!(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n{ok}",
        ok.len()
    );
    let (address, seen) = serve(vec![keep]).await;
    let channel = http(settings(address));
    for _ in 0..3 {
        assert_eq!(send(&channel, &message()).await.provider_message_id, "7");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|request| request.port == seen[0].port));
}

#[tokio::test]
async fn a_connection_that_idled_too_long_carries_no_request() {
    let ok = r#"{"status":"ok"}"#;
    let keep = format!(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n{ok}",
        ok.len()
    );
    let (address, seen) = serve(vec![keep]).await;
    let settings = HttpSettings { idle_max: Duration::from_nanos(1), ..settings(address) };
    let channel = http(settings);
    for _ in 0..2 {
        assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted);
    }
    let seen = seen.lock().unwrap();
    assert_ne!(seen[0].port, seen[1].port);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_transient_however_short_the_timeout() {
    let hole = black_hole();
    let settings = HttpSettings {
        connect_timeout: Duration::from_millis(300),
        timeout: Duration::from_millis(100),
        ..settings(hole.address)
    };
    let attempt = send(&http(settings), &message()).await;
    assert_eq!(attempt.outcome, Outcome::Transient(UntilHint(None)), "{attempt:?}");
}

#[tokio::test]
async fn nobody_listening_is_transient() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let attempt = send(&http(settings(address)), &message()).await;
    assert_eq!(attempt.outcome, Outcome::Transient(UntilHint(None)));
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_unknown() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_millis(100);
    let short = HttpSettings { connect_timeout: limit, timeout: limit, ..settings(address) };
    assert_eq!(send(&http(short), &message()).await.outcome, Outcome::Unknown);
}

#[tokio::test]
async fn values_stay_in_their_places() {
    let nasty = "\"}, {\n\\ 😀 &to=+1 <x> {{ to }}";
    let message = OutgoingMessage {
        text: nasty.to_owned(),
        variables: vec![("first_name".into(), nasty.to_owned())],
        to: "+49 1/2?&=#".to_owned(),
        ..message()
    };
    let (address, seen) = serve(vec![answer("200 OK", "", r#"{"status":"ok"}"#)]).await;
    let json = HttpSettings {
        url: format!("http://{address}/to/{{{{ to }}}}?id={{{{ message_id }}}}"),
        headers: vec![("X-Ref".to_owned(), "ref {{ batch }}-{{ row }}".to_owned())],
        ..settings(address)
    };
    assert_eq!(send(&http(json), &message).await.outcome, Outcome::Accepted);
    let form = HttpSettings {
        content_type: "application/x-www-form-urlencoded".to_owned(),
        body: "To={{ to }}&Body={{ text | urlencode }}".to_owned(),
        ..settings(address)
    };
    assert_eq!(send(&http(form), &message).await.outcome, Outcome::Accepted);
    let seen = seen.lock().unwrap().clone();
    let first = &seen[0];
    let line = "POST /to/%2B49%201%2F2%3F%26%3D%23?id=b-1%40acme.example HTTP/1.1";
    assert_eq!(first.head.lines().next(), Some(line));
    assert!(first.head.contains("x-ref: ref b-1\r\n"), "{}", first.head);
    let body: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!((body["text"].as_str(), body["name"].as_str()), (Some(nasty), Some(nasty)));
    let pairs: Vec<&str> = seen[1].body.split('&').collect();
    assert_eq!(pairs.len(), 2, "{pairs:?}");
    assert_eq!(pairs[0], "To=%2B49%201%2F2%3F%26%3D%23");
    assert!(pairs[1].contains("%F0%9F%98%80"));
}

#[tokio::test]
async fn a_value_that_cannot_stand_in_a_header_is_not_sent() {
    let (address, seen) = serve(vec![answer("200 OK", "", "{}")]).await;
    let settings = HttpSettings {
        headers: vec![("X-Subject".to_owned(), "{{ subject }}".to_owned())],
        ..settings(address)
    };
    let evil = OutgoingMessage { subject: "a\r\nX-Evil: 1".to_owned(), ..message() };
    let attempt = send(&http(settings), &evil).await;
    assert_eq!(attempt.outcome, Outcome::PermanentMessage);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_kind_of_auth_says_who_we_are() {
    let secret = || Secret::new("s3cret");
    let (token_server, asked) =
        serve(vec![answer("200 OK", "", r#"{"access_token":"tok","expires_in":3600}"#)]).await;
    for (auth, want) in [
        (HttpAuth::Bearer { token: secret() }, "authorization: Bearer s3cret"),
        (
            HttpAuth::Basic { username: "acme".to_owned(), password: secret() },
            "authorization: Basic YWNtZTpzM2NyZXQ=",
        ),
        (HttpAuth::Header { name: "X-Key".to_owned(), value: secret() }, "x-key: s3cret"),
        (
            HttpAuth::Query { name: "key".to_owned(), value: secret() },
            "/v1/messages?key=s3cret HTTP",
        ),
        (
            HttpAuth::OAuth2 {
                token_url: format!("http://{token_server}/token"),
                client_id: "acme".to_owned(),
                client_secret: secret(),
                scope: "send all".to_owned(),
            },
            "authorization: Bearer tok",
        ),
        (
            HttpAuth::Hmac {
                header: "X-Signature".to_owned(),
                secret: secret(),
                encoding: HmacEncoding::Base64,
            },
            "x-signature: ",
        ),
    ] {
        let (address, seen) = serve(vec![answer("200 OK", "", r#"{"status":"ok"}"#)]).await;
        let channel = http(HttpSettings { auth, ..settings(address) });
        for _ in 0..2 {
            let attempt = send(&channel, &message()).await;
            assert_eq!(attempt.outcome, Outcome::Accepted);
            assert!(!format!("{channel:?}{attempt:?}").contains("s3cret"));
        }
        let head = seen.lock().unwrap()[0].head.clone();
        assert!(head.contains(want), "{want}\n{head}");
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1, "one token serves both messages");
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=send%20all");
}

#[tokio::test]
async fn a_refused_token_request_stops_the_account_before_anything_is_sent() {
    let (token_server, _) = serve(vec![answer("401 No", "", "{}")]).await;
    let (address, seen) = serve(vec![answer("200 OK", "", "{}")]).await;
    let auth = HttpAuth::OAuth2 {
        token_url: format!("http://{token_server}/token"),
        client_id: "acme".to_owned(),
        client_secret: Secret::new("x"),
        scope: String::new(),
    };
    let attempt = http(HttpSettings { auth, ..settings(address) }).ready().await.unwrap_err();
    assert_eq!(attempt.outcome, Outcome::Account);
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_description_that_cannot_work_is_refused_at_start() {
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let body = |body: &str| HttpSettings { body: body.to_owned(), ..settings(address) };
    for (settings, key) in [
        (body(r#"{"to": {{ to }}}"#), "body"),
        (body("{{ to "), "body"),
        (body("{{ to | nosuchfilter }}"), "body"),
        (HttpSettings { url: "ftp://x/".to_owned(), ..settings(address) }, "url"),
        (HttpSettings { method: "PO ST".to_owned(), ..settings(address) }, "method"),
        (HttpSettings { id_pointer: "id".to_owned(), ..settings(address) }, "id_pointer"),
    ] {
        let provider = ProviderSettings::new("p", ProviderKind::Http(Box::new(settings)));
        let error = Channel::new(provider, Arc::new(World::real())).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{key}: {error}");
    }
}
