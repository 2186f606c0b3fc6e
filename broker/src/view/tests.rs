//! What millions of dead letters cost in memory.

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
    let view = Arc::new(View::open(&Place::File(file.clone())).unwrap());
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
