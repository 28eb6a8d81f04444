//! `<name>.result.csv` and `<name>.final.csv`: one line per data row, in the file's order.

use std::io::{self, Write};

use jiff::Timestamp;

use super::csv::{self, Line, SPEC};
use crate::codes::ReasonCode;
use crate::model::{BatchId, Category, ChannelKind, Status};

/// What became of one row.
#[derive(Debug, Clone, Copy)]
pub struct ResultLine<'a> {
    pub line: u64,
    pub row: u64,
    pub row_id: &'a str,
    pub contact_id: &'a str,
    pub channel: Option<ChannelKind>,
    pub to: &'a str,
    pub to_given: &'a str,
    pub status: Status,
    pub code: Option<ReasonCode>,
    pub provider: &'a str,
    pub provider_message_id: &'a str,
    pub provider_code: &'a str,
    /// Empty for rows that were not accepted: they have no message.
    pub message_id: &'a str,
    pub template: &'a str,
    pub lang: &'a str,
    pub category: Option<Category>,
    pub campaign: &'a str,
    pub attempts: u32,
    pub channels_tried: &'a str,
    /// 0 where the channel counts no parts.
    pub parts: u64,
    pub accepted_at: Option<Timestamp>,
    pub deferred_until: Option<Timestamp>,
    pub submitted_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// In the order of the file's `x_*` columns; may be fewer.
    pub x: &'a [&'a str],
}

/// A result file being written.
pub struct ResultFile<'a> {
    out: &'a mut dyn Write,
    line: Line,
    /// The cells that are the same in every line.
    start: Line,
    x_columns: usize,
}

impl<'a> ResultFile<'a> {
    /// The columns, before `x_*`.
    pub const COLUMNS: &'static [&'static str] = &[
        "spec",
        "file",
        "batch_id",
        "line",
        "row",
        "row_id",
        "contact_id",
        "channel",
        "to",
        "to_given",
        "status",
        "final",
        "code",
        "message",
        "provider",
        "provider_message_id",
        "provider_code",
        "message_id",
        "template",
        "lang",
        "category",
        "campaign",
        "attempts",
        "channels_tried",
        "parts",
        "price",
        "currency",
        "accepted_at",
        "deferred_until",
        "submitted_at",
        "sent_at",
        "delivered_at",
        "read_at",
        "clicked_at",
        "replied_at",
        "opted_out_at",
        "ended_at",
    ];

    pub fn start(
        out: &'a mut dyn Write,
        file: &str,
        batch: BatchId,
        x_columns: &[String],
    ) -> io::Result<ResultFile<'a>> {
        csv::header(ResultFile::COLUMNS, x_columns, out)?;
        let mut start = Line::default();
        start.plain(SPEC).text(file).plain(batch);
        Ok(ResultFile { out, line: Line::default(), start, x_columns: x_columns.len() })
    }

    pub fn write(&mut self, row: &ResultLine<'_>) -> io::Result<()> {
        let line = self.line.start_with(&self.start);
        line.plain(row.line).plain(row.row).text(row.row_id).text(row.contact_id);
        line.text(row.channel.map_or("", ChannelKind::as_str)).text(row.to).text(row.to_given);
        line.text(row.status.as_str()).yes_no(is_final(row.status));
        line.text(row.code.map_or("", ReasonCode::as_str));
        line.text(row.code.map_or("", ReasonCode::meaning));
        line.text(row.provider).text(row.provider_message_id).text(row.provider_code);
        line.text(row.message_id).text(row.template).text(row.lang);
        line.text(row.category.map_or("", Category::as_str)).text(row.campaign);
        line.plain(row.attempts).text(row.channels_tried).known(row.parts);
        // No provider tells a price yet.
        line.blanks(2);
        line.time(row.accepted_at).time(row.deferred_until);
        line.time(row.submitted_at).time(row.sent_at);
        line.time(row.delivered_at).time(row.read_at);
        // clicked_at to opted_out_at come from people, of whom no channel hears yet.
        line.blanks(3).time(row.ended_at);
        line.x(self.x_columns, row.x);
        line.end(ResultFile::COLUMNS.len() + self.x_columns, self.out)
    }
}

/// No provider's receipts come later yet, so that what it took is final.
fn is_final(status: Status) -> bool {
    !matches!(status, Status::Accepted | Status::Deferred)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent<'a>(message_id: &'a str, x: &'a [&'a str]) -> ResultLine<'a> {
        let at = |text: &str| Some(text.parse().unwrap());
        ResultLine {
            line: 3,
            row: 2,
            row_id: "r-2",
            contact_id: "",
            channel: Some(ChannelKind::Email),
            to: "jane@example.org",
            to_given: "Jane@Example.ORG",
            status: Status::Sent,
            code: None,
            provider: "mailhub",
            provider_message_id: "q1",
            provider_code: "250 2.0.0",
            message_id,
            template: "invoice",
            lang: "en",
            category: Some(Category::Transactional),
            campaign: "nov",
            attempts: 1,
            channels_tried: "email",
            parts: 0,
            accepted_at: at("2026-11-22T10:00:00Z"),
            deferred_until: None,
            submitted_at: at("2026-11-22T10:00:01.2Z"),
            sent_at: at("2026-11-22T10:00:01.9Z"),
            delivered_at: None,
            read_at: None,
            ended_at: at("2026-11-22T10:00:02Z"),
            x,
        }
    }

    #[test]
    fn a_result_has_the_contracts_columns() {
        assert_eq!(
            ResultFile::COLUMNS.join(","),
            "spec,file,batch_id,line,row,row_id,contact_id,channel,to,to_given,status,final,code,\
             message,provider,provider_message_id,provider_code,message_id,template,lang,category,\
             campaign,attempts,channels_tried,parts,price,currency,accepted_at,deferred_until,\
             submitted_at,sent_at,delivered_at,read_at,clicked_at,replied_at,opted_out_at,ended_at"
        );
        let x_columns = ["x_a".to_owned(), "x_b".to_owned()];
        let mut out = Vec::new();
        let batch = BatchId::from_u64(1);
        let mut file = ResultFile::start(&mut out, "a.csv", batch, &x_columns).unwrap();
        file.write(&sent("0000000000001-2@acme.example", &["1,5"])).unwrap();
        file.write(&ResultLine {
            status: Status::Failed,
            code: Some(ReasonCode::DeliveryRefused),
            parts: 3,
            ..sent("", &[])
        })
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with(",ended_at,x_a,x_b"));
        assert_eq!(
            lines[1],
            "1,a.csv,0000000000001,3,2,r-2,,email,jane@example.org,Jane@Example.ORG,sent,yes,,,\
             mailhub,q1,250 2.0.0,0000000000001-2@acme.example,invoice,en,transactional,nov,1,\
             email,,,,2026-11-22T10:00:00Z,,2026-11-22T10:00:01Z,2026-11-22T10:00:01Z,,,,,,\
             2026-11-22T10:00:02Z,\"1,5\","
        );
        assert!(
            lines[2].contains(",failed,yes,delivery.refused,the provider refused the message,")
        );
        assert!(lines[2].contains(",email,3,,,"));
    }

    #[test]
    fn only_waiting_rows_are_not_final() {
        let open: Vec<Status> = Status::ALL.iter().copied().filter(|s| !is_final(*s)).collect();
        assert_eq!(open, [Status::Accepted, Status::Deferred]);
    }
}
