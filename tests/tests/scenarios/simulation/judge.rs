//! What must hold at the end of a run, beside what the ledger settles: every promise in one place, each
//! with what was seen where it was broken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::replay;
use broker::report::{BreakerState, Report};
use event::Event;
use journal::Offset;
use tests::World;
use tests::ledger::Acknowledged;
use tests::sinks::{Call, Key};
use triggers::BrokerName;

use super::ends::End;
use super::plan::ORDERED;

/// Triggers that come and go, so that what they are owed may be cancelled.
const FLEETING: &str = "fleeting";

/// What was seen.
pub(super) struct Seen<'a> {
    pub(super) calls: &'a [Call],
    pub(super) acknowledged: &'a [Acknowledged],
    /// Letters there ever were: whose, and of which event.
    pub(super) letters: &'a BTreeSet<(String, Offset)>,
    /// Everything that anybody tried to publish.
    pub(super) sent: &'a BTreeMap<Key, Event>,
    /// What functions answered with.
    pub(super) replied: &'a BTreeSet<Key>,
    /// The ends of the process.
    pub(super) ends: &'a [End],
    /// Whether somebody had dead letters delivered again.
    pub(super) redriven: bool,
    /// From which of the acknowledged on what [`FLEETING`] is owed can't have been cancelled, if from any.
    pub(super) fleeting_from: Option<usize>,
}

