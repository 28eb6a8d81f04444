//! What a file's bytes are written in: the web's encodings, and code pages the web never had.

use std::collections::HashMap;
use std::io::{self, Write};

use encoding_rs::{DecoderResult, EncoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::code_pages::{self, CodePage};

/// An encoding that can be declared: a WHATWG name, or cp437, cp850, cp852, cp273, cp500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextEncoding {
    Web(&'static Encoding),
    Page(&'static CodePage),
}

impl TextEncoding {
    pub const UTF_8: TextEncoding = TextEncoding::Web(UTF_8);

    /// The encoding of this name, in any case.
    pub fn from_label(label: &str) -> Option<TextEncoding> {
        let label = label.trim().to_ascii_lowercase();
        match code_pages::ALL.iter().find(|page| page.name == label) {
            Some(page) => Some(TextEncoding::Page(page)),
            None => Encoding::for_label_no_replacement(label.as_bytes()).map(TextEncoding::Web),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            TextEncoding::Web(encoding) => encoding.name(),
            TextEncoding::Page(page) => page.name,
        }
    }

    /// The bytes of a whole file: UTF-16 with its mark, `?` for what the encoding does not have.
    pub fn encode(self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            TextEncoding::Web(wide) if self.is_utf16() => {
                let order = if wide == UTF_16LE { u16::to_le_bytes } else { u16::to_be_bytes };
                let text = "\u{feff}".encode_utf16().chain(text.encode_utf16());
                bytes.extend(text.flat_map(order));
            }
            _ => Encoder::new(self, None).write(text, &mut bytes).expect("memory takes every byte"),
        }
        bytes
    }

    pub(super) fn is_utf16(self) -> bool {
        matches!(self, TextEncoding::Web(encoding) if encoding == UTF_16LE || encoding == UTF_16BE)
    }

    /// Lines such as `#encoding=` can be read before the encoding is known.
    pub(super) fn is_ascii_compatible(self) -> bool {
        match self {
            TextEncoding::Web(encoding) => encoding.is_ascii_compatible(),
            TextEncoding::Page(page) => !page.is_ebcdic(),
        }
    }

    pub(super) fn is_single_byte(self) -> bool {
        match self {
            TextEncoding::Web(encoding) => encoding.is_single_byte(),
            TextEncoding::Page(_) => true,
        }
    }
}

/// Bytes to UTF-8, in whatever pieces they come.
pub(super) enum Decoding {
    Web(encoding_rs::Decoder),
    Page(Box<PageDecoding>),
}

/// What decoding a piece gave.
pub(super) struct Decoded {
    pub(super) result: DecoderResult,
    pub(super) read: usize,
    pub(super) written: usize,
}

impl Decoding {
    pub(super) fn new(encoding: TextEncoding) -> Decoding {
        match encoding {
            TextEncoding::Web(encoding) => {
                Decoding::Web(encoding.new_decoder_without_bom_handling())
            }
            TextEncoding::Page(page) => {
                let table = page.table();
                Decoding::Page(Box::new(PageDecoding { page, table, line_end: None }))
            }
        }
    }

    pub(super) fn decode(&mut self, raw: &[u8], out: &mut [u8], last: bool) -> Decoded {
        match self {
            Decoding::Web(decoder) => {
                let (result, read, written) =
                    decoder.decode_to_utf8_without_replacement(raw, out, last);
                Decoded { result, read, written }
            }
            Decoding::Page(page) => page.decode(raw, out),
        }
    }

    /// The byte that ended the first line, where more than one could have.
    pub(super) fn line_end(&self) -> Option<u8> {
        match self {
            Decoding::Web(_) => None,
            Decoding::Page(page) => page.line_end,
        }
    }
}

pub(super) struct PageDecoding {
    page: &'static CodePage,
    table: [char; 256],
    line_end: Option<u8>,
}

impl PageDecoding {
    fn decode(&mut self, raw: &[u8], out: &mut [u8]) -> Decoded {
        let is_end = |byte: &&u8| self.page.line_ends().contains(byte);
        self.line_end = self.line_end.or_else(|| raw.iter().find(is_end).copied());
        let mut written = 0;
        for (read, byte) in raw.iter().enumerate() {
            let char = self.table[usize::from(*byte)];
            if out.len() - written < char.len_utf8() {
                return Decoded { result: DecoderResult::OutputFull, read, written };
            }
            written += char.encode_utf8(&mut out[written..]).len();
        }
        Decoded { result: DecoderResult::InputEmpty, read: raw.len(), written }
    }
}

/// UTF-8 back to the bytes it came from.
pub(super) enum Encoder {
    Web(&'static Encoding),
    Page(HashMap<char, u8>),
}

impl Encoder {
    /// `line_end` is the byte that ends lines where the code page has more than one.
    pub(super) fn new(encoding: TextEncoding, line_end: Option<u8>) -> Encoder {
        match encoding {
            TextEncoding::Web(encoding) => Encoder::Web(encoding),
            TextEncoding::Page(page) => {
                let mut bytes: HashMap<char, u8> = page.table().into_iter().zip(0..=255).collect();
                if let Some(end) = line_end {
                    bytes.insert('\n', end);
                }
                Encoder::Page(bytes)
            }
        }
    }

    /// Writes text; a character that the encoding does not have becomes `?`.
    pub(super) fn write(&self, text: &str, out: &mut impl Write) -> io::Result<()> {
        match self {
            Encoder::Web(encoding) => write_web(encoding, text, out),
            Encoder::Page(bytes) => {
                let byte = |char| bytes.get(&char).or_else(|| bytes.get(&'?')).copied();
                let encoded: Vec<u8> = text.chars().filter_map(byte).collect();
                out.write_all(&encoded)
            }
        }
    }
}

fn write_web(encoding: &'static Encoding, text: &str, out: &mut impl Write) -> io::Result<()> {
    let mut encoder = encoding.new_encoder();
    let mut bytes = [0; 512];
    let mut rest = text;
    loop {
        let (result, read, written) =
            encoder.encode_from_utf8_without_replacement(rest, &mut bytes, true);
        out.write_all(&bytes[..written])?;
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return Ok(()),
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => out.write_all(b"?")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_code_page_survives_the_way_through_unicode() {
        for page in &code_pages::ALL {
            for end in page.line_ends() {
                let encoding = TextEncoding::Page(page);
                let others = |byte: &u8| byte == end || !page.line_ends().contains(byte);
                let bytes: Vec<u8> = (0..=255).filter(others).collect();
                let mut decoding = Decoding::new(encoding);
                let mut text = vec![0; 1024];
                let written = decoding.decode(&bytes, &mut text, true).written;
                let text = std::str::from_utf8(&text[..written]).unwrap();
                let mut back = Vec::new();
                Encoder::new(encoding, decoding.line_end()).write(text, &mut back).unwrap();
                assert_eq!(back, bytes, "{}", page.name);
            }
        }
    }

    #[test]
    fn labels_are_names_of_the_web_or_code_pages() {
        for (label, name) in [
            ("utf8", Some("UTF-8")),
            ("latin1", Some("windows-1252")),
            ("CP850", Some("cp850")),
            (" cp273 ", Some("cp273")),
            ("cp1250", Some("windows-1250")),
            ("hz-gb-2312", None),
            ("cp9999", None),
        ] {
            assert_eq!(TextEncoding::from_label(label).map(TextEncoding::name), name, "{label}");
        }
    }
}
