//! One record in memory, reused for all of a file.

/// The cells of one data record and where it stood.
#[derive(Debug, Default)]
pub struct Record {
    /// All cells, one after the other.
    pub(super) text: String,
    /// Where each cell ends in `text`.
    pub(super) ends: Vec<usize>,
    pub(super) line: u64,
    pub(super) row: u64,
    pub(super) has_controls: bool,
}

impl Record {
    pub fn new() -> Record {
        Record::default()
    }

    /// Physical line where the record starts, 1-based.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Data record, 1-based; the header is not counted.
    pub fn row(&self) -> u64 {
        self.row
    }

    /// Some cell holds a tab, a line end or another control character.
    pub fn has_controls(&self) -> bool {
        self.has_controls
    }

    /// Bytes of all cells together.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cell at a 0-based position, as it came.
    pub fn get(&self, position: usize) -> Option<&str> {
        let end = *self.ends.get(position)?;
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        Some(&self.text[start..end])
    }

    /// All cells, as they came.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|position| self.get(position))
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub(super) fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    pub(super) fn pop_empty(&mut self) -> bool {
        let empty = self.get(self.len().wrapping_sub(1)) == Some("");
        if empty {
            self.ends.pop();
        }
        empty
    }
}
