//! Peers as real processes: the CloudEvents SDKs send through Weft, functions on real runtimes receive and reply.
//!
//! What each of them is, is in [`list`]; what they are sent in [`samples`]; [`play`] runs them all once, and [`page`]
//! holds the outcome against `docs/peers.md`, where what a peer gets wrong is written down. So the page tells the
//! truth about the pinned versions, and a change of ours that a peer would notice fails a test. A peer that could not
//! be installed is skipped, and says so.

mod judge;
mod list;
mod page;
mod play;
mod samples;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Completion, Trial};

use list::{Folders, PEERS};
use play::Outcome;

/// A test for each peer, and one for the page as a whole.
pub(crate) fn trials() -> Vec<Trial> {
    let played: Arc<OnceLock<BTreeMap<&'static str, Outcome>>> = Arc::default();
    let mut trials = Vec::new();
    for peer in &PEERS {
        let played = Arc::clone(&played);
        trials.push(Trial::ignorable_test(
            format!("peers::{}", peer.key),
            move || {
                if !Folders::new().has(peer) {
                    return Ok(Completion::ignored_with(
                        "it isn't installed: scripts/setup.sh peers says why",
                    ));
                }
                let outcomes = played.get_or_init(play::play);
                page::holds(peer, &outcomes[peer.key]);
                Ok(Completion::Completed)
            },
        ));
    }
    trials.push(Trial::test("peers::docs_peers_md_is_current", move || {
        page::is_whole(played.get_or_init(play::play));
        Ok(())
    }));
    trials
}
