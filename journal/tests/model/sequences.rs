//! Arbitrary sequences of operations, against the ledger. Shrinks to the shortest that fails.

use journal::model_disk::{CrashRule, ModelDisk};
use proptest::prelude::*;

use crate::play::{Ledger, Op, play, small};

fn sizes() -> impl Strategy<Value = Vec<u16>> {
    let size = prop_oneof![6 => 0u16..100, 3 => 400u16..2000, 1 => 5000u16..5600];
    prop::collection::vec(size, 1..5)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop::collection::vec(sizes(), 1..6).prop_map(Op::Append),
        4 => sizes().prop_map(Op::Note),
        1 => Just(Op::Wait),
        1 => Just(Op::Flush),
        2 => (0u8..=100).prop_map(Op::Reclaim),
        1 => Just(Op::Reopen),
        2 => (prop::sample::select(CrashRule::ALL.to_vec()), any::<u64>())
            .prop_map(|(rule, seed)| Op::Crash(rule, seed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_keeps_the_ledger(ops in prop::collection::vec(op(), 1..60)) {
        let played = play(ModelDisk::new(), &small(), &ops, &mut Ledger::default());
        prop_assert!(played.is_ok(), "{}", played.unwrap_err());
    }
}
