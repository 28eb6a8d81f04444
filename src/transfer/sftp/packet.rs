//! Requests of SFTP version 3 (draft-ietf-secsh-filexfer-02) as they come over the wire.

/// Largest packet, its length not included: 256 KiB of data is what clients send at most.
pub(super) const PACKET_MAX_BYTES: usize = (256 << 10) + 1024;

/// The length before each packet.
const LENGTH_BYTES: usize = 4;

/// Bytes that are no SFTP; nothing after them can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transfer) struct Malformed;

/// A path as sent: bytes, not text.
type Path<'a> = &'a [u8];
/// A handle as we named it.
type Name<'a> = &'a [u8];

/// What the client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Init,
    Open {
        path: Path<'a>,
        flags: u32,
    },
    Close(Name<'a>),
    Read {
        handle: Name<'a>,
        offset: u64,
        length: u32,
    },
    Write {
        handle: Name<'a>,
        offset: u64,
        data: &'a [u8],
    },
    Stat(Path<'a>),
    Fstat(Name<'a>),
    Setstat {
        path: Path<'a>,
        length: Option<u64>,
    },
    Fsetstat {
        handle: Name<'a>,
        length: Option<u64>,
    },
    Opendir(Path<'a>),
    Readdir(Name<'a>),
    Remove(Path<'a>),
    Mkdir(Path<'a>),
    Rmdir(Path<'a>),
    Realpath(Path<'a>),
    Rename {
        from: Path<'a>,
        to: Path<'a>,
        replace: bool,
    },
    Fsync(Name<'a>),
    Statvfs(Path<'a>),
    Limits,
    /// Links, locks, copies and whatever else is not offered.
    Unsupported,
}

/// A packet's request with the id its answer carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) id: u32,
    pub(super) request: Request<'a>,
}

/// The bytes the first packet of `input` takes, its length included; `None` where the length is not
/// all there yet.
pub(super) fn size(input: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length == 0 || length > PACKET_MAX_BYTES {
        return Err(Malformed);
    }
    Ok(Some(LENGTH_BYTES + length))
}

/// Reads a packet, its length included.
pub(super) fn parse(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut fields = Fields(packet);
    fields.u32()?;
    let kind = fields.byte()?;
    // In INIT the version stands where all others have the id.
    let id = fields.u32()?;
    let request = match kind {
        1 => Request::Init,
        3 => Request::Open { path: fields.bytes()?, flags: fields.u32()? },
        4 => Request::Close(fields.bytes()?),
        5 => {
            let (handle, offset) = (fields.bytes()?, fields.u64()?);
            Request::Read { handle, offset, length: fields.u32()? }
        }
        6 => {
            let (handle, offset) = (fields.bytes()?, fields.u64()?);
            Request::Write { handle, offset, data: fields.bytes()? }
        }
        7 | 17 => Request::Stat(fields.bytes()?),
        8 => Request::Fstat(fields.bytes()?),
        9 => Request::Setstat { path: fields.bytes()?, length: fields.attributes_length()? },
        10 => Request::Fsetstat { handle: fields.bytes()?, length: fields.attributes_length()? },
        11 => Request::Opendir(fields.bytes()?),
        12 => Request::Readdir(fields.bytes()?),
        13 => Request::Remove(fields.bytes()?),
        14 => Request::Mkdir(fields.bytes()?),
        15 => Request::Rmdir(fields.bytes()?),
        16 => Request::Realpath(fields.bytes()?),
        18 => Request::Rename { from: fields.bytes()?, to: fields.bytes()?, replace: false },
        200 => extended(&mut fields)?,
        _ => Request::Unsupported,
    };
    Ok(Packet { id, request })
}

fn extended<'a>(fields: &mut Fields<'a>) -> Result<Request<'a>, Malformed> {
    Ok(match fields.bytes()? {
        b"posix-rename@openssh.com" => {
            Request::Rename { from: fields.bytes()?, to: fields.bytes()?, replace: true }
        }
        b"fsync@openssh.com" => Request::Fsync(fields.bytes()?),
        b"statvfs@openssh.com" => Request::Statvfs(fields.bytes()?),
        b"limits@openssh.com" => Request::Limits,
        _ => Request::Unsupported,
    })
}

/// The fields of a packet, read from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*first))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*first))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        let (first, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    /// Of a file's attributes only the length matters here; it stands first.
    fn attributes_length(&mut self) -> Result<Option<u64>, Malformed> {
        const HAS_LENGTH: u32 = 1;
        let flags = self.u32()?;
        if flags & HAS_LENGTH != 0 { self.u64().map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_only_when_whole() {
        let open = b"\0\0\0\x16\x03\0\0\0\x07\0\0\0\x05a.csv\0\0\0\x1a\0\0\0\0";
        assert_eq!(size(open), Ok(Some(open.len())));
        let request = Request::Open { path: b"a.csv", flags: 0x1a };
        assert_eq!(parse(open), Ok(Packet { id: 7, request }));
        for length in 0..4 {
            assert_eq!(size(&open[..length]), Ok(None), "{length}");
        }
        for length in 0..open.len() - 4 {
            assert_eq!(parse(&open[..length]), Err(Malformed), "{length}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(size(b"\0\0\0\0"), Err(Malformed));
        assert_eq!(size(b"\xff\xff\xff\xff"), Err(Malformed));
        assert_eq!(size(b"\x80\0\0\0"), Err(Malformed));
        assert_eq!(parse(b"\0\0\0\x0b\x04\0\0\0\x01\xff\xff\xff\xffab"), Err(Malformed));
        let unknown = Packet { id: 9, request: Request::Unsupported };
        assert_eq!(parse(b"\0\0\0\x05\x15\0\0\0\x09"), Ok(unknown));
        let copy = b"\0\0\0\x12\xc8\0\0\0\x09\0\0\0\x09copy-data";
        assert_eq!(parse(copy), Ok(Packet { id: 9, request: Request::Unsupported }));
    }
}
