//! `<name>.manifest.json`: what the sender says of a file, beside it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::codes::ReasonCode;
use crate::model::normalise_name;

use super::problem::{FileProblem, cut_value};
use super::settings::ReadSettings;

/// Largest manifest that is read, in bytes.
pub const MANIFEST_MAX_BYTES: u64 = 64 << 10;

/// Longest text about a manifest that cannot be read, in characters.
const ERROR_MAX_CHARS: usize = 300;

/// A manifest that fits its file's name. What it says of the file is checked when that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    pub bytes: Option<u64>,
    /// 64 hexadecimal digits, lower case.
    pub sha256: Option<String>,
    pub rows: Option<u64>,
    /// Of the same rank as the file's own directives; `rows` and `seq` stand here, too.
    directives: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    file: String,
    bytes: Option<u64>,
    sha256: Option<String>,
    rows: Option<u64>,
    seq: Option<u64>,
    #[serde(default)]
    directives: RawDirectives,
}

#[derive(Default)]
struct RawDirectives(Vec<(String, String)>);

impl Manifest {
    /// Reads the manifest of a file of this name.
    pub fn parse(json: &[u8], file: &str) -> Result<Manifest, Box<FileProblem>> {
        let invalid =
            |message: String| Box::new(FileProblem::new(ReasonCode::FileManifestInvalid, message));
        if json.len() as u64 > MANIFEST_MAX_BYTES {
            return Err(invalid(format!("the manifest is larger than {MANIFEST_MAX_BYTES} bytes")));
        }
        let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("the manifest is no JSON object".to_owned()));
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|error| {
            let why = plain(&error).replace("u64", "a whole number");
            invalid(format!("the manifest cannot be read: {why}"))
        })?;
        if raw.file != file {
            let message = format!("the manifest of {file} speaks of {:?}", cut_value(&raw.file));
            return Err(invalid(message));
        }
        let sha256 = raw.sha256.map(|digest| digest.to_ascii_lowercase());
        let is_digest =
            |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if let Some(odd) = sha256.as_ref().filter(|text| !is_digest(text)) {
            let odd = cut_value(odd);
            return Err(invalid(format!(
                "the manifest's sha256 {odd:?} is not 64 hexadecimal digits"
            )));
        }
        let mut directives = raw.directives.0;
        for (key, number) in [("rows", raw.rows), ("seq", raw.seq)] {
            let Some(number) = number.map(|n| n.to_string()) else { continue };
            match directives.iter().find(|(name, _)| name == key) {
                Some((_, other)) if *other != number => {
                    let message =
                        format!("the manifest gives {key} twice, as {number} and as {other:?}");
                    return Err(invalid(message));
                }
                Some(_) => {}
                None => directives.push((key.to_owned(), number)),
            }
        }
        Ok(Manifest { bytes: raw.bytes, sha256, rows: raw.rows, directives })
    }

    /// The value of a directive.
    pub fn directive(&self, key: &str) -> Option<&str> {
        self.directives.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// True where it says how the file is to be taken, and not only what it is.
    pub fn asks(&self) -> bool {
        self.directives.iter().any(|(name, _)| name != "rows")
    }

    /// Lets the file be read with the manifest's directives.
    pub fn announce(&self, settings: &mut ReadSettings) {
        settings.announced.clone_from(&self.directives);
    }

    /// What the manifest says of the file's bytes and is not so.
    pub fn disagreement(&self, bytes: u64, sha256: &str) -> Option<FileProblem> {
        let mismatch =
            |message: String| Some(FileProblem::new(ReasonCode::FileChecksumMismatch, message));
        match (self.bytes, &self.sha256) {
            (Some(said), _) if said != bytes => {
                mismatch(format!("the manifest says {said} bytes, but {bytes} were received"))
            }
            (_, Some(said)) if said != sha256 => mismatch(format!(
                "the manifest says SHA-256 {said}, but the bytes received have {sha256}"
            )),
            _ => None,
        }
    }
}

/// What is wrong, on one line of a bounded length: it may repeat a name out of the manifest.
fn plain(error: &serde_json::Error) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    error.to_string().chars().map(plain).take(ERROR_MAX_CHARS).collect()
}

impl<'de> Deserialize<'de> for RawDirectives {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<RawDirectives, D::Error> {
        input.deserialize_map(DirectiveVisitor)
    }
}