impl Seen<'_> {
    /// Everything that is wrong, a line each.
    pub(super) fn wrong(&self, gave_way: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        if !gave_way {
            self.each_has_an_outcome(&mut wrong);
        }
        self.nothing_is_made_up(&mut wrong);
        self.nothing_settled_is_repeated(&mut wrong);
        for trigger in ORDERED {
            self.keys_keep_their_order(trigger, &mut wrong);
            self.keys_go_one_at_a_time(trigger, &mut wrong);
        }
        wrong
    }

    /// Each delivery of what was acknowledged, also of what is in no segment any more, was taken by its
    /// function or is, or was, a dead letter.
    fn each_has_an_outcome(&self, wrong: &mut Vec<String>) {
        let took: BTreeSet<(&str, &Key)> = self
            .calls
            .iter()
            .filter(|call| call.took())
            .map(|call| (call.whose.as_str(), &call.key))
            .collect();
        // By event, and not by offset: of one that came twice the first was owed.
        let letters = self.acknowledged.iter().flat_map(|acknowledged| {
            let names = acknowledged.owed_to.iter();
            names
                .filter(|name| {
                    let letter = ((*name).clone(), acknowledged.offset);
                    self.letters.contains(&letter)
                })
                .map(|name| (name.as_str(), &acknowledged.key))
        });
        let dead: BTreeSet<(&str, &Key)> = letters.collect();
        for (nth, acknowledged) in self.acknowledged.iter().enumerate() {
            let Acknowledged {
                key,
                offset,
                owed_to,
                ..
            } = acknowledged;
            let stays = self.fleeting_from.is_some_and(|from| from <= nth);
            for name in owed_to.iter().filter(|name| stays || *name != FLEETING) {
                let ended = dead.contains(&(name.as_str(), key));
                if !ended && !took.contains(&(name.as_str(), key)) {
                    wrong.push(format!(
                        "LOST: {key:?} was acknowledged at {}, owed to {name}, and has no outcome",
                        offset.0
                    ));
                }
            }
        }
    }

    /// What is delivered was published, or replied, and is byte for byte what was published.
    fn nothing_is_made_up(&self, wrong: &mut Vec<String>) {
        for call in self.calls {
            let sent = self.sent.get(&call.key);
            let same = match sent {
                Some(sent) => *sent == call.event,
                None => self.replied.contains(&call.key),
            };
            if !same {
                let key = &call.key;
                wrong.push(format!(
                    "{} got {key:?}, which isn't what was sent",
                    call.sink
                ));
            }
        }
    }

    /// An event is delivered again only if it was in the air, or answered within 50 ms, when the
    /// process ended; what a person asked to have again comes again of course.
    fn nothing_settled_is_repeated(&self, wrong: &mut Vec<String>) {
        let offsets = self.acknowledged.iter();
        let offsets: BTreeMap<&Key, Offset> = offsets
            .map(|acknowledged| (&acknowledged.key, acknowledged.offset))
            .collect();
        let of_ids: BTreeMap<&str, Offset> = offsets
            .iter()
            .map(|(key, offset)| (key.1.as_str(), *offset))
            .collect();
        let known: BTreeSet<Offset> = offsets.values().copied().collect();
        let unknown = self.letters.iter().filter(|(_, at)| !known.contains(at));
        let unknown: BTreeSet<&str> = unknown.map(|(name, _)| name.as_str()).collect();
        let lettered: BTreeSet<Offset> = self.letters.iter().map(|(_, at)| *at).collect();
        let redriven = |call: &Call| {
            let name = call.whose.trim_end_matches("#dead");
            let Some(offset) = offsets.get(&call.key) else {
                // A reply, which nobody was told the offset of, or what wasn't answered: it was dead
                // itself, or what it replies to, and came to be replied to again.
                let origin = of_ids.get(call.key.1.trim_end_matches('\''));
                let again = origin.is_none_or(|origin| lettered.contains(origin));
                return self.redriven && (unknown.contains(name) || again);
            };
            self.redriven && self.letters.contains(&(name.to_owned(), *offset))
        };
        let mut taken: BTreeMap<(&str, &Key), &Call> = BTreeMap::new();
        for call in self.calls {
            if call.added("weftreplay").is_some() || redriven(call) {
                continue;
            }
            let delivery = (call.whose.as_str(), &call.key);
            if let Some(before) = taken.get(&delivery)
                && !self.may_repeat(before, call)
            {
                wrong.push(format!(
                    "{delivery:?} was taken at {:?} and came again at {:?}\n{}",
                    before.ended,
                    call.began,
                    self.story(&call.key)
                ));
            }
            if call.took() {
                taken.insert(delivery, call);
            }
        }
    }

    /// Every call with this event, or with what it is a reply to, and the ends of the process.
    fn story(&self, key: &Key) -> String {
        let id = key.1.trim_end_matches('\'');
        let of_it = self.calls.iter();
        let of_it = of_it.filter(|call| call.key.1.trim_end_matches('\'') == id);
        let mut lines: Vec<(Duration, String)> = of_it
            .map(|call| {
                let (whose, key, answer) = (&call.whose, &call.key.1, &call.answer);
                let (began, ended) = (call.began, call.ended);
                let marks = &call.add;
                let line = format!("  {began:?} {whose} {key} {answer} until {ended:?} {marks:?}");
                (began, line)
            })
            .collect();
        let ends = self.ends.iter();
        lines.extend(ends.map(|end| (end.at, format!("  {end:?}"))));
        lines.sort();
        let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
        lines.join("\n")
    }

    fn may_repeat(&self, before: &Call, call: &Call) -> bool {
        let lost_it = |end: &End| before.began <= end.at && end.at <= call.began;
        before.ended.is_none() || self.lost_by(before).is_some_and(lost_it)
    }

    /// Whether the answer to a call may have been lost.
    fn was_lost(&self, call: &Call) -> bool {
        self.lost_by(call).is_some()
    }

    /// The end of the process that may have lost the answer to a call, before it was durable.
    fn lost_by(&self, call: &Call) -> Option<&End> {
        let answered = call.ended?;
        // The end that came next: a later one can't have lost what was settled by then.
        let next = self.ends.iter().find(|end| answered <= end.at);
        next.filter(|end| end.unsure_from <= answered)
    }

    /// An event of a key is sent only once all before it, by their place in the log, were taken or are
    /// dead.
    fn keys_keep_their_order(&self, trigger: &str, wrong: &mut Vec<String>) {
        let mut taken: BTreeMap<&Key, Duration> = BTreeMap::new();
        let mut calls: BTreeMap<&Key, Vec<Duration>> = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.whose == trigger) {
            calls.entry(&call.key).or_default().push(call.began);
            // A refusal too, where the process ended before it could be durable: the next one begins
            // with that event again, in order.
            let ended = call.ended.filter(|_| call.took() || self.was_lost(call));
            if let Some(ended) = ended {
                let first = taken.entry(&call.key).or_insert(ended);
                *first = ended.min(*first);
            }
        }
        let mut of_keys: BTreeMap<String, Vec<&Acknowledged>> = BTreeMap::new();
        for acknowledged in self.acknowledged {
            let key = self.sent.get(&acknowledged.key).and_then(partition);
            if let Some(key) = key.filter(|_| acknowledged.owed_to.contains(trigger)) {
                of_keys.entry(key).or_default().push(acknowledged);
            }
        }
        for (key, mut events) in of_keys {
            events.sort_by_key(|event| event.offset);
            let mut before: Option<(&Key, Duration)> = None;
            for event in events {
                let began = calls.get(&event.key).into_iter().flatten();
                for began in began {
                    if let Some((earlier, _)) = before.filter(|(_, until)| began < until) {
                        wrong.push(format!(
                            "{trigger} got {:?} of key {key} at {began:?}, before {earlier:?} had ended",
                            event.key
                        ));
                    }
                }
                let dead = self.letters.contains(&(trigger.to_owned(), event.offset));
                let until = taken.get(&event.key).copied().unwrap_or(Duration::MAX);
                if !dead && before.is_none_or(|(_, latest)| latest < until) {
                    before = Some((&event.key, until));
                }
            }
        }
    }

    fn keys_go_one_at_a_time(&self, trigger: &str, wrong: &mut Vec<String>) {
        let mut until: BTreeMap<String, Duration> = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.whose == trigger) {
            let Some(key) = partition(&call.event) else {
                continue;
            };
            let ended = call.ended.unwrap_or(Duration::MAX);
            if until.get(&key).is_some_and(|until| call.began < *until) {
                let (id, began) = (&call.key.1, call.began);
                wrong.push(format!(
                    "{trigger} got {id} at {began:?} while another of key {key} was in the air"
                ));
            }
            until.insert(key, ended);
        }
    }
}

