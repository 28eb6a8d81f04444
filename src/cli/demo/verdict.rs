//! Whether the journey came out right.

use std::collections::BTreeMap;

use super::partner::Row;
use super::receiver::Mail;

/// The sample that the partner drops.
pub(super) const SAMPLE: &str = include_str!("../../../fixtures/demo/messages_demo.csv");

const ACK: [(&str, &str); 6] = [
    ("state", "ACCEPTED_WITH_ERRORS"),
    ("proof", "close"),
    ("rows_total", "12"),
    ("rows_accepted", "10"),
    ("rows_rejected", "1"),
    ("rows_duplicate", "1"),
];

/// Status and code of each row, in the file's order.
const ROWS: [(&str, &str, &str); 12] = [
    ("INV-1001", "sent", ""),
    ("INV-1002", "sent", ""),
    ("INV-1003", "sent", ""),
    ("INV-1004", "sent", ""),
    ("INV-1005", "rejected", "row.email_invalid"),
    ("INV-1006", "sent", ""),
    ("INV-1007", "failed", "delivery.no_such_recipient"),
    ("INV-1002", "duplicate", "row.id_used"),
    ("INV-1008", "sent", ""),
    ("INV-1009", "sent", ""),
    ("INV-1010", "sent", ""),
    ("INV-1011", "sent", ""),
];

/// What is wrong, one line each; nothing if all is as it must be.
pub(super) fn what_is_wrong(ack: &Row, result: &[Row], arrived: &[Mail]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (column, wanted) in ACK {
        let found = cell(ack, column);
        if found != wanted {
            wrong.push(format!("the ACK has {column} {found:?}, not {wanted:?}"));
        }
    }
    if result.len() != ROWS.len() {
        wrong.push(format!("the result has {} lines, not {}", result.len(), ROWS.len()));
    }
    for (row, wanted) in result.iter().zip(ROWS) {
        let found = (cell(row, "row_id"), cell(row, "status"), cell(row, "code"));
        if found != wanted {
            wrong.push(format!("row {} is {found:?}, not {wanted:?}", cell(row, "row")));
        }
    }
    // How often each message was to arrive, less how often it did.
    let mut due: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for row in result.iter().filter(|row| cell(row, "status") == "sent") {
        *due.entry((cell(row, "message_id"), cell(row, "to"))).or_default() += 1;
    }
    for mail in arrived {
        *due.entry((&mail.message_id, &mail.to)).or_default() -= 1;
    }
    for ((message_id, to), count) in due.into_iter().filter(|(_, count)| *count != 0) {
        let what = if count > 0 { "did not arrive" } else { "arrived although not due" };
        wrong.push(format!("message {message_id} to {to} {what}"));
    }
    wrong
}

pub(super) fn cell<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, &str)]) -> Row {
        cells.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn all_right() -> (Row, Vec<Row>, Vec<Mail>) {
        let result: Vec<Row> = ROWS
            .iter()
            .zip(["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"])
            .map(|((row_id, status, code), number)| {
                let id = if *status == "sent" { number } else { "" };
                row(&[
                    ("row", number),
                    ("row_id", row_id),
                    ("status", status),
                    ("code", code),
                    ("message_id", id),
                    ("to", "a@x.example"),
                ])
            })
            .collect();
        let sent = result.iter().filter(|row| cell(row, "status") == "sent");
        let arrived = sent
            .map(|row| Mail {
                to: "a@x.example".to_owned(),
                message_id: cell(row, "message_id").to_owned(),
                ..Mail::default()
            })
            .collect();
        (row(&ACK), result, arrived)
    }

    #[test]
    fn what_is_right_is_not_found_wrong() {
        let (ack, result, arrived) = all_right();
        assert_eq!(what_is_wrong(&ack, &result, &arrived), [""; 0]);
        assert_eq!(SAMPLE.lines().count(), ROWS.len() + 1);
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        type Spoil = fn(&mut Row, &mut Vec<Row>, &mut Vec<Mail>);
        let cases: [(Spoil, &str); 6] = [
            (|ack, _, _| *ack = row(&ACK[..5]), "the ACK has rows_duplicate \"\", not \"1\""),
            (|_, result, _| result.truncate(11), "the result has 11 lines, not 12"),
            (
                |_, result, _| {
                    result[6].insert("status".to_owned(), "unknown".to_owned());
                },
                "row 7 is (\"INV-1007\", \"unknown\", \"delivery.no_such_recipient\"), \
                 not (\"INV-1007\", \"failed\", \"delivery.no_such_recipient\")",
            ),
            (|_, _, arrived| arrived.truncate(8), "message 12 to a@x.example did not arrive"),
            (
                |_, _, arrived| arrived.push(arrived[0].clone()),
                "message 1 to a@x.example arrived although not due",
            ),
            (
                |_, _, arrived| arrived.push(Mail::default()),
                "message  to  arrived although not due",
            ),
        ];
        for (spoil, wanted) in cases {
            let (mut ack, mut result, mut arrived) = all_right();
            spoil(&mut ack, &mut result, &mut arrived);
            let wrong = what_is_wrong(&ack, &result, &arrived);
            assert!(wrong.iter().any(|line| line == wanted), "{wanted}: {wrong:#?}");
        }
    }
}
