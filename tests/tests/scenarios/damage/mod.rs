//! What the disk damages is found, costs no more than what it hits, and is named: bits that flip, blocks
//! that are zeroed or change places, files that are cut, old or gone (DESIGN §§4, 10). A data folder with
//! something of everything in it is made once, damaged by a seed, looked at as `weft log verify` does,
//! and given to a node, which must do what it would have done but for what was hit.
//!
//! One exception: the last frame before a crash. What is damaged there can't be told from what the crash
//! tore.

pub(crate) mod folder;
mod harm;
mod judge;
pub(crate) mod node;

use std::collections::BTreeMap;

use tests::{Seed, proof};

use self::harm::{OTHERS, Region, Where, flip, other, regions};
use self::judge::{Verdict, Whole};

/// Flips of a bit, in the short form and in the full one.
const FLIPS: (u64, u64) = (400, 10_000);

/// Times that each other kind of damage is done.
const EACH: (u64, u64) = (12, 300);

/// How often what came of it was so.
#[derive(Debug, Default)]
struct Count {
    all: u64,
    detected: u64,
    harmless: u64,
    refused: u64,
    last_frame: u64,
    named: u64,
    before_start: u64,
    /// What was lost beyond what was damaged, or wasn't said; each with how to see it again.
    wrong: Vec<String>,
}

impl Count {
    fn take(&mut self, test: &str, seed: u64, what: &str, judged: &Result<Verdict, String>) {
        self.all += 1;
        let verdict = match judged {
            Ok(verdict) => *verdict,
            Err(wrong) => {
                self.wrong.push(format!(
                    "{what}: {wrong}\n  SEED={seed} cargo test -p tests --test scenarios {test}"
                ));
                Verdict::default()
            }
        };
        self.detected += u64::from(verdict.detected);
        self.harmless += u64::from(verdict.harmless);
        self.refused += u64::from(verdict.refused);
        self.last_frame += u64::from(verdict.last_frame);
        self.named += verdict.named;
        self.before_start += verdict.before_start;
    }
}

/// A full run takes long, and what it finds is known at its end.
fn say_at_once(what: &str, judged: &Result<Verdict, String>) {
    if let Err(wrong) = judged {
        eprintln!("{what}: {wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_costs_at_most_the_record_that_it_hits() {
    let made = folder::make().await;
    let mut count = Count::default();
    let mut by_region: BTreeMap<Where, Count> = BTreeMap::new();
    let stopped = Whole::new(&made.stopped, true).await;
    let crashed = Whole::new(&made.crashed, false).await;
    let all = [&stopped, &crashed].map(|whole| regions(&whole.files, &whole.records));
    for mut seed in Seed::all(0..proof::size(FLIPS.1, FLIPS.0)) {
        let which = seed.within(0..2) as usize;
        let whole = [&stopped, &crashed][which];
        let (region, harmed) = flip(&mut seed, &whole.files, &all[which]);
        let verdict = match whole.judge(&harmed).await {
            // In the last frame before a crash, its group: that is as if the crash had torn it.
            Ok(verdict) if verdict.named > 1 && !verdict.last_frame => {
                Err("it cost more than one record".to_owned())
            }
            Ok(verdict) if region.0.is_checked() && verdict.harmless => {
                Err("nobody found it".to_owned())
            }
            judged => judged,
        };
        say_at_once(&harmed.what, &verdict);
        let name = "a_flipped_bit_costs_at_most_the_record_that_it_hits";
        count.take(name, seed.number, &harmed.what, &verdict);
        let of_region = by_region.entry(region).or_default();
        of_region.take(name, seed.number, &harmed.what, &verdict);
    }
    for (region, count) in &by_region {
        eprintln!("{region:?}: {count:?}");
    }
    proof::report(
        "bit flips",
        &[
            ("flips", count.all),
            ("detected", count.detected),
            ("harmless", count.harmless),
            ("refused", count.refused),
            ("named", count.named),
            ("in the last frame before a crash", count.last_frame),
            ("lost", count.wrong.len() as u64),
        ],
    );
    assert!(count.wrong.is_empty(), "{}", count.wrong.join("\n"));
    if std::env::var("SEED").is_err() {
        for region in all.iter().flat_map(BTreeMap::keys) {
            let count = by_region.get(region);
            let (hit, found) = count.map_or((0, 0), |count| (count.all, count.detected));
            assert!(hit > 0, "{region:?} is never hit");
            let is_found = region.0.is_checked() || region.0 == Region::View;
            assert!(found > 0 || !is_found, "{region:?} is never found damaged");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn blocks_and_files_that_are_lost_or_change_places_cost_what_they_held() {
    let made = folder::make().await;
    let mut count = Count::default();
    let stopped = Whole::new(&made.stopped, true).await;
    let crashed = Whole::new(&made.crashed, false).await;
    for kind in OTHERS {
        let mut of_kind = Count::default();
        for mut seed in Seed::all(0..proof::size(EACH.1, EACH.0)) {
            let whole = seed.of_these(&[&stopped, &crashed]);
            let harmed = other(&mut seed, kind, &made, &whole.files);
            let verdict = whole.judge(&harmed).await;
            say_at_once(&harmed.what, &verdict);
            let name = "blocks_and_files_that_are_lost_or_change_places_cost_what_they_held";
            count.take(name, seed.number, &harmed.what, &verdict);
            of_kind.take(name, seed.number, &harmed.what, &verdict);
        }
        eprintln!("{kind}: {of_kind:?}");
    }
    proof::report(
        "other damage",
        &[
            ("cases", count.all),
            ("detected", count.detected),
            ("harmless", count.harmless),
            ("refused with nothing changed", count.refused),
            ("named", count.named),
            ("before the first file left", count.before_start),
            ("in the last frame before a crash", count.last_frame),
            ("lost", count.wrong.len() as u64),
        ],
    );
    assert!(count.wrong.is_empty(), "{}", count.wrong.join("\n"));
}
