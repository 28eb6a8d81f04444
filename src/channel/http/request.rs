//! The request that the configuration describes, filled in for one message.
//!
//! A value cannot leave its place: in the URL and in forms it is percent-encoded, in JSON and XML
//! escaped, in a header it must fit on the line. `tojson` adds the quotes, `urlencode` is for forms.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::super::sender::ChannelError;
use super::super::settings::HttpSettings;
use crate::model::{Category, ChannelKind, OutgoingMessage};

/// Steps one template may take.
const FUEL: u64 = 50_000;
/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The templates of one provider.
#[derive(Debug)]
pub(super) struct Requests {
    method: Method,
    content_type: HeaderValue,
    headers: Vec<HeaderName>,
    templates: Environment<'static>,
    has_body: bool,
}

/// Where a template's output goes; the first letter of the template's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Plain,
    Percent,
    Json,
    Xml,
}

const URL: &str = "url";
const BODY: &str = "body";

impl Requests {
    pub(super) fn new(settings: &HttpSettings) -> Result<Requests, ChannelError> {
        let method: Method =
            settings.method.to_ascii_uppercase().parse().map_err(|e| problem("method", &e))?;
        let content_type = HeaderValue::from_str(&settings.content_type)
            .map_err(|e| problem("content_type", &e))?;
        let mut templates = environment(body_escape(&settings.content_type));
        let mut headers = Vec::new();
        for (index, (name, value)) in settings.headers.iter().enumerate() {
            headers
                .push(HeaderName::from_bytes(name.as_bytes()).map_err(|e| problem("headers", &e))?);
            templates
                .add_template_owned(header_template(index), value.clone())
                .map_err(|e| problem("headers", &e))?;
        }
        templates.add_template_owned(URL, settings.url.clone()).map_err(|e| problem("url", &e))?;
        templates
            .add_template_owned(BODY, settings.body.clone())
            .map_err(|e| problem("body", &e))?;
        let has_body = !settings.body.is_empty();
        let requests = Requests { method, content_type, headers, templates, has_body };
        requests.check(body_escape(&settings.content_type))?;
        Ok(requests)
    }

    /// Renders once with values that would break out of a place that does not hold them.
    fn check(&self, escape: Escape) -> Result<(), ChannelError> {
        let mut values = values(&probe());
        for name in [URL, BODY] {
            let template = self.templates.get_template(name).map_err(|e| problem("body", &e))?;
            for variable in template.undeclared_variables(false) {
                values.entry(variable).or_insert_with(|| Value::from(PROBE));
            }
        }
        let values = Value::from_object(Values(values));
        let url = self.render(URL, &values).map_err(|e| problem("url", &e))?;
        let url: Url = url.parse().map_err(|_| fault("url", "is no URL".to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(fault("url", "must begin with http:// or https://".to_owned()));
        }
        let body = self.render(BODY, &values).map_err(|e| problem("body", &e))?;
        if escape == Escape::Json && self.has_body {
            serde_json::from_str::<serde_json::Value>(&body).map_err(|error| {
                fault(
                    "body",
                    format!("is no JSON once filled in ({error}); is a | tojson missing?"),
                )
            })?;
        }
        Ok(())
    }

    /// An `Err` says why this message can never be asked for.
    pub(super) fn build(
        &self,
        client: &reqwest::Client,
        message: &OutgoingMessage,
    ) -> Result<reqwest::Request, String> {
        let values = Value::from_object(Values(values(message)));
        let mut request = client.request(self.method.clone(), self.fill(URL, &values)?);
        for (index, name) in self.headers.iter().enumerate() {
            let text = self.fill(&header_template(index), &values)?;
            let value = HeaderValue::from_str(&text)
                .map_err(|_| format!("a value does not fit in the header {name}"))?;
            request = request.header(name, value);
        }
        if self.has_body {
            request = request.header(CONTENT_TYPE, self.content_type.clone());
            request = request.body(self.fill(BODY, &values)?);
        }
        request.build().map_err(|_| "the URL is none once filled in".to_owned())
    }

    fn render(&self, name: &str, values: &Value) -> Result<String, Error> {
        self.templates.get_template(name)?.render(values.clone())
    }

    /// The kind of error only: its detail may quote a value.
    fn fill(&self, name: &str, values: &Value) -> Result<String, String> {
        self.render(name, values).map_err(|error| format!("{name}: {}", error.kind()))
    }
}

fn header_template(index: usize) -> String {
    format!("header{index}")
}

fn body_escape(content_type: &str) -> Escape {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Escape::Percent,
        json if json == "application/json" || json.ends_with("+json") => Escape::Json,
        xml if xml.ends_with("/xml") || xml.ends_with("+xml") => Escape::Xml,
        _ => Escape::Plain,
    }
}

