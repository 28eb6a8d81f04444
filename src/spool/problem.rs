//! A stored line of the errors file, so that answers can be written after a restart.

use super::bytes::Undecodable;

/// One problem of one row (or of the header, with row 0), as `<name>.errors.csv` prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredProblem {
    pub line: u64,
    /// 0 for the header and the file as a whole.
    pub row: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub row_id: String,
    /// 1-based; 0 where no single column is meant.
    #[serde(default)]
    pub column: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub column_name: String,
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Only a warning, whatever its code is elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_warning: bool,
    /// The row's `x_*` cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub x: Vec<String>,
}

impl StoredProblem {
    /// The kind byte of a problem's record.
    pub const KIND: u8 = b'P';

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts serialise")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<StoredProblem, Undecodable> {
        serde_json::from_slice(bytes).map_err(|_| Undecodable)
    }
}
