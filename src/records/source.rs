//! The file as a window of text: reads, digests, finds the encoding, decodes.
//!
//! The window holds what was read and not yet consumed. UTF-8 is checked where it lies and never
//! copied; other encodings are decoded into the window.

use std::borrow::Cow;
use std::io::{self, Read};

use encoding_rs::{DecoderResult, UTF_16BE, UTF_16LE};
use sha2::{Digest, Sha256};

use super::encoding::{Decoding, TextEncoding};

/// Bytes asked of the input at once.
const CHUNK_BYTES: usize = 128 << 10;
/// The byte order mark, as UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";
/// The control character that DOS programs put behind the last line.
const DOS_END: u8 = 0x1A;

pub(super) struct Source<R> {
    input: R,
    chunk_bytes: usize,
    encoding: TextEncoding,
    /// `None` while the window takes bytes as they come.
    decoder: Option<Decoding>,
    /// Bytes read but not decoded yet; unused without a decoder.
    raw: Vec<u8>,
    buffer: Vec<u8>,
    start: usize,
    /// End of what the window shows; between it and `filled` stands an unfinished character.
    shown: usize,
    filled: usize,
    input_ended: bool,
    dos_end: bool,
    /// Offset in the file of the first byte that does not fit the encoding.
    malformed_at: Option<u64>,
    suspect: Option<Utf8Watch>,
    bytes: u64,
    digest: Sha256,
}

impl<R: Read> Source<R> {
    pub(super) fn new(input: R) -> Source<R> {
        Source {
            input,
            chunk_bytes: CHUNK_BYTES,
            encoding: TextEncoding::UTF_8,
            decoder: None,
            raw: Vec::new(),
            buffer: Vec::new(),
            start: 0,
            shown: 0,
            filled: 0,
            input_ended: false,
            dos_end: false,
            malformed_at: None,
            suspect: None,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// Asks for so few bytes at once that their ends come to stand everywhere.
    #[cfg(feature = "fuzzing")]
    pub(super) fn in_chunks_of(mut self, bytes: usize) -> Source<R> {
        self.chunk_bytes = bytes;
        self
    }

    /// Reads the first chunk and settles the encoding: a byte order mark, else what the file's own
    /// `#encoding=` line says, else what is declared. Returns whether there was a mark.
    pub(super) fn begin(&mut self, declared: Option<TextEncoding>) -> io::Result<bool> {
        self.read_chunk()?;
        let head = &self.buffer[..self.filled];
        let (encoding, mark) = match head {
            [0xEF, 0xBB, 0xBF, ..] => (TextEncoding::UTF_8, 3),
            [0xFF, 0xFE, ..] => (TextEncoding::Web(UTF_16LE), 2),
            [0xFE, 0xFF, ..] => (TextEncoding::Web(UTF_16BE), 2),
            _ => (encoding_directive(head).or(declared).unwrap_or(TextEncoding::UTF_8), 0),
        };
        self.encoding = encoding;
        self.start = mark;
        self.shown = mark;
        if encoding != TextEncoding::UTF_8 {
            self.decoder = Some(Decoding::new(encoding));
            self.raw = self.buffer[mark..self.filled].to_vec();
            if encoding.is_single_byte() && encoding.is_ascii_compatible() {
                self.suspect = Some(Utf8Watch::default());
            }
            (self.start, self.shown, self.filled) = (0, 0, 0);
        }
        self.take_in();
        // A file that was marked twice is marked all the same.
        self.pass_marks();
        Ok(mark > 0)
    }

    /// Passes byte order marks at the window's start.
    pub(super) fn pass_marks(&mut self) {
        while self.window().starts_with(MARK) {
            self.start += MARK.len();
        }
    }

    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.shown]
    }

    /// Nothing follows the window.
    pub(super) fn ended(&self) -> bool {
        self.input_ended && self.malformed_at.is_none()
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Makes the window longer, if anything follows.
    pub(super) fn more(&mut self) -> io::Result<()> {
        let before = self.window().len();
        while !self.input_ended && self.malformed_at.is_none() && self.window().len() == before {
            self.read_chunk()?;
            self.take_in();
        }
        Ok(())
    }

    /// The text of bytes from the window.
    pub(super) fn text_of<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        String::from_utf8_lossy(bytes)
    }

    pub(super) fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    /// The byte that ends lines, where the encoding has more than one that could.
    pub(super) fn line_end(&self) -> Option<u8> {
        self.decoder.as_ref().and_then(Decoding::line_end)
    }

    /// The first bytes of the file, decoded or not.
    pub(super) fn head(&self) -> &[u8] {
        if self.decoder.is_some() { &self.raw } else { &self.buffer[self.start..self.filled] }
    }

    pub(super) fn malformed_at(&self) -> Option<u64> {
        self.malformed_at
    }

    /// The file ended with the DOS end mark, so its last line is whole.
    pub(super) fn dos_end(&self) -> bool {
        self.dos_end
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The declared encoding is single-byte, yet all that is not ASCII would be valid UTF-8.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.as_ref().is_some_and(Utf8Watch::fired)
    }

    /// Reads on to the end, so that size and digest are those of the whole file.
    pub(super) fn drain(mut self) -> io::Result<(u64, [u8; 32])> {
        while !self.input_ended {
            (self.start, self.shown, self.filled) = (0, 0, 0);
            self.raw.clear();
            self.read_chunk()?;
        }
        Ok((self.bytes, self.digest.finalize().into()))
    }

