//! The bytes of a channel cut into whole packets, each copied once.

use std::collections::VecDeque;

use super::packet::{self, Malformed};

/// Small packets lie together in pieces of about this size.
const PIECE_BYTES: usize = 16 << 10;

/// Whole packets, one behind the other.
type Piece = Vec<u8>;

/// Received bytes: whole packets, and the beginning of the next one.
#[derive(Debug, Default)]
pub(super) struct Frames {
    whole: VecDeque<Piece>,
    whole_bytes: usize,
    /// The packet of which not all is there yet, with room for all of it.
    begun: Vec<u8>,
}

impl Frames {
    /// The bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.whole_bytes + self.begun.len()
    }

    pub(super) fn has_whole(&self) -> bool {
        !self.whole.is_empty()
    }

    /// True where whole packets are there, and nothing else.
    pub(super) fn is_whole(&self) -> bool {
        self.begun.is_empty() && self.has_whole()
    }

    /// Puts packets back before all others.
    pub(super) fn put_back(&mut self, input: Input) {
        self.whole_bytes += input.bytes();
        let Input { mut pieces, at } = input;
        if let Some(first) = pieces.front_mut() {
            first.drain(..at);
        }
        pieces.append(&mut self.whole);
        self.whole = pieces;
    }

    /// Takes the whole packets out.
    pub(super) fn take_whole(&mut self) -> VecDeque<Piece> {
        self.whole_bytes = 0;
        std::mem::take(&mut self.whole)
    }

    /// Adds what was received. After an error nothing that follows can be trusted.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if !self.begun.is_empty() {
                bytes = self.go_on(bytes)?;
                continue;
            }
            let (first, rest) = bytes.split_at(whole_packets(bytes));
            if !first.is_empty() {
                self.add_whole(first);
            }
            if !rest.is_empty() {
                self.begun.reserve_exact(packet::size(rest)?.unwrap_or(rest.len()));
                self.begun.extend_from_slice(rest);
            }
            bytes = &[];
        }
        Ok(())
    }

    /// Adds to the packet begun; returns what is left.
    fn go_on<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let Some(size) = packet::size(&self.begun)? else {
            let (first, rest) = bytes.split_at(1);
            self.begun.extend_from_slice(first);
            packet::size(&self.begun)?;
            return Ok(rest);
        };
        let missing = size - self.begun.len();
        self.begun.reserve_exact(missing);
        let (first, rest) = bytes.split_at(missing.min(bytes.len()));
        self.begun.extend_from_slice(first);
        if self.begun.len() == size {
            self.whole_bytes += size;
            self.whole.push_back(std::mem::take(&mut self.begun));
        }
        Ok(rest)
    }

    fn add_whole(&mut self, packets: &[u8]) {
        self.whole_bytes += packets.len();
        match self.whole.back_mut() {
            Some(last) if last.len() + packets.len() <= PIECE_BYTES => {
                last.extend_from_slice(packets);
            }
            _ => self.whole.push_back(packets.to_vec()),
        }
    }
}

/// The bytes of the whole packets that `bytes` begins with.
fn whole_packets(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Ok(Some(size)) = packet::size(&bytes[whole..])
        && bytes.len() - whole >= size
    {
        whole += size;
    }
    whole
}

/// Packets to be answered, in order.
#[derive(Debug, Default)]
pub(super) struct Input {
    pieces: VecDeque<Piece>,
    /// Where in the first piece the next packet begins.
    at: usize,
}

impl Input {
    pub(super) fn new(pieces: VecDeque<Piece>) -> Input {
        Input { pieces, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum::<usize>() - self.at
    }

    /// Hands the next packet to `answer`, and is done with it.
    pub(super) fn next<T>(&mut self, answer: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let piece = self.pieces.front()?;
        let rest = &piece[self.at..];
        // Pieces hold whole packets: the size is there, and it fits.
        let size = packet::size(rest).ok().flatten().unwrap_or(rest.len()).min(rest.len());
        let result = answer(&rest[..size]);
        self.at += size;
        if self.at >= piece.len() {
            self.pieces.pop_front();
            self.at = 0;
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(length: usize) -> Vec<u8> {
        let mut packet = (length as u32).to_be_bytes().to_vec();
        packet.extend((0..length).map(|n| n as u8));
        packet
    }

    fn taken(frames: &mut Frames) -> Vec<usize> {
        let mut input = Input::new(frames.take_whole());
        std::iter::from_fn(|| input.next(<[u8]>::len)).collect()
    }

    #[test]
    fn packets_come_out_whole_however_they_come_in() {
        let sizes = [5, 70_000, 9, 1, 30_000, 200_000, 40];
        let bytes: Vec<u8> = sizes.iter().flat_map(|size| packet(*size)).collect();
        for step in [1, 3, 4, 1000, 32_768, 65_535, bytes.len()] {
            let (mut frames, mut all) = (Frames::default(), Vec::new());
            for part in bytes.chunks(step) {
                frames.push(part).unwrap();
                all.extend(taken(&mut frames));
            }
            assert_eq!(all, sizes.map(|size| size + 4), "{step}");
            assert_eq!(frames.bytes(), 0);
        }
    }

    #[test]
    fn what_was_whole_before_nonsense_is_kept() {
        let mut frames = Frames::default();
        let mut bytes = packet(5);
        let nonsense = [bytes.as_slice(), b"\xff\xff\xff\xff"].concat();
        assert_eq!(frames.push(&nonsense), Err(Malformed));
        assert_eq!(taken(&mut frames), [9]);
        bytes.extend_from_slice(&[0, 0, 0]);
        let mut frames = Frames::default();
        frames.push(&bytes).unwrap();
        assert_eq!(frames.bytes(), 12);
        assert_eq!(frames.push(&[0]), Err(Malformed));
    }
}
