//! What a file is, from its folder, its name and the tenant's profiles.

use super::settings::{ProfileSettings, TenantSettings};
use crate::codes::ReasonCode;
use crate::model::{FileForm, Kind, Realm};
use crate::records::{Packing, form_of_name};

/// What is known of a file before its first byte is read.
#[derive(Debug, Clone)]
pub(super) struct Identity<'a> {
    pub(super) kind: Kind,
    pub(super) profile: &'a ProfileSettings,
    pub(super) file_ref: String,
    pub(super) packing: Option<Packing>,
    /// By the name; what is packed may have another by its own.
    pub(super) form: FileForm,
    /// The sequence number that the name gives.
    pub(super) number: Option<u64>,
}

/// Why a file's kind is not known; the sentence is the partner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unidentified {
    pub(super) code: ReasonCode,
    pub(super) message: String,
}

/// Identifies a file by its path below the tenant's root, such as `inbox/messages/x.csv`; below `/test`
/// it is the same.
///
/// Folder, name and profile may each give the kind; they must agree. A `.rejected.csv` inherits from
/// the name in front of it.
pub(super) fn identify<'a>(
    tenant: &'a TenantSettings,
    path: &str,
) -> Result<Identity<'a>, Unidentified> {
    let path = Realm::within(path);
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    // What is refused comes back as plain text, whatever it came in.
    let packing = Packing::of_name(name);
    let form = form_of_name(Packing::inside(name));
    let mut name = name;
    while let Some(inherited) = tenant.rejected_names.iter().find_map(|known| known.file_of(name)) {
        name = inherited;
    }
    let inside = Packing::inside(name);
    let parts = name_parts(inside);
    let matching = || {
        let fits = |p: &&ProfileSettings| {
            p.matcher.as_ref().is_some_and(|m| m.is_match(name) || m.is_match(inside))
        };
        tenant.profiles.iter().find(fits)
    };
    let named = match parts.profile.filter(|_| parts.kind.is_some()) {
        Some(profile) => Some(tenant.profile(profile).ok_or_else(|| Unidentified {
            code: ReasonCode::FileKindUnknown,
            message: format!("the name asks for the profile \"{profile}\", which does not exist"),
        })?),
        None => None,
    };
    let profile = named.or_else(matching);
    let folder_kind = folder.split_once('/').and_then(|(_, below)| Kind::from_text(below));
    let given =
        [("folder", folder_kind), ("name", parts.kind), ("profile", profile.and_then(|p| p.kind))];
    let mut kind: Option<(&str, Kind)> = None;
    for (source, found) in given {
        let Some(found) = found else { continue };
        match kind {
            Some((first, other)) if other != found => {
                return Err(Unidentified {
                    code: ReasonCode::FileKindConflict,
                    message: format!("the {first} says {other}, the {source} says {found}"),
                });
            }
            _ => kind = Some((source, found)),
        }
    }
    let Some((_, kind)) = kind else {
        return Err(Unidentified {
            code: ReasonCode::FileKindUnknown,
            message: ReasonCode::FileKindUnknown.meaning().to_owned(),
        });
    };
    if let Some((code, message)) = unread_form(inside) {
        return Err(Unidentified { code, message: message.to_owned() });
    }
    let profile = profile.unwrap_or(&tenant.plain);
    let file_ref = parts.file_ref.unwrap_or_default().to_owned();
    let number = numbered(profile, name).or_else(|| numbered(profile, inside)).or(parts.number);
    Ok(Identity { kind, profile, file_ref, packing, form, number })
}

fn numbered(profile: &ProfileSettings, name: &str) -> Option<u64> {
    profile.matcher.as_ref().and_then(|pattern| pattern.number(name))
}

/// Kind and profile of a file at this path, where they are known; the profile's name is empty for none.
pub fn known_as<'a>(tenant: &'a TenantSettings, path: &str) -> Option<(Kind, &'a str)> {
    let identity = identify(tenant, path).ok()?;
    Some((identity.kind, identity.profile.name.as_str()))
}

/// Forms that are named for what they are, since as CSV they would only be refused for odd bytes.
fn unread_form(name: &str) -> Option<(ReasonCode, &'static str)> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "pgp" | "gpg" | "asc" => (
            ReasonCode::FileDecryptFailed,
            "this version reads no encrypted files, send plain CSV over SFTP or FTPS",
        ),
        "gz" | "zip" => (
            ReasonCode::FileArchiveInvalid,
            "an archive in an archive is not read, pack the file once",
        ),
        "xls" | "xlsb" | "xlsm" | "ods" => {
            (ReasonCode::FileNotText, "of spreadsheets only .xlsx is read, save it so or as CSV")
        }
        _ => return None,
    })
}

struct NameParts<'a> {
    kind: Option<Kind>,
    profile: Option<&'a str>,
    file_ref: Option<&'a str>,
    number: Option<u64>,
}

