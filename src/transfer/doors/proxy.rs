//! The header of the PROXY protocol, versions 1 and 2: for whom a proxy comes.
//!
//! As HAProxy's proxy-protocol.txt has it. `read` takes exactly the header from the socket; `parse` is
//! pure.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Shortest header of version 1, `PROXY UNKNOWN`; version 2 has none that is shorter.
const V1_MIN_BYTES: usize = 15;
/// Longest header of version 1, with its line end.
const V1_MAX_BYTES: usize = 107;
/// Longest header of version 2 that is taken, with the extensions that are passed over.
const V2_MAX_BYTES: usize = 536;
/// What version 2 begins with.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length.
const V2_FIXED_BYTES: usize = 16;

/// For whom a connection of a proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// A client of the proxy, and the address it reached the proxy at.
    For { peer: SocketAddr, local: SocketAddr },
    /// The proxy itself: a health check.
    Own,
}

/// What a connection of a proxy begins with instead of a header.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("read the PROXY header")]
    Io(#[from] io::Error),
    #[error("no PROXY header: {0}")]
    Invalid(&'static str),
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// A whole header, and nothing behind it.
    Whole(Spoken),
    /// The beginning of one, which has at least so many bytes in all.
    Part(usize),
    Invalid(&'static str),
}

/// Reads the header and nothing behind it. A proxy that closes before the first byte only asked whether
/// we are here.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Spoken, ProxyError> {
    let mut header = Vec::with_capacity(V1_MAX_BYTES);
    loop {
        let wanted = match parse(&header) {
            Parsed::Whole(spoken) => return Ok(spoken),
            Parsed::Part(wanted) => wanted,
            Parsed::Invalid(why) => return Err(ProxyError::Invalid(why)),
        };
        let missing = (wanted - header.len()) as u64;
        match (stream.take(missing).read_buf(&mut header).await?, header.len()) {
            (0, 0) => return Ok(Spoken::Own),
            (0, _) => return Err(ProxyError::Invalid("it ends too early")),
            _ => {}
        }
    }
}

fn parse(header: &[u8]) -> Parsed {
    let signature = &header[..header.len().min(V2_SIGNATURE.len())];
    if header.len() < V1_MIN_BYTES {
        return Parsed::Part(V1_MIN_BYTES);
    }
    if signature == V2_SIGNATURE {
        return parse_v2(header);
    }
    let Some(fields) = header.strip_prefix(b"PROXY ") else {
        return Parsed::Invalid("it begins with something else");
    };
    match (header.last(), fields.strip_suffix(b"\r\n")) {
        (_, Some(fields)) => match parse_v1(fields) {
            Some(spoken) => Parsed::Whole(spoken),
            None => Parsed::Invalid("version 1 with wrong fields"),
        },
        (Some(b'\r'), None) if header.len() < V1_MAX_BYTES => Parsed::Part(header.len() + 1),
        // Only a line end can follow: more must not be read.
        (_, None) if header.len() + 2 <= V1_MAX_BYTES => Parsed::Part(header.len() + 2),
        _ => Parsed::Invalid("version 1 without a line end"),
    }
}

/// `TCP4 203.0.113.7 192.0.2.1 51234 22`, or `UNKNOWN` and whatever follows.
fn parse_v1(fields: &[u8]) -> Option<Spoken> {
    let mut fields = std::str::from_utf8(fields).ok()?.split(' ');
    let family = fields.next()?;
    if family == "UNKNOWN" {
        return Some(Spoken::Own);
    }
    let (from, to) = (fields.next()?, fields.next()?);
    let (from_port, to_port) = (port(fields.next()?)?, port(fields.next()?)?);
    let (from, to): (IpAddr, IpAddr) = match family {
        "TCP4" => (from.parse::<Ipv4Addr>().ok()?.into(), to.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => (from.parse::<Ipv6Addr>().ok()?.into(), to.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    };
    let (peer, local) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
    fields.next().is_none().then_some(Spoken::For { peer, local })
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn parse_v2(header: &[u8]) -> Parsed {
    let Some((fixed, rest)) = header.split_first_chunk::<V2_FIXED_BYTES>() else {
        return Parsed::Part(V2_FIXED_BYTES);
    };
    let [.., command, family, high, low] = *fixed;
    let whole = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if whole > V2_MAX_BYTES {
        return Parsed::Invalid("version 2 with too many bytes");
    }
    if header.len() < whole {
        return Parsed::Part(whole);
    }
    match (command, family) {
        (0x20, _) => Parsed::Whole(Spoken::Own),
        // TCP over IPv4 and IPv6: two addresses, two ports; what follows are extensions.
        (0x21, 0x11) => addresses::<4>(rest),
        (0x21, 0x21) => addresses::<16>(rest),
        // The proxy does not know, or comes over a socket of its own machine.
        (0x21, 0x00 | 0x31 | 0x32) => Parsed::Whole(Spoken::Own),
        (0x21, _) => Parsed::Invalid("version 2 for something else than TCP"),
        _ => Parsed::Invalid("version 2 with an unknown command"),
    }
}

fn addresses<const BYTES: usize>(bytes: &[u8]) -> Parsed
where
    IpAddr: From<[u8; BYTES]>,
{
    let taken = || {
        let (from, rest) = bytes.split_first_chunk::<BYTES>()?;
        let (to, rest) = rest.split_first_chunk::<BYTES>()?;
        let (from_port, rest) = rest.split_first_chunk::<2>()?;
        let (to_port, _) = rest.split_first_chunk::<2>()?;
        let address = |ip: &[u8; BYTES], port: &[u8; 2]| {
            SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port))
        };
        Some(Spoken::For { peer: address(from, from_port), local: address(to, to_port) })
    };
    taken().map_or(Parsed::Invalid("version 2 without its addresses"), Parsed::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(peer: &str, local: &str) -> Parsed {
        let (peer, local) = (peer.parse().unwrap(), local.parse().unwrap());
        Parsed::Whole(Spoken::For { peer, local })
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    #[test]
    fn version_1_is_read_as_it_is_written() {
        let tcp4 = "PROXY TCP4 203.0.113.7 192.0.2.1 51234 22\r\n";
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_MAX_BYTES - 16));
        let rows = [
            (tcp4, spoken("203.0.113.7:51234", "192.0.2.1:22")),
            ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", spoken("[2001:db8::1]:1", "[::1]:65535")),
            ("PROXY UNKNOWN\r\n", Parsed::Whole(Spoken::Own)),
            ("PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", Parsed::Whole(Spoken::Own)),
            (&longest, Parsed::Whole(Spoken::Own)),
            ("PROXY", Parsed::Part(15)),
            ("PROXY TCP4 203.0.113", Parsed::Part(22)),
            (&tcp4[..tcp4.len() - 1], Parsed::Part(tcp4.len())),
        ];
        for (header, expected) in rows {
            assert_eq!(parse(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let endless = format!("PROXY TCP4 {}", " ".repeat(V1_MAX_BYTES - 11));
        for header in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 51234\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 51234 22 1\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 51234 65536\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 +1 22\r\n",
            "PROXY TCP4 ::1 ::1 1 22\r\n",
            "PROXY TCP4 203.0.113.07 192.0.2.1 1 22\r\n",
            "PROXY UDP4 203.0.113.7 192.0.2.1 1 22\r\n",
            "proxy TCP4 203.0.113.7 192.0.2.1 1 22\r\n",
            &endless,
        ] {
            assert!(matches!(parse(header.as_bytes()), Parsed::Invalid(_)), "{header}");
        }
    }

    #[test]
    fn version_2_is_read_with_its_extensions() {
        let four = [203, 0, 113, 7, 192, 0, 2, 1, 0xc8, 0x22, 0, 22];
        let with_more = [four.as_slice(), &[4, 0, 1, 9]].concat();
        let six = [[0x20; 16], [0x30; 16]].concat();
        let six = [six.as_slice(), &[0, 1, 0, 2]].concat();
        let whole = v2(0x21, 0x11, &four);
        let addressed = || spoken("203.0.113.7:51234", "192.0.2.1:22");
        let invalid = |header: &[u8]| matches!(parse(header), Parsed::Invalid(_));
        assert_eq!(parse(&whole), addressed());
        assert_eq!(parse(&v2(0x21, 0x11, &with_more)), addressed());
        let six = parse(&v2(0x21, 0x21, &six));
        assert!(matches!(six, Parsed::Whole(Spoken::For { peer, .. }) if peer.is_ipv6()));
        for (command, family) in [(0x20, 0x11), (0x20, 0x00), (0x21, 0x00), (0x21, 0x31)] {
            let header = v2(command, family, &[]);
            assert_eq!(parse(&header), Parsed::Whole(Spoken::Own), "{command} {family}");
        }
        assert_eq!(parse(&whole[..15]), Parsed::Part(16));
        assert_eq!(parse(&whole[..16]), Parsed::Part(28));
        assert!(invalid(&v2(0x21, 0x11, &four[..11])));
        assert!(invalid(&v2(0x21, 0x12, &four)));
        assert!(invalid(&v2(0x11, 0x11, &four)));
        assert!(invalid(&v2(0x21, 0x11, &[0; V2_MAX_BYTES - 15])));
    }

    #[tokio::test]
    async fn nothing_behind_the_header_is_read() {
        let headers = [
            b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 22\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            v2(0x20, 0, &[]),
            v2(0x21, 0x11, &[0; 12]),
        ];
        for header in headers {
            let bytes = [header.as_slice(), b"SSH-2.0-x"].concat();
            let mut stream = bytes.as_slice();
            read(&mut stream).await.unwrap();
            assert_eq!(stream, b"SSH-2.0-x", "{header:?}");
        }
        assert_eq!(read(&mut b"".as_slice()).await.unwrap(), Spoken::Own);
        assert!(read(&mut b"PROXY TCP4 1".as_slice()).await.is_err());
    }
}
