//! Who publishes while a plan is played, and what they sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use broker::Refusal;
use event::Event;
use tests::sinks::Key;
use tests::world::Publisher;

use super::plan::Kind;

/// Keys whose order matters.
const KEYS: u64 = 5;

/// How often a publisher who finds the broker full comes again, and after how long.
const COMES_AGAIN: u32 = 40;
const COMES_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What those who publish have to know of each other.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Everything that anybody tried to publish.
    pub(super) events: BTreeMap<Key, Event>,
    next: BTreeMap<&'static str, u64>,
    /// How many were answered with yes.
    pub(super) taken: u64,
}

/// Somebody is at work who has a copy of this.
pub(super) type AtWork = Rc<()>;

/// Somebody who publishes.
pub(super) struct Publishing {
    pub(super) publisher: Publisher,
    pub(super) sent: Rc<RefCell<Sent>>,
    pub(super) _at_work: AtWork,
    pub(super) kind: Kind,
    pub(super) pace: Duration,
}

impl Publishing {
    /// Publishes so many, one after the other.
    pub(super) async fn publish(self, events: u64) {
        for n in 0..events {
            let batch = self.next(n);
            let broker = if self.kind == Kind::Twice {
                "second"
            } else {
                "default"
            };
            let again = self.kind == Kind::Twice && n % 3 == 0;
            for _ in 0..=u8::from(again) {
                if self.send(broker, batch.clone()).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(self.pace).await;
        }
    }

    /// Until it is taken, or the publisher has had enough. After an error that leaves it open whether
    /// it was stored nobody sends it again.
    async fn send(&self, broker: &str, batch: Vec<Event>) -> Result<(), Refusal> {
        for _ in 0..COMES_AGAIN {
            match self.publisher.publish(broker, batch.clone()).await {
                Ok(_) => {
                    self.sent.borrow_mut().taken += batch.len() as u64;
                    return Ok(());
                }
                Err(Refusal::NoSpace | Refusal::Quota { .. }) => {
                    tokio::time::sleep(COMES_AGAIN_AFTER).await;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn next(&self, n: u64) -> Vec<Event> {
        let mut sent = self.sent.borrow_mut();
        let batch = match self.kind {
            Kind::Orders => vec![sent.plain("order.placed", 40)],
            Kind::Steps => vec![sent.step(n % KEYS)],
            Kind::NewKeys => vec![sent.step(KEYS + n)],
            Kind::Batches => {
                let mut batch = vec![sent.plain("order.placed", 300)];
                batch.extend((0..n % 4).map(|more| sent.step((n + more / 2) % KEYS)));
                batch
            }
            Kind::History => vec![sent.plain("history", 6 << 10)],
            Kind::Twice => vec![sent.plain("note", 100)],
        };
        for event in &batch {
            let key = (
                event.as_ref().source().to_owned(),
                event.as_ref().id().to_owned(),
            );
            sent.events.insert(key, event.clone());
        }
        batch
    }
}

impl Sent {
    fn number(&mut self, of: &'static str) -> u64 {
        let next = self.next.entry(of).or_default();
        *next += 1;
        *next
    }

    fn plain(&mut self, ty: &'static str, bytes: usize) -> Event {
        let n = self.number(ty);
        let data: Vec<u8> = (0..bytes)
            .map(|at| b'a' + ((at as u64 * 7 + n) % 26) as u8)
            .collect();
        let event = Event::build(&format!("{ty}-{n}"), "/shop", ty).data(data);
        event.finish().expect("a test's event is valid")
    }

    /// The next of a key.
    fn step(&mut self, key: u64) -> Event {
        let n = self.number("step");
        let event = Event::build(&format!("step-{n}"), "/shop", "step");
        let event = event
            .attribute("partitionkey", &format!("k{key}"))
            .data("step");
        event.finish().expect("a test's event is valid")
    }
}
