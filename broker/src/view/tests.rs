//! What millions of dead letters cost in memory; and the bytes of what is there once.

use expect_test::expect;
use journal::{Offset, WallTime};
use triggers::TriggerName;

use super::*;
use crate::dead_letters::{Reason, Row, State as LetterState};
use crate::fold::Fold;
use crate::keeper::CHANGES_MAX;
use crate::records::Cause;

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident = pages.split(' ').nth(1).unwrap();
    resident.parse::<u64>().unwrap() * 4096
}

/// Five million letters of 100 bytes cost less than 32 MiB of memory; the most is the view's cache and
/// one commit, so a tenth of them costs the same.
#[test]
#[ignore = "measures the memory of its process: run it alone, with --ignored"]
fn half_a_million_letters_cost_less_than_32_mib_of_memory() {
    let file = std::env::temp_dir().join(format!("weft-letters-{}.redb", std::process::id()));
    let view = Arc::new(View::anew(&Place::File(file.clone())).unwrap());
    let mut fold = Fold::new(1, Offset(0), Arc::clone(&view));
    let before = resident_bytes();
    let mut most = 0;
    for id in 0..500_000u64 {
        let row = Row {
            id: Offset(id * 3),
            event: Offset(id * 3 + 1),
            number: 2,
            trigger: TriggerName::new("shop", "billing"),
            reason: Reason::Dead(Cause::Exhausted),
            at: WallTime(1_700_000_000_000 + id),
            bytes: 300,
            status: Some(503),
            forwarded: false,
            state: LetterState::Kept,
            payload_discarded: false,
            forwarding: false,
            let_go: false,
        };
        view.set_letter(row.id, Some(row)).unwrap();
        if view.uncommitted() >= CHANGES_MAX {
            let state = fold.state();
            view.commit(&mut fold, state).unwrap();
            most = most.max(resident_bytes().saturating_sub(before));
        }
    }
    eprintln!(
        "{} MiB of memory, {} MiB on disk",
        most >> 20,
        view.bytes() >> 20
    );
    std::fs::remove_file(file).unwrap();
    assert!(most < 32 << 20, "{} MiB", most >> 20);
}

/// As `docs/format.md` has it: a change here is one there, and counts the format up.
#[test]
fn the_state_is_written_as_the_document_says() {
    let mut state = State {
        log_id: 0x0102,
        kept_id: 0x0304,
        folded_to: Offset(5),
        kept_to: Offset(6),
        routed_to: Offset(7),
        resources_from: Offset(8),
        gap: true,
        ..State::default()
    };
    state.seen.insert((9, Offset(10)));
    state.books.matched(11);
    state.letters.kept.insert(12, 13);
    state.letters.payloads.insert(14, 15);
    state.letters.bytes.insert(16, 17);
    (state.letters.redriven, state.letters.discarded) = (18, 19);
    state.kept_live.insert(Offset(20), 21);
    state.again.insert((22, Offset(23)), WallTime(24));
    state.sizes.count(25, 26);
    let hex: Vec<String> = state
        .encode()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    expect!["04 00 02 01 00 00 00 00 00 00 04 03 00 00 00 00 00 00 05 06 07 08 01 01 09 0a 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 0b 01 00 00 00 00 00 00 00 00 00 00 00 01 01 0c 0d 01 0e 0f 01 10 11 12 13 01 14 15 00 01 16 17 18 00 06 00 00 00 00 00 00 01 19 01 1a 08 00 00 00 00 00 00 00 00 08 00 00 00 00 00 00 00 00"].assert_eq(&hex.join(" "));
    let read = State::decode(&state.encode()).unwrap().unwrap();
    assert_eq!(read.encode(), state.encode());
    assert!(State::decode(&[3]).unwrap().is_none(), "another format");
}
