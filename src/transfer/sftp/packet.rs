//! Requests of SFTP version 3 (draft-ietf-secsh-filexfer-02) as they come over the wire.

/// Largest packet, header included: 256 KiB of data is what clients send at most.
pub(super) const PACKET_MAX_BYTES: usize = (256 << 10) + 1024;

/// Bytes that are no SFTP; nothing after them can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transfer) struct Malformed;

/// What the client wants. Names are bytes, as sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Init,
    Open {
        path: &'a [u8],
        flags: u32,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    Stat {
        path: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    Setstat {
        path: &'a [u8],
        length: Option<u64>,
    },
    Fsetstat {
        handle: &'a [u8],
        length: Option<u64>,
    },
    Opendir {
        path: &'a [u8],
    },
    Readdir {
        handle: &'a [u8],
    },
    Remove {
        path: &'a [u8],
    },
    Mkdir {
        path: &'a [u8],
    },
    Rmdir {
        path: &'a [u8],
    },
    Realpath {
        path: &'a [u8],
    },
    Rename {
        from: &'a [u8],
        to: &'a [u8],
        replace: bool,
    },
    Fsync {
        handle: &'a [u8],
    },
    Statvfs {
        path: &'a [u8],
    },
    Limits,
    /// Links, locks and whatever else is not offered.
    Unsupported,
}

/// A packet's request with the id its answer carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) id: u32,
    pub(super) request: Request<'a>,
}

/// The first packet of `input` without its length, and the bytes it takes; `None` where it is not
/// all there yet.
pub(super) fn split(input: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length == 0 || length > PACKET_MAX_BYTES {
        return Err(Malformed);
    }
    Ok(rest.get(..length).map(|body| (body, length + 4)))
}

/// Reads a packet's body.
pub(super) fn parse(body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut fields = Fields(body);
    let kind = fields.byte()?;
    // In INIT the version stands where all others have the id.
    let id = fields.u32()?;
    let request = match kind {
        1 => Request::Init,
        3 => Request::Open { path: fields.bytes()?, flags: fields.u32()? },
        4 => Request::Close { handle: fields.bytes()? },
        5 => {
            Request::Read { handle: fields.bytes()?, offset: fields.u64()?, length: fields.u32()? }
        }
        6 => {
            Request::Write { handle: fields.bytes()?, offset: fields.u64()?, data: fields.bytes()? }
        }
        7 | 17 => Request::Stat { path: fields.bytes()? },
        8 => Request::Fstat { handle: fields.bytes()? },
        9 => Request::Setstat { path: fields.bytes()?, length: fields.attributes_length()? },
        10 => Request::Fsetstat { handle: fields.bytes()?, length: fields.attributes_length()? },
        11 => Request::Opendir { path: fields.bytes()? },
        12 => Request::Readdir { handle: fields.bytes()? },
        13 => Request::Remove { path: fields.bytes()? },
        14 => Request::Mkdir { path: fields.bytes()? },
        15 => Request::Rmdir { path: fields.bytes()? },
        16 => Request::Realpath { path: fields.bytes()? },
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
        b"fsync@openssh.com" => Request::Fsync { handle: fields.bytes()? },
        b"statvfs@openssh.com" => Request::Statvfs { path: fields.bytes()? },
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
        let open = b"\0\0\0\x16\x03\0\0\0\x07\0\0\0\x05a.csv\0\0\0\x1a\0\0\0\0rest";
        let (body, used) = split(open).unwrap().unwrap();
        assert_eq!(used, 26);
        let request = Request::Open { path: b"a.csv", flags: 0x1a };
        assert_eq!(parse(body), Ok(Packet { id: 7, request }));
        for length in 0..26 {
            assert_eq!(split(&open[..length]), Ok(None), "{length}");
        }
        for length in 1..body.len() - 4 {
            assert_eq!(parse(&body[..length]), Err(Malformed), "{length}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(split(b"\0\0\0\0"), Err(Malformed));
        assert_eq!(split(b"\xff\xff\xff\xff"), Err(Malformed));
        assert_eq!(parse(b"\x04\0\0\0\x01\xff\xff\xff\xffab"), Err(Malformed));
        let unknown = Packet { id: 9, request: Request::Unsupported };
        assert_eq!(parse(b"\x15\0\0\0\x09"), Ok(unknown));
    }
}