/// Reads `<kind>[.<profile>]_<ref>[_<yyyymmdd>[T<hhmmss>Z]][_s<seq>].csv…`, or `.xlsx`, `.jsonl`; any
/// other name gives nothing.
fn name_parts(name: &str) -> NameParts<'_> {
    let none = NameParts { kind: None, profile: None, file_ref: None, number: None };
    let form = form_of_name(name);
    let stem = match form {
        FileForm::Delimited => name.split_once(".csv").map_or(name, |(stem, _)| stem),
        _ => &name[..name.len() - form.as_str().len() - 1],
    };
    // Kinds with an underscore of their own come first.
    let Some(kind) = Kind::ALL
        .iter()
        .filter(|k| {
            stem.strip_prefix(k.as_str()).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('_') || rest.starts_with('.')
            })
        })
        .max_by_key(|k| k.as_str().len())
    else {
        return none;
    };
    let rest = &stem[kind.as_str().len()..];
    let (profile, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (profile, rest) = rest.split_once('_').unwrap_or((rest, ""));
            (Some(profile), rest)
        }
        None => (None, rest.strip_prefix('_').unwrap_or("")),
    };
    let (reference, number) = without_tail(rest, sequence);
    let (reference, _) = without_tail(reference, |text| is_date(text).then_some(()));
    let file_ref = Some(reference).filter(|r| !r.is_empty());
    let profile = profile.filter(|p| !p.is_empty());
    NameParts { kind: Some(*kind), profile, file_ref, number }
}

/// A reference without its last part, and what that is; as it is where that is something else.
fn without_tail<T>(reference: &str, read: impl Fn(&str) -> Option<T>) -> (&str, Option<T>) {
    let (head, tail) = reference.rsplit_once('_').unwrap_or(("", reference));
    match read(tail) {
        Some(found) => (head, Some(found)),
        None => (reference, None),
    }
}

fn sequence(text: &str) -> Option<u64> {
    text.strip_prefix('s').filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

fn is_date(text: &str) -> bool {
    let digits =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('T') {
        Some((date, time)) => digits(date, 8) && digits(time.trim_end_matches('Z'), 6),
        None => digits(text, 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::name_pattern::NamePattern;
    use crate::intake::testing::tenant;

    fn check(path: &str, expected: Result<(Kind, &str, &str), ReasonCode>) {
        let mut tenant = tenant("acme");
        let mut billing = tenant.plain.clone();
        billing.name = "billing".to_owned();
        billing.kind = Some(Kind::Messages);
        billing.matcher = Some(NamePattern::new("INV_*.csv").unwrap());
        tenant.profiles.push(billing);
        let found = identify(&tenant, path);
        let found = match &found {
            Ok(i) => Ok((i.kind, i.profile.name.as_str(), i.file_ref.as_str())),
            Err(e) => Err(e.code),
        };
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn folder_name_and_profile_give_the_kind() {
        let messages = Kind::Messages;
        check("inbox/messages_1.csv", Ok((messages, "", "1")));
        check("inbox/messages.billing_inv-11_20261122.csv", Ok((messages, "billing", "inv-11")));
        check("inbox/messages_a_b_20261122T101500Z_s7.csv", Ok((messages, "", "a_b")));
        check("inbox/messages_20261122.csv", Ok((messages, "", "")));
        check("inbox/messages.csv", Ok((messages, "", "")));
        check("inbox/messages/export.csv", Ok((messages, "", "")));
        check("inbox/INV_7.csv", Ok((messages, "billing", "")));
        check("inbox/INV_7.csv.rejected.csv", Ok((messages, "billing", "")));
        check("test/inbox/INV_7.csv", Ok((messages, "billing", "")));
        check("test/inbox/messages/export.csv", Ok((messages, "", "")));
        check("test/inbox/contacts/messages_1.csv", Err(ReasonCode::FileKindConflict));
        check("inbox/privacy_requests_9.csv", Ok((Kind::PrivacyRequests, "", "9")));
        check("inbox/contacts/messages_1.csv", Err(ReasonCode::FileKindConflict));
        check("inbox/contacts/INV_7.csv", Err(ReasonCode::FileKindConflict));
        check("inbox/messages.nothere_1.csv", Err(ReasonCode::FileKindUnknown));
        check("inbox/messagesx.csv", Err(ReasonCode::FileKindUnknown));
        check("inbox/export.csv", Err(ReasonCode::FileKindUnknown));
    }

    #[test]
    fn forms_that_are_not_read_are_refused_for_what_they_are() {
        check("inbox/messages_1.csv.gz.pgp", Err(ReasonCode::FileDecryptFailed));
        check("inbox/messages_1.csv.GPG", Err(ReasonCode::FileDecryptFailed));
        check("inbox/messages_1.csv.zip.gz", Err(ReasonCode::FileArchiveInvalid));
        check("inbox/messages_1.xls", Err(ReasonCode::FileNotText));
        check("inbox/messages/a.ods", Err(ReasonCode::FileNotText));
        check("inbox/messages_1.xlsx", Ok((Kind::Messages, "", "1")));
        check("inbox/messages_a_20261122.jsonl.gz", Ok((Kind::Messages, "", "a")));
        check("inbox/messages_1.csv.gz", Ok((Kind::Messages, "", "1")));
        check("inbox/messages_1.ZIP", Ok((Kind::Messages, "", "1")));
        check("inbox/INV_7.csv.gz", Ok((Kind::Messages, "billing", "")));
        check("inbox/INV_7.csv.gz.rejected.csv", Ok((Kind::Messages, "billing", "")));
        check("inbox/a.zip", Err(ReasonCode::FileKindUnknown));
        check("inbox/messages_1.zip.csv", Ok((Kind::Messages, "", "1.zip")));
    }
}