/// Keeps the order, and refuses a key that stands there twice.
struct DirectiveVisitor;

impl<'de> Visitor<'de> for DirectiveVisitor {
    type Value = RawDirectives;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of directives")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawDirectives, A::Error> {
        let mut directives: Vec<(String, String)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, serde_json::Value>()? {
            let key = normalise_name(&key);
            if directives.iter().any(|(name, _)| *name == key) {
                return Err(A::Error::custom(format!("the directive {key:?} stands there twice")));
            }
            let value = match value {
                serde_json::Value::String(text) => text.trim().to_owned(),
                serde_json::Value::Bool(yes) => (if yes { "yes" } else { "no" }).to_owned(),
                serde_json::Value::Number(number) => number.to_string(),
                _ => {
                    let message =
                        format!("the directive {key:?} is no text, number, true or false");
                    return Err(A::Error::custom(message));
                }
            };
            directives.push((key, value));
        }
        Ok(RawDirectives(directives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";

    #[test]
    fn a_manifest_says_what_its_file_must_be() {
        let json = format!(
            "\u{feff}{{\"file\":\"a.csv\",\"bytes\":3,\"sha256\":\"{DIGEST}\",\"rows\":2,\"seq\":7,\
             \"directives\":{{\"Allow-Duplicate\":true,\"campaign\":\"x\",\"reject_threshold\":0.5}}}}"
        );
        let manifest = Manifest::parse(json.as_bytes(), "a.csv").unwrap();
        assert_eq!((manifest.bytes, manifest.rows), (Some(3), Some(2)));
        let digest = DIGEST.to_ascii_lowercase();
        for (key, value) in [
            ("allow_duplicate", Some("yes")),
            ("campaign", Some("x")),
            ("reject_threshold", Some("0.5")),
            ("rows", Some("2")),
            ("seq", Some("7")),
            ("ref", None),
        ] {
            assert_eq!(manifest.directive(key), value, "{key}");
        }
        assert_eq!(manifest.disagreement(3, &digest), None);
        for (bytes, sha256) in [(4, digest.as_str()), (3, "00")] {
            let problem = manifest.disagreement(bytes, sha256).unwrap();
            assert_eq!(problem.code, ReasonCode::FileChecksumMismatch);
        }
        let bare = Manifest::parse(b"{\"file\":\"a.csv\"}", "a.csv").unwrap();
        assert_eq!(bare, Manifest::default());
        assert_eq!(bare.disagreement(9, "00"), None);
    }

    #[test]
    fn manifests_that_lie_or_cannot_be_read_are_refused() {
        let large =
            format!("{{\"file\":\"a.csv\",\"directives\":{{\"x_a\":\"{}\"}}}}", "x".repeat(70_000));
        for (json, said) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            ("{}", "missing field `file`"),
            ("{\"file\":\"b.csv\"}", "speaks of \"b.csv\""),
            ("{\"file\":\"a.csv\",\"size\":1}", "unknown field `size`"),
            ("{\"file\":\"a.csv\",\"bytes\":-1}", "cannot be read"),
            ("{\"file\":\"a.csv\",\"bytes\":1,\"bytes\":2}", "duplicate field"),
            ("{\"file\":\"a.csv\",\"sha256\":\"abc\"}", "64 hexadecimal digits"),
            ("{\"file\":\"a.csv\",\"rows\":1.5}", "cannot be read"),
            ("{\"file\":\"a.csv\",\"rows\":1,\"directives\":{\"rows\":2}}", "gives rows twice"),
            ("{\"file\":\"a.csv\",\"directives\":{\"a\":1,\"A\":1}}", "stands there twice"),
            ("{\"file\":\"a.csv\",\"directives\":{\"a\":[]}}", "no text, number"),
            ("{\"file\":\"a.csv\"} x", "cannot be read"),
            ("{\"file\":\"a.csv\",\"a\\n\\u0000b\":1}", "unknown field `a  b`"),
            (&large, "larger than 65536 bytes"),
        ] {
            let problem = Manifest::parse(json.as_bytes(), "a.csv").unwrap_err();
            assert_eq!(problem.code, ReasonCode::FileManifestInvalid, "{json}");
            assert!(problem.message.contains(said), "{json}: {}", problem.message);
            assert!(!problem.message.contains(char::is_control), "{:?}", problem.message);
        }
    }
}
