//! Whether a start from the view comes to the same as one without it: what makes the view a cache.
//! Tests ask it after each crash; so may whoever doubts a view.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;

use journal::{Journal, Offset, WallTime};

use super::open::{Standing, open};
use crate::dead_letters::Row;
use crate::fold::{OpenError, ParkedThen};
use crate::records::Number;
use crate::view::{Place, What};

/// Opens the log with the view that lies there, and once more with none, and says what differs. What
/// may differ isn't compared: the columns of the books for what has ended and is in no segment any
/// more, and dead letters that came before `letters_from`, whose retention is over. None where the view
/// had to be made anew, which it is then.
///
/// # Errors
///
/// [`OpenError`]: one of the two can't be opened.
pub fn differences(
    log: &Journal,
    kept: &Journal,
    place: &Place,
    letters_from: WallTime,
) -> Result<Option<Vec<String>>, OpenError> {
    let silent = Arc::new(|_| {}) as super::OnProgress;
    let mut with = open(log, kept.clone(), place, &silent)?;
    if with.anew {
        return Ok(None);
    }
    let mut without = open(log, kept.clone(), &Place::Memory, &silent)?;
    let mut found = Vec::new();
    let (a, b) = (State::of(&mut with)?, State::of(&mut without)?);
    differ(&mut found, "routed to", &a.routed_to, &b.routed_to);
    differ(&mut found, "resources", &a.resources, &b.resources);
    // Where routing has not gone beyond the log's first record, what opens the log says what was in
    // force, and is routed next.
    if log.start() < a.routed_to {
        differ(
            &mut found,
            "resources then",
            &a.resources_then,
            &b.resources_then,
        );
    }
    differ_by_key(&mut found, "owed", &a.owed, &b.owed);
    differ_by_key(&mut found, "parked", &a.parked, &b.parked);
    differ_by_key(&mut found, "again", &a.again, &b.again);
    differ_by_key(&mut found, "owed in the books", &a.books, &b.books);
    differ(
        &mut found,
        "paused, blocked, replaying",
        &a.standing,
        &b.standing,
    );
    let since = |letters: BTreeMap<Offset, Row>| -> BTreeMap<Offset, Row> {
        let young = letters
            .into_iter()
            .filter(|(_, row)| letters_from <= row.at);
        young.collect()
    };
    let (letters, letters_anew) = (since(a.letters), since(b.letters));
    differ_by_key(&mut found, "letters", &letters, &letters_anew);
    let needed = letters.values().filter(|row| row.needs_event());
    let needed = needed.flat_map(|row| [row.event, row.id]);
    let owed = a
        .owed
        .keys()
        .filter(|(number, _)| number & crate::records::FORWARD == 0);
    for offset in needed.chain(owed.map(|(_, offset)| *offset)) {
        if log.start() <= offset {
            continue;
        }
        for (name, standing) in [("with", &with), ("without", &without)] {
            if standing.view.kept_at(What::Copy, offset)?.is_none() {
                found.push(format!("{name} the view, {} has no copy", offset.0));
            }
        }
    }
    Ok(Some(found))
}

/// What a start goes on from.
struct State {
    routed_to: Offset,
    resources: Vec<String>,
    resources_then: Vec<String>,
    owed: BTreeMap<(Number, Offset), ()>,
    parked: BTreeMap<(Number, Offset), Option<ParkedThen>>,
    again: BTreeMap<(Number, Offset), WallTime>,
    books: BTreeMap<Number, u64>,
    standing: Vec<String>,
    letters: BTreeMap<Offset, Row>,
}

impl State {
    fn of(standing: &mut Standing) -> Result<Self, OpenError> {
        let Standing { view, fold, .. } = standing;
        let snapshot = |registry: &crate::registry::Registry| -> Vec<String> {
            let steps = registry.snapshot();
            steps.iter().map(|step| format!("{step:?}")).collect()
        };
        let mut owed = BTreeMap::new();
        let mut parked = BTreeMap::new();
        let mut books = BTreeMap::new();
        for (number, offsets) in fold.owed.iter() {
            books.insert(number, fold.books.of(number).owed);
            for offset in offsets.iter().map(Offset) {
                owed.insert((number, offset), ());
                if fold.parked.contains(number, offset) {
                    parked.insert((number, offset), view.parked(number, offset)?);
                }
            }
        }
        let mut standing: Vec<String> = fold
            .standing()
            .iter()
            .map(|record| format!("{} {:?}", record.kind, record.body))
            .collect();
        standing.sort();
        let mut letters = BTreeMap::new();
        let listed = view.letters_upwards(None, Offset(0), |row| {
            letters.insert(row.id, row);
            ControlFlow::Continue(())
        });
        listed?;
        Ok(Self {
            routed_to: fold.routed_to,
            resources: snapshot(&fold.registry),
            resources_then: snapshot(&fold.registry_then),
            owed,
            parked,
            again: fold
                .again
                .iter()
                .map(|(key, since)| (*key, *since))
                .collect(),
            books,
            standing,
            letters,
        })
    }
}

fn differ<T: PartialEq + Debug>(found: &mut Vec<String>, what: &str, with: &T, without: &T) {
    if with != without {
        found.push(format!(
            "{what}: {with:?} with the view, {without:?} without"
        ));
    }
}

fn differ_by_key<K: Ord + Debug, T: PartialEq + Debug>(
    found: &mut Vec<String>,
    what: &str,
    with: &BTreeMap<K, T>,
    without: &BTreeMap<K, T>,
) {
    for (key, value) in with {
        let other = without.get(key);
        if other != Some(value) {
            found.push(format!(
                "{what} {key:?}: {value:?} with the view, {other:?} without"
            ));
        }
    }
    for (key, value) in without {
        if !with.contains_key(key) {
            found.push(format!("{what} {key:?}: {value:?} without the view only"));
        }
    }
}
