//! Batches laid down by hand, their answers compared byte for byte.

mod house;
mod streams;

use std::collections::BTreeMap;

use house::{House, after, facts, settled};

use crate::batch::BatchEvent;
use crate::codes::ReasonCode;
use crate::model::{BatchId, Category, ChannelKind, FileState, Status};
use crate::records::{HeaderMode, ReadSettings, Record, RecordReader, Step};
use crate::spool::{DuplicateMark, RowState, StoredProblem, StoredRow};
use crate::store::{BatchRecord, Facts};

const INPUT: &str = "row_id,email,text,x_k\n\
    r1,jane@example.org,Hi,k1\n\
    r2,nobody,Hi,k2\n\
    r3,jane@example.org,Hi,k3\n\
    r4,bob@example.org,Hi,\"k,4\"\n\
    r5,old@example.org,Hi,k5\n";

fn row<'a>(row: u64, row_id: &'a str, to: &'a str, x: &'a str) -> StoredRow<'a> {
    StoredRow {
        row,
        line: row + 1,
        channel: Some(ChannelKind::Email),
        category: Some(Category::Service),
        row_id,
        to,
        to_given: to,
        sender: "Acme <news@acme.example>",
        text: "Hi",
        x: vec![x],
        ..StoredRow::default()
    }
}

fn address_problem() -> StoredProblem {
    StoredProblem {
        line: 3,
        row: 2,
        row_id: "r2".to_owned(),
        column: 2,
        column_name: "email".to_owned(),
        code: "row.email_invalid".to_owned(),
        message: "no @ in it".to_owned(),
        value: "nobody".to_owned(),
        hint: "write name@domain".to_owned(),
        is_warning: false,
        x: vec!["k2".to_owned()],
    }
}

/// An earlier file, long answered, whose row 2 was sent.
fn lay_earlier(house: &House) {
    let mut earlier = house.claim(1, "inbox/old.csv", after(-9), "");
    let rows = [row(1, "o1", "a@example.org", ""), row(2, "r5", "old@example.org", "")];
    house.lay_rows(&mut earlier, &[(&rows[..1], &[]), (&rows[1..], &[])]);
    house.lay_outcomes(&earlier, &[(1, vec![settled(0, Status::Sent, None)])]);
    earlier.validated_at = Some(after(-8));
    earlier.facts = facts(FileState::Accepted, None, [2, 2, 0, 0]);
    let earlier = house.conclude(earlier, BatchEvent::FileAccepted);
    house.conclude(earlier, BatchEvent::RowsSettled);
}

/// Five rows: sent, rejected, the same again, failed, used before.
fn lay_mixed(house: &House, id: u64, path: &str) -> BatchRecord {
    let mut record = house.claim(id, path, after(0), INPUT);
    let rejected = RowState::Rejected(ReasonCode::RowEmailInvalid);
    let rows = [
        row(1, "r1", "jane@example.org", "k1"),
        StoredRow { state: rejected, to: "", to_given: "nobody", ..row(2, "r2", "", "k2") },
        row(3, "r3", "jane@example.org", "k3"),
        row(4, "r4", "bob@example.org", "k,4"),
        row(5, "r5", "old@example.org", "k5"),
    ];
    let same = DuplicateMark { index: 2, code: ReasonCode::RowDuplicate, batch: None, row: 1 };
    let batch = Some(BatchId::from_u64(1));
    let used = DuplicateMark { index: 1, code: ReasonCode::RowIdUsed, batch, row: 2 };
    house.lay_rows(&mut record, &[(&rows[..3], &[same]), (&rows[3..], &[used])]);
    let warning = StoredProblem {
        line: 1,
        column: 4,
        column_name: "shoe".to_owned(),
        code: "header.column_unknown".to_owned(),
        ..StoredProblem::default()
    };
    house.lay_problems(&record, &[warning, address_problem()]);
    record.validated_at = Some(after(1));
    let state = FileState::AcceptedWithErrors;
    record.facts = facts(state, Some(ReasonCode::RowEmailInvalid), [5, 2, 1, 2]);
    record.facts.x = vec![("x_run".to_owned(), "7".to_owned())];
    house.conclude(record, BatchEvent::FileAccepted)
}

