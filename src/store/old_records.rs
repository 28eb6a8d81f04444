//! Records as earlier versions wrote them: worked on as if this version had.

use super::conformance::{at, chunk, claimed};
use super::engine::Space;
use super::*;
use crate::batch::{BatchEvent, Effect};
use crate::model::ControlOp;

/// Takes fields away from a stored record, as if a version had written it that did not know them.
fn age(store: &Store, space: Space, key: Vec<u8>, fields: &[&str]) {
    let bytes = store.engine.get(space, &key).unwrap().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&bytes[1..]).unwrap();
    let record = value.as_object_mut().unwrap();
    fields.iter().for_each(|field| assert!(record.remove(*field).is_some(), "{field}"));
    let mut aged = vec![records::RECORD_VERSION];
    aged.extend(serde_json::to_vec(&value).unwrap());
    store.commit(vec![Op::Put(space, key, aged)], Vec::new()).unwrap();
}

#[test]
fn chunks_of_the_first_version_can_be_worked_on_and_their_rows_resent() {
    let store = Store::simulated(&SimulatedDisk::default()).unwrap();
    let record = store.open_batch(claimed(7)).unwrap();
    store.put_chunks(record.id, &[chunk(0, Some(at(5))), chunk(1, None)]).unwrap();
    for number in [0, 1] {
        let key = keys::numbered(record.id, number);
        age(&store, Space::Chunks, key, &["resendable", "duplicates", "deferred"]);
    }
    store.conclude(record.clone(), BatchEvent::FileAccepted, &Acceptance::default()).unwrap();
    let before = store.chunk(record.id, 0).unwrap().unwrap();
    assert_eq!(before.resendable, None, "nobody counted them");
    let done = ChunkRecord { open: 0, resendable: Some(0), due: None, ..before };
    store.release_windows(record.id, &[], &before, &done).unwrap();
    assert_eq!(store.chunk(record.id, 0).unwrap(), Some(done));

    store.close_batch(record.id, at(9)).unwrap().unwrap();
    let mut commands = Commands::new("operator".to_owned(), at(10));
    let effect = store.command(&mut commands, ControlOp::Resend, record.id, None).unwrap();
    assert_eq!(effect, Ok(Effect::Reopen), "of the other chunk rows may have failed");
    store.carry_out(&commands).unwrap();
    let (_, order) = store.next_orders().unwrap().pop().unwrap();
    let before = store.chunk(record.id, 1).unwrap().unwrap();
    let counted = ChunkRecord { open: 1, resendable: Some(0), due: Some(at(10)), ..before };
    store.advance_order(record.id, &order, &[(before, counted.clone())]).unwrap();
    assert_eq!(store.chunk(record.id, 1).unwrap(), Some(counted));
    assert_eq!(store.timers(record.id, 9).unwrap(), [(at(10), 1)]);
}

#[test]
fn a_claim_of_the_first_version_is_taken_back() {
    let store = Store::simulated(&SimulatedDisk::default()).unwrap();
    let record = store.open_batch(claimed(7)).unwrap();
    age(&store, Space::Batches, keys::batch(record.id), &["hold", "control", "chunks"]);
    store.forget_claim(record.id).unwrap();
    assert_eq!((store.batch(record.id), store.open_batches()), (Ok(None), Ok(Vec::new())));
}

#[test]
fn open_batches_of_the_first_version_are_listed_when_its_store_is_opened() {
    let disk = SimulatedDisk::default();
    let store = Store::simulated(&disk).unwrap();
    let open = store.open_batch(claimed(7)).unwrap();
    let ended = store.open_batch(claimed(8)).unwrap();
    store.conclude(ended, BatchEvent::FileRefused, &Acceptance::default()).unwrap();
    let mut ops = vec![Op::Delete(Space::Meta, b"open_listed".to_vec())];
    ops.push(Op::Delete(Space::Open, keys::batch(open.id)));
    store.commit(ops, Vec::new()).unwrap();
    assert_eq!(store.open_batches().unwrap(), []);
    let store = Store::simulated(&disk).unwrap();
    assert_eq!(store.open_batches().unwrap(), [open]);
}
