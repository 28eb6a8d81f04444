//! A line of the client, understood: bytes in, a command or a sentence about what is wrong out.
//!
//! Names are bytes and stay as they were sent. Nothing here knows of logins, disks or sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::digest::Algorithm;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    User(Vec<u8>),
    Pass(Vec<u8>),
    Rein,
    Quit,
    Auth,
    Pbsz,
    /// Whether data connections are to be protected.
    Prot(bool),
    Feat,
    Help,
    /// The state of the server, or a listing on the control connection.
    Stat(Option<Vec<u8>>),
    OptsMlst(Vec<u8>),
    OptsHash(Option<Algorithm>),
    Allo(u64),
    Rest(u64),
    Pwd,
    Cwd(Vec<u8>),
    Mkd(Vec<u8>),
    Rmd(Vec<u8>),
    Dele(Vec<u8>),
    Rnfr(Vec<u8>),
    Rnto(Vec<u8>),
    Size(Vec<u8>),
    Mdtm(Vec<u8>),
    Mfmt(Timestamp, Vec<u8>),
    Mlst(Vec<u8>),
    Chmod(Vec<u8>),
    /// HASH, with the algorithm that OPTS chose.
    Hash(Vec<u8>),
    /// XCRC, XMD5, XSHA and XSHA256: the algorithm is in the verb.
    PlainHash(Algorithm, Vec<u8>),
    Pasv,
    Epsv(Epsv),
    /// PORT and EPRT.
    Port(SocketAddr),
    Abor,
    Mlsd(Vec<u8>),
    List(Vec<u8>),
    Nlst(Vec<u8>),
    Retr(Vec<u8>),
    Stor(Vec<u8>),
    Appe(Vec<u8>),
    Stou(Vec<u8>),
    /// A wish that is always answered the same.
    Always(u16, &'static str),
}

/// What follows EPSV (RFC 2428).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Epsv {
    Any,
    V4,
    V6,
    /// From now on nothing but EPSV.
    All,
}

/// A line that is no command of ours; the text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) code: u16,
    pub(super) text: &'static str,
}

/// The verbs, as HELP shows them.
pub(super) const VERBS: &[&str] = &[
    "ABOR", "ACCT", "ALLO", "APPE", "AUTH", "CCC", "CDUP", "CLNT", "CWD", "DELE", "EPRT", "EPSV",
    "FEAT", "HASH", "HELP", "HOST", "LANG", "LIST", "MDTM", "MFMT", "MKD", "MLSD", "MLST", "MODE",
    "NLST", "NOOP", "OPTS", "PASS", "PASV", "PBSZ", "PORT", "PROT", "PWD", "QUIT", "REIN", "REST",
    "RETR", "RMD", "RNFR", "RNTO", "SITE", "SIZE", "STAT", "STOR", "STOU", "STRU", "SYST", "TYPE",
    "USER", "XCRC", "XMD5", "XSHA", "XSHA256",
];

const NO_PATH: Unfit = unfit(501, "Say which file or folder: the path is missing.");
const BAD_ADDRESS: Unfit = unfit(501, "This is not an address and a port.");

const fn unfit(code: u16, text: &'static str) -> Unfit {
    Unfit { code, text }
}

impl Command {
    /// What may be asked before anybody has logged in.
    pub(super) fn needs_login(&self) -> bool {
        !matches!(
            self,
            Command::User(_)
                | Command::Pass(_)
                | Command::Rein
                | Command::Quit
                | Command::Auth
                | Command::Pbsz
                | Command::Prot(_)
                | Command::Feat
                | Command::Help
                | Command::OptsMlst(_)
                | Command::OptsHash(_)
                | Command::Always(..)
        )
    }
}

/// Understands one line, without its end.
pub(super) fn parse(line: &[u8]) -> Result<Command, Unfit> {
    if line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Err(unfit(501, "A line may not hold NUL or CR: names cannot have them."));
    }
    let (verb, rest) = split_word(line);
    let verb = verb.to_ascii_uppercase();
    access(&verb, rest)
        .or_else(|| manner(&verb, rest))
        .or_else(|| tree(&verb, rest))
        .or_else(|| data(&verb, rest))
        .unwrap_or(Err(unfit(500, "This command is not known; HELP lists those that are.")))
}

type Parsed = Option<Result<Command, Unfit>>;