    /// Reads up to a chunk: to the window's end, or to `raw` where a decoder stands between.
    fn read_chunk(&mut self) -> io::Result<()> {
        let target = if self.decoder.is_some() {
            self.raw.resize(self.chunk_bytes, 0);
            &mut self.raw[..]
        } else {
            make_room(&mut self.buffer, &mut self.start, &mut self.shown, &mut self.filled, 1);
            let end = self.buffer.len();
            #[cfg(feature = "fuzzing")]
            let end = end.min(self.filled + self.chunk_bytes);
            &mut self.buffer[self.filled..end]
        };
        let mut got = 0;
        while got < target.len() {
            match self.input.read(&mut target[got..]) {
                Ok(0) => {
                    self.input_ended = true;
                    break;
                }
                Ok(bytes) => got += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.digest.update(&target[..got]);
        self.bytes += got as u64;
        if self.decoder.is_some() {
            self.raw.truncate(got);
        } else {
            self.filled += got;
        }
        Ok(())
    }

    /// Shows what was read last, as far as it is whole characters.
    fn take_in(&mut self) {
        if self.decoder.is_some() {
            self.decode();
            self.shown = self.filled;
        } else {
            self.check_utf8();
        }
        // A DOS end mark stays hidden until it is known whether anything follows it.
        if self.shown > self.start && self.buffer[self.shown - 1] == DOS_END {
            self.shown -= 1;
            if self.input_ended && self.malformed_at.is_none() {
                self.dos_end = true;
                self.filled = self.shown;
            }
        }
    }

    fn check_utf8(&mut self) {
        match std::str::from_utf8(&self.buffer[self.shown..self.filled]) {
            Ok(_) => self.shown = self.filled,
            Err(error) => {
                self.shown += error.valid_up_to();
                if error.error_len().is_some() || self.input_ended {
                    let behind = (self.filled - self.shown) as u64;
                    self.malformed_at = Some(self.bytes - behind);
                }
            }
        }
    }

    fn decode(&mut self) {
        let Some(decoder) = &mut self.decoder else { return };
        if let Some(watch) = &mut self.suspect {
            watch.see(&self.raw, self.input_ended);
        }
        let mut read_total = 0;
        loop {
            let room = (self.raw.len() - read_total) * 3 + 64;
            make_room(&mut self.buffer, &mut self.start, &mut self.shown, &mut self.filled, room);
            let raw = &self.raw[read_total..];
            let piece = decoder.decode(raw, &mut self.buffer[self.filled..], self.input_ended);
            read_total += piece.read;
            self.filled += piece.written;
            match piece.result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(length, after) => {
                    let behind = (self.raw.len() - read_total) as u64;
                    self.malformed_at =
                        Some(self.bytes - behind - u64::from(after) - u64::from(length));
                    return;
                }
            }
        }
    }
}

/// Moves the window to the buffer's front and grows the buffer, so that `room` bytes fit behind it.
/// The buffer never exceeds the longest record and two chunks: the window is consumed before that.
fn make_room(
    buffer: &mut Vec<u8>,
    start: &mut usize,
    shown: &mut usize,
    filled: &mut usize,
    room: usize,
) {
    if *start > 0 {
        buffer.copy_within(*start..*filled, 0);
        *shown -= *start;
        *filled -= *start;
        *start = 0;
    }
    // A window that is longer than a chunk is doubled, so that a long record is not moved often.
    let wanted = *filled + room.max(CHUNK_BYTES.max(*filled));
    if buffer.len() < *filled + room.max(CHUNK_BYTES / 2) {
        buffer.resize(wanted, 0);
    }
}

/// The encoding that a `#encoding=` line before the header names.
fn encoding_directive(head: &[u8]) -> Option<TextEncoding> {
    let is_preamble = |line: &&[u8]| {
        let text = line.trim_ascii();
        text.is_empty() || text[0] == b'#' || text.to_ascii_lowercase().starts_with(b"sep=")
    };
    head.split(|b| matches!(b, b'\r' | b'\n')).take_while(is_preamble).find_map(|line| {
        let (key, value) =
            std::str::from_utf8(line.trim_ascii().strip_prefix(b"#")?).ok()?.split_once('=')?;
        let label = value.trim_end_matches([',', ';', '\t', '|', ' ']).trim();
        let encoding = TextEncoding::from_label(label)?;
        (key.trim().eq_ignore_ascii_case("encoding") && encoding.is_ascii_compatible())
            .then_some(encoding)
    })
}

/// Watches whether bytes declared as single-byte text would all be valid UTF-8.
#[derive(Default)]
struct Utf8Watch {
    /// The start of a character whose rest comes with the next chunk.
    carry: Vec<u8>,
    saw_character: bool,
    broken: bool,
}

impl Utf8Watch {
    fn see(&mut self, chunk: &[u8], last: bool) {
        if self.broken {
            return;
        }
        self.carry.extend_from_slice(chunk);
        self.saw_character |= !chunk.is_ascii();
        match std::str::from_utf8(&self.carry) {
            Ok(_) => self.carry.clear(),
            Err(error) if error.error_len().is_none() && !last => {
                self.carry.drain(..error.valid_up_to());
            }
            Err(_) => self.broken = true,
        }
    }

    fn fired(&self) -> bool {
        self.saw_character && !self.broken
    }
}