fn environment(body: Escape) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("tojson", |value: &Value| json(value).map(Value::from_safe_string));
    environment.add_filter("urlencode", |value: &Value| {
        Value::from_safe_string(utf8_percent_encode(&value.to_string(), ESCAPED).to_string())
    });
    environment.set_formatter(move |out, state, value| {
        if value.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        let escape = match state.name() {
            URL => Escape::Percent,
            BODY => body,
            _ => Escape::Plain,
        };
        let text = value.to_string();
        let written = match escape {
            _ if value.is_safe() => out.write_str(&text),
            Escape::Plain => out.write_str(&text),
            Escape::Percent => out.write_str(&utf8_percent_encode(&text, ESCAPED).to_string()),
            // Inside the quotes that the template wrote itself.
            Escape::Json => out.write_str(unquoted(&json(&Value::from(text))?)),
            Escape::Xml => out.write_str(&xml(&text)),
        };
        written.map_err(|_| Error::from(ErrorKind::WriteFailure))
    });
    environment
}

fn unquoted(json: &str) -> &str {
    json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json)
}

fn json(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if let Some(text) = value.as_str() {
        return serde_json::to_string(text).map_err(|_| Error::from(ErrorKind::BadSerialization));
    }
    if value.is_none() {
        return Ok("null".to_owned());
    }
    if value.is_number() || value.is_true() || value == &Value::from(false) {
        return Ok(value.to_string());
    }
    Err(Error::from(ErrorKind::BadSerialization))
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What a template sees, by name.
#[derive(Debug)]
struct Values(BTreeMap<String, Value>);

impl Object for Values {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }
}

fn values(message: &OutgoingMessage) -> BTreeMap<String, Value> {
    let own = [
        ("to", message.to.as_str()),
        ("text", &message.text),
        ("subject", &message.subject),
        ("html", &message.html),
        ("message_id", &message.message_id),
        ("sender", &message.sender),
        ("reply_to", &message.reply_to),
        ("category", message.category.as_str()),
        ("template", &message.template),
        ("lang", &message.lang),
        ("campaign", &message.campaign),
        ("channel", message.channel.as_str()),
        ("tenant", &message.tenant),
        ("batch", &message.batch),
    ];
    // The message's own names win over a column of the same name.
    let mut values: BTreeMap<String, Value> = message
        .variables
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(value.as_str())))
        .collect();
    values.extend(own.map(|(name, value)| (name.to_owned(), Value::from(value))));
    values.insert("row".to_owned(), Value::from(message.row));
    values
}

/// A value that shows where escaping is missing.
const PROBE: &str = "a\"b\\c d";

fn probe() -> OutgoingMessage {
    let text = || PROBE.to_owned();
    OutgoingMessage {
        message_id: text(),
        tenant: PROBE.into(),
        batch: PROBE.into(),
        row: 1,
        channel: ChannelKind::Sms,
        category: Category::Transactional,
        to: text(),
        sender: PROBE.into(),
        reply_to: PROBE.into(),
        subject: text(),
        text: text(),
        html: text(),
        template: PROBE.into(),
        lang: PROBE.into(),
        campaign: PROBE.into(),
        variables: Vec::new(),
        date: jiff::Timestamp::UNIX_EPOCH,
        attempt: 1,
    }
}

fn problem(key: &'static str, error: &dyn std::error::Error) -> ChannelError {
    fault(key, error.to_string())
}

fn fault(key: &'static str, problem: String) -> ChannelError {
    ChannelError::Setting { key, problem }
}