/// Who is there, and behind which protection.
fn access(verb: &[u8], rest: &[u8]) -> Parsed {
    Some(match verb {
        b"USER" if rest.is_empty() => Err(unfit(501, "Say who you are: USER and a name.")),
        b"USER" => Ok(Command::User(rest.to_vec())),
        b"PASS" => Ok(Command::Pass(rest.to_vec())),
        b"ACCT" => Ok(Command::Always(202, "No account is needed beside the login.")),
        b"REIN" => Ok(Command::Rein),
        b"QUIT" => Ok(Command::Quit),
        b"AUTH" => match rest.to_ascii_uppercase().as_slice() {
            b"TLS" | b"TLS-C" | b"TLS-P" | b"SSL" => Ok(Command::Auth),
            b"" => Err(unfit(501, "Say which protection: AUTH TLS.")),
            _ => Err(unfit(504, "Only AUTH TLS is known here.")),
        },
        b"PBSZ" => number(rest).map(|_| Command::Pbsz),
        b"PROT" => match rest.to_ascii_uppercase().as_slice() {
            b"P" => Ok(Command::Prot(true)),
            b"C" => Ok(Command::Prot(false)),
            b"S" | b"E" => Err(unfit(536, "Only PROT P and PROT C are possible with TLS.")),
            _ => Err(unfit(504, "Only PROT P and PROT C are known.")),
        },
        b"CCC" => Ok(Command::Always(534, "The control connection stays protected.")),
        b"HOST" if rest.is_empty() => Err(unfit(501, "Say which host: HOST and a name.")),
        b"HOST" => Ok(Command::Always(220, "Every name leads to the same server here.")),
        _ => return None,
    })
}

/// How the two talk to each other.
fn manner(verb: &[u8], rest: &[u8]) -> Parsed {
    let upper = rest.to_ascii_uppercase();
    Some(match verb {
        b"NOOP" => Ok(Command::Always(200, "Still here.")),
        b"HELP" => Ok(Command::Help),
        b"FEAT" => Ok(Command::Feat),
        b"SYST" => Ok(Command::Always(215, "UNIX Type: L8")),
        b"CLNT" => Ok(Command::Always(200, "Noted.")),
        b"LANG" if upper.is_empty() || upper.starts_with(b"EN") => {
            Ok(Command::Always(200, "English it is."))
        }
        b"LANG" => Err(unfit(504, "Only English is spoken here.")),
        b"TYPE" => match upper.as_slice() {
            b"I" | b"L 8" => Ok(Command::Always(200, "Bytes go through as they are.")),
            b"A" | b"A N" => {
                Ok(Command::Always(200, "Taken, but bytes go through as they are, as in TYPE I."))
            }
            b"" => Err(unfit(501, "Say which type: TYPE I or TYPE A.")),
            _ => Err(unfit(504, "Only TYPE I and TYPE A are known.")),
        },
        b"STRU" if upper == b"F" => Ok(Command::Always(200, "Files are plain bytes.")),
        b"STRU" => Err(unfit(504, "Only STRU F is known.")),
        b"MODE" if upper == b"S" => Ok(Command::Always(200, "Data flows as a stream.")),
        b"MODE" => Err(unfit(504, "Only MODE S is known.")),
        b"OPTS" => options(rest),
        b"SITE" => site(rest),
        b"SMNT" => Err(unfit(502, "There is nothing to mount.")),
        _ => return None,
    })
}

fn options(rest: &[u8]) -> Result<Command, Unfit> {
    let (what, how) = split_word(rest);
    match what.to_ascii_uppercase().as_slice() {
        b"UTF8" | b"UTF-8" => Ok(Command::Always(200, "Names are UTF-8, always.")),
        b"MLST" => Ok(Command::OptsMlst(how.to_vec())),
        b"HASH" if how.is_empty() => Ok(Command::OptsHash(None)),
        b"HASH" => match Algorithm::named(how) {
            Some(algorithm) => Ok(Command::OptsHash(Some(algorithm))),
            None => Err(unfit(501, "This digest is not known; FEAT lists those that are.")),
        },
        _ => Err(unfit(501, "There are options for UTF8, MLST and HASH only.")),
    }
}

fn site(rest: &[u8]) -> Result<Command, Unfit> {
    let (what, how) = split_word(rest);
    match what.to_ascii_uppercase().as_slice() {
        b"HELP" | b"" => Ok(Command::Always(214, "SITE knows HELP, CHMOD and UTIME.")),
        b"CHMOD" => path(split_word(how).1).map(Command::Chmod),
        b"UTIME" => Ok(Command::Always(200, "Taken; files keep the time of their arrival.")),
        _ => Err(unfit(504, "SITE knows HELP, CHMOD and UTIME only.")),
    }
}

