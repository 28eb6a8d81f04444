//! `kind = "http"`: any HTTP API, described instead of coded.

use super::problem::Complaint;
use super::secret::Places;
use super::section::{Item, Section};
use super::value;
use crate::channel::{HmacEncoding, HttpAuth, HttpSettings, Secret, SuccessRule};
use crate::model::Outcome;

pub(super) fn read(section: &Section<'_>, places: &Places) -> HttpSettings {
    let built_in = HttpSettings::default();
    let url = section.required("url", "an http:// or https:// URL", url).unwrap_or_default();
    if url.starts_with("http://") {
        section.warn("url", Complaint::new("sends messages and secrets in clear"));
    }
    let success = section.section("success");
    HttpSettings {
        method: section.value("method", built_in.method, method),
        url,
        headers: section.named_values("headers", header),
        auth: auth(&section.section("auth"), places),
        content_type: section.value("content_type", built_in.content_type, value::word),
        body: section.value("body", built_in.body, value::text),
        success: if success.is_given() { success_rule(&success) } else { None },
        id_pointer: section.value("id_pointer", built_in.id_pointer, pointer),
        code_pointer: section.value("code_pointer", built_in.code_pointer, pointer),
        outcomes: section.named_values("outcomes", outcome).into_iter().collect(),
        connect_timeout: section.value(
            "connect_timeout",
            built_in.connect_timeout,
            value::duration,
        ),
        timeout: section.value("timeout", built_in.timeout, value::duration),
        idle_max: section.value("idle_max", built_in.idle_max, value::duration),
    }
}

/// The scheme stands in the file; the rest may be a template.
fn url(item: &Item<'_>) -> Result<String, Complaint> {
    let allowed = "an http:// or https:// URL";
    let url = value::str_of(item, allowed)?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Complaint::new("is no URL").allowed(allowed));
    }
    Ok(url.to_owned())
}

fn method(item: &Item<'_>) -> Result<String, Complaint> {
    let words = [("GET", "GET"), ("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];
    value::one_of(&words)(item).map(str::to_owned)
}

fn header(name: &str, item: &Item<'_>) -> Result<String, Complaint> {
    let value = value::str_of(item, "text in quotes")?;
    if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(Complaint::new("has a name that is no header's"));
    }
    if value.chars().any(char::is_control) {
        return Err(Complaint::new("holds a control character"));
    }
    Ok(value.to_owned())
}

/// RFC 6901: empty, or beginning with a slash.
fn pointer(item: &Item<'_>) -> Result<String, Complaint> {
    let allowed = "a JSON pointer such as \"/messages/0/id\"";
    let pointer = value::str_of(item, allowed)?;
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(pointer.to_owned());
    }
    Err(Complaint::new("is no JSON pointer").allowed(allowed))
}

fn success_rule(section: &Section<'_>) -> Option<SuccessRule> {
    let pointer = section.required("pointer", "a JSON pointer", pointer);
    let equals = section.required("equals", "the value that means success", value::plain_text);
    Some(SuccessRule { pointer: pointer?, equals: equals? })
}

fn outcome(code: &str, item: &Item<'_>) -> Result<Outcome, Complaint> {
    let words = [
        "accepted",
        "permanent_recipient",
        "permanent_message",
        "account",
        "throttled",
        "transient",
        "unknown",
    ];
    let words = words.map(|word| (word, word));
    let word = value::one_of(&words)(item)?;
    let status = code.strip_prefix("http:").map(|status| status.parse::<u16>());
    if !status.is_none_or(|status| status.is_ok_and(|status| (100..600).contains(&status))) {
        return Err(
            Complaint::new("stands at no HTTP status").hint("write \"http:500\" for a status")
        );
    }
    Ok(Outcome::from_text(word).expect("the words are those of the outcomes"))
}

fn auth(section: &Section<'_>, places: &Places) -> HttpAuth {
    let kinds = ["none", "bearer", "basic", "header", "query", "oauth2", "hmac"];
    let kinds = kinds.map(|kind| (kind, kind));
    let kind = if section.is_given() {
        section.required("kind", "one of \"none\", \"bearer\", \"basic\", …", value::one_of(&kinds))
    } else {
        section.value("kind", Some("none"), |item| value::one_of(&kinds)(item).map(Some))
    };
    // An empty secret only stands in for one whose problem was reported.
    let secret = |key| {
        let secret = section.required(key, "a file with the secret", |item| places.secret(item));
        secret.unwrap_or_else(|| Secret::new(""))
    };
    let text = |key, allowed| section.required(key, allowed, value::word).unwrap_or_default();
    match kind {
        Some("bearer") => HttpAuth::Bearer { token: secret("token_file") },
        Some("basic") => HttpAuth::Basic {
            username: text("username", "a user name"),
            password: secret("password_file"),
        },
        Some("header") => {
            HttpAuth::Header { name: text("name", "a header's name"), value: secret("value_file") }
        }
        Some("query") => HttpAuth::Query {
            name: text("name", "a parameter's name"),
            value: secret("value_file"),
        },
        Some("oauth2") => HttpAuth::OAuth2 {
            token_url: section
                .required("token_url", "an http:// or https:// URL", url)
                .unwrap_or_default(),
            client_id: text("client_id", "the client's id"),
            client_secret: secret("client_secret_file"),
            scope: section.value("scope", String::new(), value::text),
        },
        Some("hmac") => HttpAuth::Hmac {
            header: text("header", "a header's name"),
            secret: secret("secret_file"),
            encoding: section.value(
                "encoding",
                HmacEncoding::Hex,
                value::one_of(&[("hex", HmacEncoding::Hex), ("base64", HmacEncoding::Base64)]),
            ),
        },
        Some(_) => HttpAuth::None,
        None => {
            section.set_aside();
            HttpAuth::None
        }
    }
}
