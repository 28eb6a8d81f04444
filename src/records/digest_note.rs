//! `<name>.sha256` and `<name>.md5`: a digest, as the well-known programs write it.

/// Largest digest file that is read, in bytes.
pub const DIGEST_NOTE_MAX_BYTES: u64 = 64 << 10;

/// Finds the digest of a file in a note of one: bare, `<digest>  <name>`, `<digest> *<name>`, or
/// `SHA256 (<name>) = <digest>`. Where lines speak of several files, the one that names this file counts;
/// a lone line counts whatever it names. `digits` is how long the digest is.
pub fn noted_digest(note: &[u8], file: &str, digits: usize) -> Option<String> {
    let text = String::from_utf8_lossy(note);
    let lines: Vec<(String, &str)> =
        text.trim_start_matches('\u{feff}').lines().filter_map(|l| digest_in(l, digits)).collect();
    let names = |(_, name): &&(String, &str)| {
        name.rsplit(['/', '\\']).next().is_some_and(|last| last == file)
    };
    let found = match &lines[..] {
        [only] => Some(only),
        several => several.iter().find(names),
    };
    found.map(|(digest, _)| digest.clone())
}

/// The digest of a line and the name behind it or before it.
fn digest_in(line: &str, digits: usize) -> Option<(String, &str)> {
    // A backslash in front says that the name is escaped; it is no part of the digest.
    let line = line.trim();
    let line = line.strip_prefix('\\').unwrap_or(line);
    let is_digest =
        |text: &str| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let first = line.split_whitespace().next()?;
    let (digest, name) = if is_digest(first) {
        let name = line[first.len()..].trim_start();
        (first, name.strip_prefix('*').unwrap_or(name))
    } else {
        let (head, digest) = line.rsplit_once('=')?;
        let name = head.trim().strip_suffix(')').and_then(|head| head.split_once('('));
        (digest.trim(), name.map_or("", |(_, name)| name))
    };
    is_digest(digest).then(|| (digest.to_ascii_lowercase(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_every_form_they_are_written_in() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let upper = md5.to_uppercase();
        let other = "0".repeat(32);
        for (note, expected) in [
            (md5.to_owned(), true),
            (format!("{upper}\r\n"), true),
            (format!("\u{feff}{md5}  a.csv\n"), true),
            (format!("{md5} *a.csv\n"), true),
            (format!("{md5}  ./out/a.csv\n"), true),
            (format!("{md5}  C:\\out\\a.csv\n"), true),
            (format!("{md5}  a.csv.part\n"), true),
            (format!("MD5 (a.csv) = {md5}\n"), true),
            (format!("{other}  b.csv\n{md5}  a.csv\n"), true),
            (format!("# made today\n{md5}  a.csv\n"), true),
            (format!("{other}  b.csv\n{md5}  c.csv\n"), false),
            (format!("{md5}0"), false),
            (md5[1..].to_owned(), false),
            (String::new(), false),
            ("not a digest".to_owned(), false),
        ] {
            let found = noted_digest(note.as_bytes(), "a.csv", 32);
            assert_eq!(found.as_deref(), expected.then_some(md5), "{note:?}");
        }
        assert_eq!(noted_digest(&[0xff; 40], "a.csv", 32), None);
    }
}
