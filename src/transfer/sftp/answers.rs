//! Answers on their way to the client, in messages that are not copied again.

use std::collections::VecDeque;

use super::reply;

/// Small answers lie together in messages of about this size.
const MESSAGE_BYTES: usize = 32 << 10;

/// Answers in order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    full: VecDeque<Vec<u8>>,
    /// Where small answers are written.
    open: Vec<u8>,
    bytes: usize,
}

impl Answers {
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.open.len()
    }

    /// Where a small answer is to be written.
    pub(super) fn small(&mut self) -> &mut Vec<u8> {
        if self.open.len() >= MESSAGE_BYTES {
            self.seal();
        }
        &mut self.open
    }

    /// A DATA answer; returns how many bytes it holds.
    pub(super) fn data(&mut self, mut message: Vec<u8>) -> usize {
        let count = reply::end_data(&mut message);
        if self.open.len() + message.len() <= MESSAGE_BYTES {
            self.open.extend_from_slice(&message);
        } else {
            self.seal();
            self.bytes += message.len();
            self.full.push_back(message);
        }
        count
    }

    /// The next message to be sent.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        if self.full.is_empty() {
            self.seal();
        }
        let message = self.full.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.bytes += self.open.len();
            self.full.push_back(std::mem::take(&mut self.open));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_keep_their_order_and_small_ones_share_a_message() {
        let mut answers = Answers::default();
        answers.small().extend_from_slice(b"one");
        let mut data = reply::begin_data(1, 3);
        data.extend_from_slice(b"two");
        assert_eq!(answers.data(data), 3);
        let mut large = reply::begin_data(2, 100_000);
        large.resize(100_013, 7);
        answers.data(large);
        answers.small().extend_from_slice(b"four");
        assert_eq!(answers.bytes(), 3 + 16 + 100_013 + 4);
        let sizes: Vec<_> = std::iter::from_fn(|| answers.next()).map(|m| m.len()).collect();
        assert_eq!(sizes, [19, 100_013, 4]);
        assert_eq!(answers.bytes(), 0);
    }
}
