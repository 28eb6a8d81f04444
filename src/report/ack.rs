//! `<name>.ack.csv`: one row that says what became of the file.

use std::io::{self, Write};

use jiff::Timestamp;

use super::csv;
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState, Kind, Proof};

/// Everything the ACK says.
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    pub file: &'a str,
    pub batch: BatchId,
    pub kind: Option<Kind>,
    pub profile: &'a str,
    pub file_ref: &'a str,
    /// The file's sequence number, and the one that is waited for next.
    pub seq: Option<u64>,
    pub next_seq: Option<u64>,
    pub campaign: &'a str,
    pub state: Option<FileState>,
    /// The first error's; none on full success.
    pub code: Option<ReasonCode>,
    /// Empty where the code's own meaning says enough.
    pub message: &'a str,
    pub received_at: Timestamp,
    pub validated_at: Option<Timestamp>,
    pub proof: Option<Proof>,
    pub bytes: u64,
    pub sha256: &'a str,
    pub records_sha256: &'a str,
    pub encoding: &'a str,
    pub delimiter: &'a str,
    pub rows_total: u64,
    pub rows_accepted: u64,
    pub rows_rejected: u64,
    pub rows_duplicate: u64,
    pub rows_suppressed: u64,
    pub rows_deferred: u64,
    pub warnings: u64,
    /// 0 where no channel counts parts.
    pub parts_estimated: u64,
    pub first_send_at: Option<Timestamp>,
    pub duplicate_of: Option<BatchId>,
    /// Names of the answers beside this one; empty where there are none.
    pub errors_file: &'a str,
    pub rejected_file: &'a str,
    /// The file is only tried out.
    pub test: bool,
    /// The file's `#x_*` directives: each a column.
    pub x: &'a [(String, String)],
}

impl Ack<'_> {
    /// The columns, before `x_*`.
    pub const COLUMNS: &'static [&'static str] = &[
        "spec",
        "file",
        "batch_id",
        "kind",
        "profile",
        "ref",
        "seq",
        "next_seq",
        "campaign",
        "state",
        "code",
        "message",
        "received_at",
        "validated_at",
        "proof",
        "bytes",
        "sha256",
        "records_sha256",
        "encoding",
        "delimiter",
        "rows_total",
        "rows_accepted",
        "rows_rejected",
        "rows_duplicate",
        "rows_suppressed",
        "rows_deferred",
        "warnings",
        "parts_estimated",
        "cost_estimated",
        "currency",
        "first_send_at",
        "duplicate_of",
        "errors_file",
        "rejected_file",
        "rows_new",
        "rows_updated",
        "rows_unchanged",
        "test",
    ];

    /// Writes the whole file: header and one row.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<&str> = self.x.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<&str> = self.x.iter().map(|(_, value)| value.as_str()).collect();
        csv::header(Ack::COLUMNS, &names, out)?;
        let mut line = csv::start(self.file, self.batch);
        line.text(self.kind.map_or("", Kind::as_str)).text(self.profile).text(self.file_ref);
        for number in [self.seq, self.next_seq] {
            match number {
                Some(number) => line.plain(number),
                None => line.blank(),
            };
        }
        line.text(self.campaign);
        line.text(self.state.map_or("", FileState::as_str));
        line.text(self.code.map_or("", ReasonCode::as_str));
        let meaning = self.code.map_or("", ReasonCode::meaning);
        line.text(if self.message.is_empty() { meaning } else { self.message });
        line.time(Some(self.received_at)).time(self.validated_at);
        line.text(self.proof.map_or("", Proof::as_str));
        line.plain(self.bytes).text(self.sha256).text(self.records_sha256);
        line.text(self.encoding).text(self.delimiter);
        line.plain(self.rows_total).plain(self.rows_accepted);
        line.plain(self.rows_rejected).plain(self.rows_duplicate);
        line.plain(self.rows_suppressed).plain(self.rows_deferred).plain(self.warnings);
        // No price is known before sending: cost_estimated and currency stay blank.
        line.known(self.parts_estimated).blanks(2).time(self.first_send_at);
        line.text(&self.duplicate_of.map_or_else(String::new, |batch| batch.to_string()));
        line.text(self.errors_file).text(self.rejected_file);
        // rows_new, rows_updated and rows_unchanged belong to contact files.
        line.blanks(3).yes_no(self.test);
        line.x(values.len(), &values).end(Ack::COLUMNS.len() + values.len(), out)
    }

    /// How the ACK of this batch begins, whatever it says further on; columns `x_*` aside.
    pub fn beginning(file: &str, batch: BatchId) -> Vec<u8> {
        csv::beginning(Ack::COLUMNS, file, batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_has_the_contracts_columns_and_one_row() {
        assert_eq!(
            Ack::COLUMNS.join(","),
            "spec,file,batch_id,kind,profile,ref,seq,next_seq,campaign,state,code,message,\
             received_at,validated_at,proof,bytes,sha256,records_sha256,encoding,delimiter,\
             rows_total,rows_accepted,rows_rejected,rows_duplicate,rows_suppressed,rows_deferred,\
             warnings,parts_estimated,cost_estimated,currency,first_send_at,duplicate_of,\
             errors_file,rejected_file,rows_new,rows_updated,rows_unchanged,test"
        );
        let ack = Ack {
            file: "a,b.csv",
            batch: BatchId::from_u64(1),
            kind: Some(Kind::Messages),
            profile: "billing",
            file_ref: "r",
            seq: Some(7),
            next_seq: Some(8),
            campaign: "c",
            state: Some(FileState::Rejected),
            code: Some(ReasonCode::FileEmpty),
            message: "",
            received_at: Timestamp::UNIX_EPOCH,
            validated_at: None,
            proof: Some(Proof::Rename),
            bytes: 0,
            sha256: "e3",
            records_sha256: "",
            encoding: "UTF-8",
            delimiter: ",",
            rows_total: 0,
            rows_accepted: 0,
            rows_rejected: 0,
            rows_duplicate: 0,
            rows_suppressed: 0,
            rows_deferred: 0,
            warnings: 2,
            parts_estimated: 0,
            first_send_at: None,
            duplicate_of: None,
            errors_file: "a,b.csv.errors.csv",
            rejected_file: "",
            test: false,
            x: &[("x_k".to_owned(), "v".to_owned())],
        };
        let mut out = Vec::new();
        ack.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (header, row) = text.split_once('\n').unwrap();
        assert!(header.ends_with(",test,x_k"));
        let meaning = ReasonCode::FileEmpty.meaning();
        assert_eq!(
            row,
            format!(
                "1,\"a,b.csv\",0000000000001,messages,billing,r,7,8,c,REJECTED,file.empty,\
                 \"{meaning}\",1970-01-01T00:00:00Z,,rename,0,e3,,UTF-8,\",\",0,0,0,0,0,0,2,,,,,,\
                 \"a,b.csv.errors.csv\",,,,,no,v\n"
            )
        );
    }
}
