//! The small alphabet of stored bytes: varints, and texts with their length in front.

/// Bytes on disk that do not decode: a damaged file, never a partner's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("spool record does not decode")]
pub struct Undecodable;

pub(super) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A moment in milliseconds; nothing is stored as 0, which no message of ours can mean.
pub(super) fn put_time(out: &mut Vec<u8>, time: Option<jiff::Timestamp>) {
    put_u64(out, time.map_or(0, |t| t.as_millisecond().max(0) as u64));
}

/// Reads what the functions above wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn u8(&mut self) -> Result<u8, Undecodable> {
        let (first, rest) = self.0.split_first().ok_or(Undecodable)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Undecodable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Undecodable)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Undecodable> {
        if len > self.0.len() {
            return Err(Undecodable);
        }
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Undecodable> {
        let len = self.u64()? as usize;
        self.text_of(len)
    }

    pub(super) fn text_of(&mut self, len: usize) -> Result<&'a str, Undecodable> {
        std::str::from_utf8(self.take(len)?).map_err(|_| Undecodable)
    }

    pub(super) fn time(&mut self) -> Result<Option<jiff::Timestamp>, Undecodable> {
        match self.u64()? {
            0 => Ok(None),
            ms => {
                let ms = i64::try_from(ms).map_err(|_| Undecodable)?;
                jiff::Timestamp::from_millisecond(ms).map(Some).map_err(|_| Undecodable)
            }
        }
    }
}