fn settle(house: &House, record: BatchRecord) {
    let refused = Some(ReasonCode::DeliveryNoSuchRecipient);
    house.lay_outcomes(
        &record,
        &[
            (0, vec![settled(0, Status::Sent, None)]),
            (1, vec![settled(0, Status::Failed, refused)]),
        ],
    );
    house.conclude(record, BatchEvent::RowsSettled);
}

const RESULT: &str = "\
spec,file,batch_id,line,row,row_id,contact_id,channel,to,to_given,status,final,code,message,provider,provider_message_id,provider_code,message_id,template,lang,category,campaign,attempts,channels_tried,parts,price,currency,accepted_at,deferred_until,submitted_at,sent_at,delivered_at,read_at,clicked_at,replied_at,opted_out_at,ended_at,x_k
1,a.csv,0000000000002,2,1,r1,,email,jane@example.org,jane@example.org,sent,yes,,,mailhub,,250 2.0.0,0000000000002-1@acme.example,,,service,,1,email,,,,2026-11-22T23:30:01Z,,2026-11-22T23:30:05Z,2026-11-22T23:30:05Z,,,,,,2026-11-22T23:30:06Z,k1
1,a.csv,0000000000002,3,2,r2,,email,,nobody,rejected,yes,row.email_invalid,the email address is not valid,,,,,,,service,,0,,,,,,,,,,,,,,,k2
1,a.csv,0000000000002,4,3,r3,,email,jane@example.org,jane@example.org,duplicate,yes,row.duplicate,the same message was taken before from this file or its cut version; nothing is sent,,,,,,,service,,0,,,,,,,,,,,,,,,k3
1,a.csv,0000000000002,5,4,r4,,email,bob@example.org,bob@example.org,failed,yes,delivery.no_such_recipient,the address does not exist,mailhub,,550 5.1.1,0000000000002-4@acme.example,,,service,,1,email,,,,2026-11-22T23:30:01Z,,,,,,,,,2026-11-22T23:30:06Z,\"k,4\"
1,a.csv,0000000000002,6,5,r5,,email,old@example.org,old@example.org,duplicate,yes,row.id_used,this row_id was accepted before; nothing is sent,,,,,,,service,,0,,,,,,,,,,,,,,,k5
";