fn partition(event: &Event) -> Option<String> {
    let value = event.as_ref().attribute("partitionkey")?;
    Some(value.to_string())
}

/// What isn't as it should be where nothing is wrong with the disk and the functions, and nobody lent
/// a hand.
pub(super) fn unhealthy(report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, is: bool| {
        if !is {
            wrong.push(format!("not healthy: {what}"));
        }
    };
    expect("nothing is owed", report.books.owed == 0);
    expect("no letter is owed to its sink", report.forwards.owed == 0);
    expect("all is routed", report.log.routed_to == report.log.end);
    expect("no broker refuses", report.space.refused.is_empty());
    expect("nobody is suspected", report.suspects == 0);
    expect(
        "nothing panicked",
        report.panics.iter().all(|count| *count == 0),
    );
    for trigger in &report.triggers {
        let (name, lane) = (trigger.name.name(), &trigger.lane);
        let rests = lane.waiting == 0 && lane.in_flight == 0 && lane.parked == 0;
        expect(
            &format!("the lane of {name} rests"),
            rests && lane.held == 0,
        );
        expect(&format!("{name} isn't paused"), trigger.paused.is_none());
    }
    for destination in &report.destinations {
        let state = destination.breaker.state;
        let flows = matches!(state, BreakerState::Closed | BreakerState::Off);
        let key = &destination.key;
        expect(
            &format!("calls flow to {key}, whose breaker is {state:?}"),
            flows,
        );
        let left_alone = destination.pushed_back_until.is_some();
        expect(&format!("{key} takes calls"), !left_alone);
    }
    wrong
}

/// Replays all that the log holds to two functions, and says in what they differ from what it holds, and
/// from each other. Of a small log the beginning may go meanwhile: then that is all that may be missing.
pub(super) async fn replayed_twice(world: &World) -> Vec<String> {
    let (before, until) = (held(world, Offset(u64::MAX)), until(world));
    let mut got: Vec<Vec<Event>> = Vec::new();
    let mut refused = Vec::new();
    for mirror in ["mirror-a", "mirror-b"] {
        if until <= world.engine().journal().start() {
            // All of it went with the log's beginning, and a replay would say so.
            got.push(Vec::new());
            refused.push(0);
            continue;
        }
        world.sink(mirror, 200);
        let asked = replay::Asked {
            to: replay::To::Uri {
                broker: BrokerName::new("default", "default"),
                uri: format!("http://{mirror}/"),
            },
            from: replay::Point::Earliest,
            // What a replay itself writes down is no event.
            until: Some(replay::Point::Offset(until)),
            filters: Vec::new(),
            rate: None,
            dry_run: false,
        };
        let progress = world.replay(asked).await;
        world.until_settled().await;
        let mut events = Vec::new();
        world.sinks.each(|call| {
            if call.sink == mirror {
                events.push(call.event.clone());
            }
        });
        got.push(events);
        refused.push(progress.refused);
    }
    let after = held(world, until);
    let mut wrong = Vec::new();
    for (events, refused) in got.iter().zip(&refused) {
        let keys: Vec<Key> = events.iter().map(key_of).collect();
        // Where nothing went, both are all of it.
        if !before.ends_with(&keys) || !keys.ends_with(&after) {
            wrong.push(format!(
                "a replay gave {} events, the log held {} before and {} after, or others, or in another order; \
                 {refused} were refused",
                keys.len(),
                before.len(),
                after.len()
            ));
        }
    }
    let nothing = before.is_empty() && world.engine().journal().start() == Offset(0);
    if !got[0].ends_with(&got[1]) || nothing {
        let (one, other) = (got[0].len(), got[1].len());
        wrong.push(format!(
            "a replay gave {one} events, and the same again {other}, or others"
        ));
    }
    wrong
}

fn key_of(event: &Event) -> Key {
    let event = event.as_ref();
    (event.source().to_owned(), event.id().to_owned())
}

/// The events before `until` of the broker that is replayed, as the log says itself.
fn held(world: &World, until: Offset) -> Vec<Key> {
    let name = BrokerName::new("default", "default");
    let book = world.log();
    let events = book.events.range(..until);
    let events = events.filter(|(_, event)| event.broker.as_ref() == Some(&name));
    events.map(|(_, event)| event.key.clone()).collect()
}

/// The end of the log before anything is replayed: that of the last event, and behind.
fn until(world: &World) -> Offset {
    let book = world.log();
    let last = book.events.keys().next_back();
    last.map_or(Offset(0), |last| Offset(last.0 + 1))
}