/// What is done with names, without a data connection.
fn tree(verb: &[u8], rest: &[u8]) -> Parsed {
    Some(match verb {
        b"PWD" | b"XPWD" => Ok(Command::Pwd),
        b"CDUP" | b"XCUP" => Ok(Command::Cwd(b"..".to_vec())),
        b"CWD" | b"XCWD" => path(rest).map(Command::Cwd),
        b"MKD" | b"XMKD" => path(rest).map(Command::Mkd),
        b"RMD" | b"XRMD" => path(rest).map(Command::Rmd),
        b"DELE" => path(rest).map(Command::Dele),
        b"RNFR" => path(rest).map(Command::Rnfr),
        b"RNTO" => path(rest).map(Command::Rnto),
        b"SIZE" => path(rest).map(Command::Size),
        b"MDTM" => path(rest).map(Command::Mdtm),
        b"MFMT" => {
            let (time, name) = split_word(rest);
            match moment(time) {
                Some(time) => path(name).map(|path| Command::Mfmt(time, path)),
                None => Err(unfit(501, "The time is written YYYYMMDDHHMMSS, in UTC.")),
            }
        }
        b"MLST" => Ok(Command::Mlst(rest.to_vec())),
        b"STAT" if without_options(rest).is_empty() => Ok(Command::Stat(None)),
        b"STAT" => Ok(Command::Stat(Some(without_options(rest).to_vec()))),
        b"HASH" => path(rest).map(Command::Hash),
        b"XCRC" => path(rest).map(|path| Command::PlainHash(Algorithm::Crc32, path)),
        b"XMD5" => path(rest).map(|path| Command::PlainHash(Algorithm::Md5, path)),
        b"XSHA" | b"XSHA1" => path(rest).map(|path| Command::PlainHash(Algorithm::Sha1, path)),
        b"XSHA256" => path(rest).map(|path| Command::PlainHash(Algorithm::Sha256, path)),
        _ => return None,
    })
}

/// What needs or concerns a data connection.
fn data(verb: &[u8], rest: &[u8]) -> Parsed {
    Some(match verb {
        b"PASV" => Ok(Command::Pasv),
        b"EPSV" => match rest.to_ascii_uppercase().as_slice() {
            b"" => Ok(Command::Epsv(Epsv::Any)),
            b"1" => Ok(Command::Epsv(Epsv::V4)),
            b"2" => Ok(Command::Epsv(Epsv::V6)),
            b"ALL" => Ok(Command::Epsv(Epsv::All)),
            _ => Err(unfit(522, "This network protocol is not known, use (1,2).")),
        },
        b"PORT" => port(rest).map(Command::Port).ok_or(BAD_ADDRESS),
        b"EPRT" => extended_port(rest),
        b"REST" => number(rest).map(Command::Rest),
        b"ALLO" => number(split_word(rest).0).map(Command::Allo),
        b"ABOR" => Ok(Command::Abor),
        b"LIST" => Ok(Command::List(without_options(rest).to_vec())),
        b"NLST" => Ok(Command::Nlst(without_options(rest).to_vec())),
        b"MLSD" => Ok(Command::Mlsd(rest.to_vec())),
        b"RETR" => path(rest).map(Command::Retr),
        b"STOR" => path(rest).map(Command::Stor),
        b"APPE" => path(rest).map(Command::Appe),
        b"STOU" => Ok(Command::Stou(rest.to_vec())),
        _ => return None,
    })
}

/// The bytes to the first space, and those behind it; a second space belongs to a name.
fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, b""),
    }
}

fn path(rest: &[u8]) -> Result<Vec<u8>, Unfit> {
    if rest.is_empty() { Err(NO_PATH) } else { Ok(rest.to_vec()) }
}

fn number(rest: &[u8]) -> Result<u64, Unfit> {
    let digits = rest.trim_ascii();
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    text.and_then(|text| text.parse().ok()).ok_or(unfit(501, "This is not a number of bytes."))
}

/// Clients ask `LIST -la folder` as if there were a shell behind it.
fn without_options(mut rest: &[u8]) -> &[u8] {
    while rest.first() == Some(&b'-') {
        rest = split_word(rest).1;
    }
    rest
}