/// What a tenant sees of the mixed file in the end.
fn golden() -> BTreeMap<String, String> {
    let files = [
        (
            "outbox/a.csv.ack.csv",
            "spec,file,batch_id,kind,profile,ref,seq,next_seq,campaign,state,code,message,received_at,validated_at,proof,bytes,sha256,records_sha256,encoding,delimiter,rows_total,rows_accepted,rows_rejected,rows_duplicate,rows_suppressed,rows_deferred,warnings,parts_estimated,cost_estimated,currency,first_send_at,duplicate_of,errors_file,rejected_file,rows_new,rows_updated,rows_unchanged,test,x_run\n\
            1,a.csv,0000000000002,messages,,,,,,ACCEPTED_WITH_ERRORS,row.email_invalid,the email address is not valid,2026-11-22T23:30:00Z,2026-11-22T23:30:01Z,close,120,5ha,rec,UTF-8,\",\",5,2,1,2,0,0,0,,,,,,a.csv.errors.csv,a.csv.rejected.csv,,,,no,7\n",
        ),
        (
            "outbox/a.csv.errors.csv",
            "spec,file,line,row,row_id,column,column_name,severity,code,message,value,hint,x_k\n\
            1,a.csv,1,,,4,shoe,warning,header.column_unknown,the column is not known; it can be used as a template variable,,,\n\
            1,a.csv,3,2,r2,2,email,error,row.email_invalid,no @ in it,nobody,write name@domain,k2\n\
            1,a.csv,4,3,r3,,,info,row.duplicate,the same message was taken before from this file or its cut version; nothing is sent,jane@example.org,same message as row 1 of this file,k3\n\
            1,a.csv,6,5,r5,,row_id,info,row.id_used,this row_id was accepted before; nothing is sent,r5,\"accepted before: row 2 of file old.csv (batch 0000000000001), status sent\",k5\n",
        ),
        (
            "outbox/a.csv.rejected.csv",
            "_line,_row,_code,_column,_hint,row_id,email,text,x_k\n\
            3,2,row.email_invalid,email,write name@domain,r2,nobody,Hi,k2\n",
        ),
        ("archive/accepted/2026/11/23/0000000000002_a.csv", INPUT),
        ("outbox/a.csv.result.csv", RESULT),
        ("outbox/a.csv.final.csv", RESULT),
        (
            "outbox/a.csv.summary.csv",
            "spec,file,batch_id,rows_total,rejected,duplicate,submitted,sent,delivered,read,failed,bounced,expired,suppressed,cancelled,unknown,parts,price,currency,test\n\
            1,a.csv,0000000000002,5,1,2,0,1,0,0,1,0,0,0,0,0,,,,no\n",
        ),
    ];
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The tree without what belongs to the earlier file.
fn without_earlier(house: &House) -> BTreeMap<String, String> {
    house.tree().into_iter().filter(|(name, _)| !name.contains("old.csv")).collect()
}

#[tokio::test(start_paused = true)]
async fn every_answer_of_a_batch_is_golden() {
    let mut house = House::new();
    lay_earlier(&house);
    let record = lay_mixed(&house, 2, "inbox/a.csv");
    house.publish().await;
    let answered = without_earlier(&house);
    let mut expected = golden();
    expected.retain(|name, _| !["result", "final", "summary"].iter().any(|a| name.contains(a)));
    assert_eq!(answered, expected);
    settle(&house, record);
    house.publish().await;
    assert_eq!(without_earlier(&house), golden());
    assert!(house.store.publications(9).unwrap().is_empty());
}

/// An ACK was published whose verdict a power cut took back.
#[tokio::test(start_paused = true)]
async fn what_is_not_synced_yet_is_told_to_nobody() {
    let mut house = House::new();
    lay_mixed(&house, 2, "inbox/a.csv");
    let before = house.tree();
    house.disk.leave_unsynced(true);
    assert!(house.try_publish().await.is_err(), "the power goes");
    assert_eq!(house.tree(), before);
    house.disk.leave_unsynced(false);
    house.restart();
    house.publish().await;
    assert!(house.tree().keys().any(|name| name.ends_with("a.csv.ack.csv")));
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_steps_changes_no_byte() {
    // Without `applied` the step was done and its record lost: it is done twice.
    for applied in [false, true] {
        for crash_at in 1..=16 {
            let mut house = House::new();
            lay_earlier(&house);
            let record = lay_mixed(&house, 2, "inbox/a.csv");
            settle(&house, record);
            house.disk.fail_commit(crash_at, applied);
            assert!(house.try_publish().await.is_err(), "commit {crash_at} is on the way");
            house.restart();
            house.publish().await;
            assert_eq!(without_earlier(&house), golden(), "crash at {crash_at}, {applied}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn late_answers_of_a_name_used_again_carry_their_batch() {
    let mut house = House::new();
    let older = lay_mixed(&house, 2, "inbox/sub/a.csv");
    house.publish().await;
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    house.publish().await;
    let progress = "outbox/sub/a.csv.progress.csv".to_owned();
    assert!(house.tree()[&progress].contains(",0000000000002,RUNNING,"));

    let mut newer = house.claim(3, "inbox/sub/a.csv", after(0), "row_id,email,text\n");
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    house.publish().await;
    assert!(house.tree()[&progress].contains(",0000000000002,RUNNING,"), "not yet the newer's");

    newer.validated_at = Some(after(13));
    newer.facts = facts(FileState::Accepted, None, [0; 4]);
    let newer = house.conclude(newer, BatchEvent::FileAccepted);
    house.publish().await;
    assert!(!house.names().contains(&progress), "the older file's progress is over");
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    house.publish().await;
    assert!(house.tree()[&progress].contains(",0000000000003,RUNNING,"));

    settle(&house, older);
    house.publish().await;
    assert!(house.names().contains(&progress), "the newer file's progress stays");
    house.conclude(newer, BatchEvent::RowsSettled);
    house.publish().await;
    let archive = "archive/answers/2026/11/23/0000000000002_a.csv";
    let mut expected = vec![
        "archive/accepted/2026/11/23/0000000000002_a.csv".to_owned(),
        "archive/accepted/2026/11/23/0000000000003_a.csv".to_owned(),
    ];
    expected.extend(["ack", "errors", "rejected"].map(|a| format!("{archive}.{a}.csv")));
    for batch in ["0000000000002.final", "0000000000002.result", "0000000000002.summary"] {
        expected.push(format!("outbox/sub/a.csv.{batch}.csv"));
    }
    expected
        .extend(["ack", "final", "result", "summary"].map(|a| format!("outbox/sub/a.csv.{a}.csv")));
    expected.sort();
    assert_eq!(house.names(), expected);
    assert_eq!(house.tree()["outbox/sub/a.csv.result.csv"].lines().count(), 1, "a header only");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_replaces_only_the_ack_however_often_it_is_written() {
    for crash_at in [None, Some(1), Some(2)] {
        let mut house = House::new();
        let record = lay_mixed(&house, 2, "inbox/a.csv");
        settle(&house, record);
        house.publish().await;
        let before = house.tree();

        let mut again = house.claim(3, "inbox/a.csv", after(0), INPUT);
        let code = Some(ReasonCode::FileDuplicate);
        let duplicate_of = Some(BatchId::from_u64(2));
        again.validated_at = Some(after(2));
        again.facts = Facts { duplicate_of, ..facts(FileState::Duplicate, code, [5, 0, 0, 5]) };
        house.conclude(again, BatchEvent::FileDuplicate);
        if let Some(nth) = crash_at {
            house.disk.fail_commit(nth, false);
            assert!(house.try_publish().await.is_err());
            house.restart();
        }
        house.publish().await;

        let mut tree = house.tree();
        let ack = tree.insert("outbox/a.csv.ack.csv".to_owned(), String::new()).unwrap();
        assert!(ack.contains("\n1,a.csv,0000000000003,messages,,,,,,DUPLICATE,file.duplicate,"));
        assert!(ack.contains(",5,0,0,5,0,0,0,,,,,0000000000002,,,,,,no\n"), "{ack}");
        let mut expected = before;
        let replaced = expected.insert("outbox/a.csv.ack.csv".to_owned(), String::new()).unwrap();
        let archived = "archive/answers/2026/11/23/0000000000002_a.csv.ack.csv".to_owned();
        expected.insert(archived, replaced);
        let original = "archive/rejected/2026/11/23/0000000000003_a.csv".to_owned();
        expected.insert(original, INPUT.to_owned());
        assert_eq!(tree, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_refused_for_its_bad_rows_gives_back_all_but_duplicates() {
    let mut house = House::new();
    let input = "email,text,x_k\njane@example.org,Hi,k1\nnobody,Hi,k2\njane@example.org,Hi,k3\n";
    let mut record = house.claim(2, "inbox/a.csv", after(0), input);
    let rejected = RowState::Rejected(ReasonCode::RowEmailInvalid);
    let rows = [
        row(1, "", "jane@example.org", "k1"),
        StoredRow { state: rejected, ..row(2, "", "", "k2") },
        row(3, "", "jane@example.org", "k3"),
    ];
    let same = DuplicateMark { index: 2, code: ReasonCode::RowDuplicate, batch: None, row: 1 };
    house.lay_rows(&mut record, &[(&rows, &[same])]);
    house.lay_problems(&record, &[StoredProblem { row_id: String::new(), ..address_problem() }]);
    record.validated_at = Some(after(1));
    let code = Some(ReasonCode::FileTooManyBadRows);
    record.facts = facts(FileState::Rejected, code, [3, 0, 2, 1]);
    house.conclude(record, BatchEvent::FileRefused);
    house.publish().await;
    let tree = house.tree();
    let advice = ReasonCode::FileTooManyBadRows.advice();
    assert_eq!(
        tree["outbox/a.csv.rejected.csv"],
        format!(
            "_line,_row,_code,_column,_hint,email,text,x_k\n\
             2,1,file.too_many_bad_rows,,{advice},jane@example.org,Hi,k1\n\
             3,2,row.email_invalid,email,write name@domain,nobody,Hi,k2\n"
        )
    );
    let again = (true, vec!["k1".to_owned(), "k2".to_owned()]);
    assert_eq!(read_back(&tree["outbox/a.csv.rejected.csv"]), again);
    assert_eq!(tree["outbox/a.csv.errors.csv"].lines().count(), 3);
    assert!(tree.contains_key("archive/rejected/2026/11/23/0000000000002_a.csv"));
    assert_eq!(tree.len(), 4, "errors, rejected, ack and the original: {:?}", tree.keys());
}

/// Whether intake would know a rejected file that was dropped again as one, and its `x_k` cells.
fn read_back(rejected: &str) -> (bool, Vec<String>) {
    let mut reader = RecordReader::new(rejected.as_bytes(), ReadSettings::default());
    let opened = reader.open().unwrap();
    let (mut cells, mut record) = (Vec::new(), Record::new());
    while let Some(step) = reader.next(&mut record).unwrap() {
        assert_eq!(step, Step::Row);
        cells.extend(opened.layout.x_values(&record).map(str::to_owned));
    }
    (opened.redropped, cells)
}

#[tokio::test(start_paused = true)]
async fn progress_runs_from_validating_to_the_result() {
    let mut house = House::new();
    let progress = "outbox/a.csv.progress.csv";
    let mut record = house.claim(2, "inbox/a.csv", after(0), INPUT);
    house.publish().await;
    assert!(house.names().is_empty(), "a young batch shows nothing");
    house.wait().await;
    house.publish().await;
    let row = |text: &str| text.lines().nth(1).unwrap().to_owned();
    let validating = "1,a.csv,0000000000002,VALIDATING,0,0,0,,,,2026-11-22T23:30:05Z";
    assert_eq!(row(&house.tree()[progress]), validating);

    let rows = [row_for(1), row_for(2), row_for(3), row_for(4)];
    house.lay_rows(&mut record, &[(&rows, &[])]);
    record.validated_at = Some(after(6));
    record.facts = facts(FileState::Accepted, None, [4, 4, 0, 0]);
    let record = house.conclude(record, BatchEvent::FileAccepted);
    house.leave_open(&record, 3, 1, 600);
    house.publish().await;
    assert_eq!(row(&house.tree()[progress]), validating, "at most every five seconds");
    house.wait().await;
    house.publish().await;
    let running = "1,a.csv,0000000000002,RUNNING,4,1,1,2026-11-22T23:40:00Z,0.2,\
        2026-11-22T23:30:25Z,2026-11-22T23:30:10Z";
    assert_eq!(row(&house.tree()[progress]), running);
    house.leave_open(&record, 2, 2, 700);
    house.wait().await;
    house.publish().await;
    let waiting = "1,a.csv,0000000000002,SCHEDULED,4,2,2,2026-11-22T23:41:40Z,0.2,,\
        2026-11-22T23:30:15Z";
    assert_eq!(row(&house.tree()[progress]), waiting);

    house.conclude(record, BatchEvent::RowsSettled);
    house.publish().await;
    assert!(!house.names().contains(&progress.to_owned()));
    house.wait().await;
    house.publish().await;
    assert!(!house.names().contains(&progress.to_owned()), "it does not come back");
}

fn row_for(number: u64) -> StoredRow<'static> {
    row(number, "", "jane@example.org", "")
}

#[tokio::test(start_paused = true)]
async fn a_refused_or_duplicate_file_ends_its_progress() {
    let mut house = House::new();
    let mut record = house.claim(2, "inbox/a.csv", after(0), "");
    house.publish().await;
    house.wait().await;
    house.publish().await;
    assert_eq!(house.names(), ["outbox/a.csv.progress.csv"]);
    record.validated_at = Some(after(6));
    record.facts = facts(FileState::Rejected, Some(ReasonCode::FileEmpty), [0; 4]);
    house.conclude(record, BatchEvent::FileRefused);
    house.publish().await;
    let original = "archive/rejected/2026/11/23/0000000000002_a.csv";
    assert_eq!(house.names(), [original, "outbox/a.csv.ack.csv"]);
}

#[tokio::test(start_paused = true)]
async fn progress_of_which_a_power_cut_left_only_the_name_ends_all_the_same() {
    for left in [&b""[..], &[0; 80]] {
        let mut house = House::new();
        let mut record = house.claim(2, "inbox/a.csv", after(0), "");
        std::fs::write(house.data.path().join("tenants/acme/outbox/a.csv.progress.csv"), left)
            .unwrap();
        record.validated_at = Some(after(6));
        record.facts = facts(FileState::Rejected, Some(ReasonCode::FileEmpty), [0; 4]);
        house.conclude(record, BatchEvent::FileRefused);
        house.publish().await;
        let original = "archive/rejected/2026/11/23/0000000000002_a.csv";
        assert_eq!(house.names(), [original, "outbox/a.csv.ack.csv"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_published_holds_up_only_its_own_name() {
    let mut house = House::new();
    for (tenant, id) in [("gone", 1), ("acme", 2)] {
        let mut record = house.claim_for(tenant, id, "inbox/a.csv", after(0), "");
        record.validated_at = Some(after(0));
        record.facts = facts(FileState::Accepted, None, [0; 4]);
        let record = house.conclude(record, BatchEvent::FileAccepted);
        house.conclude(record, BatchEvent::RowsSettled);
    }
    house.publish().await;
    assert!(house.names().contains(&"outbox/a.csv.summary.csv".to_owned()));
    let left = house.store.publications(99).unwrap();
    assert_eq!(left.len(), 8);
    assert!(left.iter().all(|(batch, _)| *batch == BatchId::from_u64(1)));
}

/// A file without a header line, refused for its rows, whose profile is not configured any more.
fn lay_headerless(house: &House) {
    let mut record = house.claim(2, "inbox/a.csv", after(0), "jane@example.org;Hi\nnobody;Hi\n");
    let rejected = RowState::Rejected(ReasonCode::RowEmailInvalid);
    let rows =
        [row(1, "", "jane@example.org", ""), StoredRow { state: rejected, ..row(2, "", "", "") }];
    house.lay_rows(&mut record, &[(&rows, &[])]);
    house.lay_problems(&record, &[address_problem()]);
    record.validated_at = Some(after(1));
    let code = Some(ReasonCode::FileApprovalNeeded);
    record.facts =
        Facts { profile: "gone".to_owned(), ..facts(FileState::Rejected, code, [2, 0, 2, 0]) };
    house.conclude(record, BatchEvent::FileRefused);
}

#[tokio::test(start_paused = true)]
async fn rejected_rows_are_cut_as_the_file_was_read_though_its_profile_is_gone() {
    let mut house = House::new();
    lay_headerless(&house);
    let names = vec!["email".to_owned(), "text".to_owned()];
    let header = HeaderMode::Columns(names);
    let read = ReadSettings { delimiter: Some(b';'), header, ..ReadSettings::default() };
    house.keep_read_as(2, &serde_json::to_vec(&read.read_as()).unwrap());
    house.publish().await;
    let tree = house.tree();
    let rows = &tree["outbox/a.csv.rejected.csv"];
    assert!(
        rows.starts_with("_line;_row;_code;_column;_hint;email;text\n1;1;file.approval"),
        "{rows}"
    );
    assert!(
        rows.ends_with(
            ";jane@example.org;Hi\n2;2;row.email_invalid;email;write name@domain;nobody;Hi\n"
        ),
        "{rows}"
    );
    assert!(tree["outbox/a.csv.ack.csv"].contains(",a.csv.rejected.csv,"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_again_gets_its_ack_all_the_same() {
    let mut house = House::new();
    lay_headerless(&house);
    house.publish().await;
    let tree = house.tree();
    assert!(!tree.contains_key("outbox/a.csv.rejected.csv"));
    assert!(tree["outbox/a.csv.ack.csv"].contains(",a.csv.errors.csv,,"));
}

#[tokio::test]
async fn without_its_rows_a_result_waits_instead_of_being_empty() {
    let mut house = House::new();
    let record = lay_mixed(&house, 2, "inbox/a.csv");
    let rows = house.spool.batch(record.id).rows();
    settle(&house, record);
    let kept = rows.with_file_name("kept");
    std::fs::copy(&rows, &kept).unwrap();
    std::fs::remove_file(&rows).unwrap();
    house.publish().await;
    assert!(house.names().iter().all(|name| !name.ends_with(".result.csv")), "{:?}", house.names());
    std::fs::copy(&kept, &rows).unwrap();
    house.restart();
    house.publish().await;
    assert!(house.names().iter().any(|name| name.ends_with("a.csv.result.csv")));
}