/// `YYYYMMDDHHMMSS`, with or without a fraction (RFC 3659, 2.3).
fn moment(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() != 14 || !digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits[range].parse::<i8>().ok();
    let (year, second) = (digits[..4].parse::<i16>().ok()?, part(12..14)?);
    let (month, day, hour, minute) = (part(4..6)?, part(6..8)?, part(8..10)?, part(10..12)?);
    let civil = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// `h1,h2,h3,h4,p1,p2`.
fn port(rest: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(rest).ok()?;
    let bytes: Vec<u8> =
        text.split(',').map(|byte| byte.trim().parse().ok()).collect::<Option<_>>()?;
    let [a, b, c, d, high, low] = bytes[..] else { return None };
    let port = u16::from_be_bytes([high, low]);
    Some(SocketAddr::from((Ipv4Addr::new(a, b, c, d), port)))
}

/// `|1|192.0.2.7|50000|`, with any delimiter (RFC 2428).
fn extended_port(rest: &[u8]) -> Result<Command, Unfit> {
    let text = std::str::from_utf8(rest).map_err(|_| BAD_ADDRESS)?;
    let delimiter = text.chars().next().ok_or(BAD_ADDRESS)?;
    let parts: Vec<&str> = text.split(delimiter).collect();
    let ["", family, address, port, ""] = parts[..] else { return Err(BAD_ADDRESS) };
    let port: u16 = port.parse().map_err(|_| BAD_ADDRESS)?;
    let address: IpAddr = match family {
        "1" => IpAddr::V4(address.parse().map_err(|_| BAD_ADDRESS)?),
        "2" => IpAddr::V6(address.parse().map_err(|_| BAD_ADDRESS)?),
        _ => return Err(unfit(522, "This network protocol is not known, use (1,2).")),
    };
    Ok(Command::Port(SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands() {
        let address = |text: &str| Command::Port(text.parse().unwrap());
        let time = "2026-11-23T08:30:00Z".parse().unwrap();
        let rows: &[(&[u8], Command)] = &[
            (b"user erp", Command::User(b"erp".to_vec())),
            (b"PASS ", Command::Pass(Vec::new())),
            (b"PASS  two  ", Command::Pass(b" two  ".to_vec())),
            (b"CWD  x ", Command::Cwd(b" x ".to_vec())),
            (b"STOR a\xff\xfeb", Command::Stor(b"a\xff\xfeb".to_vec())),
            (b"xcup", Command::Cwd(b"..".to_vec())),
            (b"LIST -la inbox", Command::List(b"inbox".to_vec())),
            (b"LIST -a -l", Command::List(Vec::new())),
            (b"NLST *.csv", Command::Nlst(b"*.csv".to_vec())),
            (b"STAT -l x", Command::Stat(Some(b"x".to_vec()))),
            (b"STAT", Command::Stat(None)),
            (b"AUTH ssl", Command::Auth),
            (b"PROT p", Command::Prot(true)),
            (b"REST 18446744073709551615", Command::Rest(u64::MAX)),
            (b"ALLO 100 R 10", Command::Allo(100)),
            (b"EPSV all", Command::Epsv(Epsv::All)),
            (b"PORT 192,0,2,7,195,80", address("192.0.2.7:50000")),
            (b"EPRT |1|192.0.2.7|50000|", address("192.0.2.7:50000")),
            (b"EPRT !2!2001:db8::1!50000!", address("[2001:db8::1]:50000")),
            (b"MFMT 20261123083000 a b", Command::Mfmt(time, b"a b".to_vec())),
            (b"MFMT 20261123083000.123 a", Command::Mfmt(time, b"a".to_vec())),
            (b"OPTS HASH sha-1", Command::OptsHash(Some(Algorithm::Sha1))),
            (b"XCRC a", Command::PlainHash(Algorithm::Crc32, b"a".to_vec())),
            (b"SITE CHMOD 644 a b", Command::Chmod(b"a b".to_vec())),
        ];
        for (line, command) in rows {
            assert_eq!(parse(line).as_ref(), Ok(command), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_by_its_code() {
        let rows: &[(&[u8], u16)] = &[
            (b"", 500),
            (b" NOOP", 500),
            (b"XYZZY", 500),
            (b"\xff\xff", 500),
            (b"STOR a\0b", 501),
            (b"STOR a\rb", 501),
            (b"USER", 501),
            (b"STOR", 501),
            (b"SIZE ", 501),
            (b"REST", 501),
            (b"REST abc", 501),
            (b"REST -1", 501),
            (b"REST +1", 501),
            (b"REST 18446744073709551616", 501),
            (b"PORT 1,2,3,4,5", 501),
            (b"PORT 1,2,3,4,5,256", 501),
            (b"EPRT |1|::1|5|", 501),
            (b"EPRT |3|x|5|", 522),
            (b"EPRT ", 501),
            (b"EPSV 3", 522),
            (b"MFMT 20261323083000 a", 501),
            (b"MFMT 2026 a", 501),
            (b"MFMT 20261123083000", 501),
            (b"TYPE E", 504),
            (b"TYPE", 501),
            (b"MODE Z", 504),
            (b"STRU R", 504),
            (b"AUTH KERBEROS", 504),
            (b"PROT S", 536),
            (b"OPTS FOO", 501),
            (b"OPTS HASH rot13", 501),
            (b"SITE EXEC ls", 504),
            (b"LANG de", 504),
            (b"SMNT x", 502),
        ];
        for (line, code) in rows {
            assert_eq!(parse(line).map_err(|e| e.code), Err(*code), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn help_lists_what_is_known() {
        for verb in VERBS {
            let known = parse(verb.as_bytes());
            assert!(!matches!(known, Err(Unfit { code: 500, .. })), "{verb}");
        }
    }
}
