//! Keys against the obvious model: all that was ever claimed, in one list.

use proptest::prelude::*;

use super::*;

fn ordering() -> Ordering {
    Ordering {
        by: "partitionkey".into(),
        blocked_key: BlockedKey::DeadLetter,
    }
}

fn keys() -> Keys {
    Keys::new(ordering(), [], [])
}

/// What the model knows of one delivery.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    UnderWay,
    Held,
    Ended,
}

#[derive(Debug, Default)]
struct Model {
    all: Vec<(u8, u64, Is)>,
    blocked: Vec<(u8, u64)>,
}

impl Model {
    fn busy(&self, key: u8) -> bool {
        self.all
            .iter()
            .any(|(whose, _, is)| *whose == key && *is == Is::UnderWay)
    }

    fn claim(&mut self, key: u8, offset: u64) -> Claim {
        let is = if self.busy(key) {
            Is::Held
        } else {
            Is::UnderWay
        };
        self.all.push((key, offset, is));
        match is {
            Is::Held => Claim::Held,
            _ => self.goes(key, offset),
        }
    }

    fn goes(&self, key: u8, offset: u64) -> Claim {
        let by = |(whose, by): &(u8, u64)| *whose == key && *by != offset;
        if self.blocked.iter().any(by) {
            Claim::Blocked
        } else {
            Claim::Go
        }
    }

    fn ended(&mut self, offset: u64) -> Option<u64> {
        let entry = self.all.iter_mut().find(|(_, at, _)| *at == offset)?;
        entry.2 = Is::Ended;
        let key = entry.0;
        let held = self
            .all
            .iter_mut()
            .filter(|(whose, _, is)| *whose == key && *is == Is::Held);
        let next = held.min_by_key(|(_, at, _)| *at)?;
        next.2 = Is::UnderWay;
        Some(next.1)
    }

    fn under_way(&self) -> Vec<u64> {
        let under_way = self.all.iter().filter(|(_, _, is)| *is == Is::UnderWay);
        under_way.map(|(_, at, _)| *at).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// The next event is of this key.
    Claim(u8),
    /// One of those under way ends.
    End(prop::sample::Index),
    /// One of those under way ends, and blocks its key.
    Die(prop::sample::Index),
    /// One of those that block is delivered after all.
    LetGo(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        5 => (0u8..6).prop_map(Step::Claim),
        4 => index().prop_map(Step::End),
        1 => index().prop_map(Step::Die),
        1 => index().prop_map(Step::LetGo),
    ]
}

proptest! {
    #[test]
    fn they_behave_as_one_list(steps in prop::collection::vec(step(), 1..400)) {
        let (mut keys, mut model) = (self::keys(), Model::default());
        for (offset, step) in steps.into_iter().enumerate() {
            let offset = offset as u64;
            match step {
                Step::Claim(key) => {
                    let claim = keys.claim(super::key(&[key]), Offset(offset));
                    prop_assert_eq!(claim, model.claim(key, offset));
                }
                Step::End(_) | Step::Die(_) if model.under_way().is_empty() => {}
                Step::End(index) => {
                    let ended = *index.get(&model.under_way());
                    let next = keys.ended(Offset(ended)).map(|next| next.0);
                    prop_assert_eq!(next, model.ended(ended));
                }
                Step::Die(index) => {
                    let dead = *index.get(&model.under_way());
                    let (key, ..) = *model.all.iter().find(|(_, at, _)| *at == dead).unwrap();
                    let news = model.blocked.iter().all(|(whose, _)| *whose != key);
                    prop_assert_eq!(keys.block(Offset(dead), None).is_some(), news);
                    if news {
                        model.blocked.push((key, dead));
                    }
                    let next = keys.ended(Offset(dead)).map(|next| next.0);
                    prop_assert_eq!(next, model.ended(dead));
                    if let Some(next) = next {
                        let claim = keys.claim(super::key(&[key]), Offset(next));
                        prop_assert_eq!(claim, Claim::Blocked);
                    }
                }
                Step::LetGo(index) => {
                    if model.blocked.is_empty() {
                        prop_assert_eq!(keys.let_go(Offset(offset)), None);
                    } else {
                        let at = index.index(model.blocked.len());
                        let (key, by) = model.blocked.swap_remove(at);
                        prop_assert_eq!(keys.let_go(Offset(by)), Some(super::key(&[key])));
                    }
                }
            }
            let held: Vec<u64> = keys.held_offsets().iter().map(|held| held.0).collect();
            let are_held = model.all.iter().filter(|(_, _, is)| *is == Is::Held);
            prop_assert_eq!(&held, &are_held.map(|(_, at, _)| *at).collect::<Vec<_>>());
            prop_assert_eq!(keys.held(), held.len() as u64);
            prop_assert_eq!(keys.keys_blocked(), model.blocked.len() as u64);
            // At most one of a key is under way.
            let mut seen = [0; 6];
            for (key, _, is) in &model.all {
                seen[*key as usize] += u32::from(*is == Is::UnderWay);
            }
            prop_assert!(seen.iter().all(|count| *count <= 1));
        }
        for offset in model.under_way() {
            let mut next = Some(Offset(offset));
            while let Some(ended) = next {
                next = keys.ended(ended);
            }
        }
        prop_assert!(keys.busy.is_empty() && keys.under_way.is_empty());
        prop_assert_eq!(keys.held(), 0);
    }
}

#[test]
fn a_key_whose_delivery_is_parked_is_failing_until_it_ends() {
    let mut keys = self::keys();
    let a = || key(b"a");
    assert_eq!(keys.claim(a(), Offset(1)), Claim::Go);
    assert_eq!(keys.keys_blocked(), 0);
    keys.adopt(Offset(1), || Some(a()));
    keys.adopt(Offset(1), || Some(a()));
    assert_eq!(keys.keys_blocked(), 1);
    assert_eq!(keys.claim(a(), Offset(2)), Claim::Held);
    assert_eq!(keys.claim(a(), Offset(1)), Claim::Go, "its retry");
    assert_eq!(keys.ended(Offset(1)), Some(Offset(2)));
    assert_eq!(keys.keys_blocked(), 0);
}

/// What was parked before the lane was ordered may be two of one key.
#[test]
fn a_key_is_busy_until_all_that_is_under_way_has_ended() {
    let mut keys = Keys::new(ordering(), [], [Offset(3), Offset(5), Offset(7)]);
    let mut read = Vec::new();
    while let Some(unread) = keys.unread() {
        read.push(unread);
        keys.adopt(unread, || (unread != Offset(5)).then(|| key(b"a")));
    }
    assert_eq!(read, [Offset(3), Offset(5), Offset(7)]);
    assert_eq!(keys.claim(key(b"a"), Offset(9)), Claim::Held);
    assert_eq!(keys.ended(Offset(5)), None, "it has no key");
    assert_eq!(keys.ended(Offset(3)), None);
    assert_eq!(keys.ended(Offset(7)), Some(Offset(9)));
}

#[test]
fn the_event_that_blocks_its_key_may_go_again() {
    let mut keys = Keys::new(ordering(), [(key(b"a"), Offset(1))], []);
    assert_eq!(keys.claim(key(b"a"), Offset(1)), Claim::Go);
    assert_eq!(keys.claim(key(b"a"), Offset(2)), Claim::Held);
    assert_eq!(keys.let_go(Offset(1)), Some(key(b"a")));
    assert_eq!(keys.ended(Offset(1)), Some(Offset(2)));
    assert_eq!(keys.claim(key(b"a"), Offset(2)), Claim::Go);
}

#[test]
fn long_keys_keep_their_beginning_and_length() {
    let long = |length: usize, last: u8| {
        let mut value = vec![b'k'; length];
        value[length - 1] = last;
        key(&value)
    };
    assert_ne!(long(KEY_BYTES_MAX, 1), long(KEY_BYTES_MAX, 2), "kept whole");
    assert_ne!(long(KEY_BYTES_MAX, 1), long(KEY_BYTES_MAX + 8, 1));
    assert_ne!(long(5_000, 1), long(5_001, 1));
    assert_eq!(long(5_000, 1), long(5_000, 2), "they share a place");
}

#[test]
fn an_attributes_canonical_form_is_the_key() {
    let event = event::Event::build("1", "/s", "t")
        .attribute("partitionkey", "p")
        .finish()
        .unwrap();
    assert_eq!(key_of(&event.as_ref(), "partitionkey"), Some(key(b"p")));
    assert_eq!(key_of(&event.as_ref(), "source"), Some(key(b"/s")));
    assert_eq!(key_of(&event.as_ref(), "subject"), None);
}

/// One that expired overtook those before it, which were under way.
#[test]
fn what_came_before_the_event_that_blocks_its_key_still_goes() {
    let a = || key(b"a");
    let mut keys = keys();
    assert_eq!(keys.claim(a(), Offset(1)), Claim::Go);
    assert_eq!(keys.claim(a(), Offset(2)), Claim::Held);
    assert_eq!(keys.block(Offset(5), Some(a())), Some(a()));
    assert_eq!(keys.claim(a(), Offset(1)), Claim::Go, "its retry");
    assert_eq!(keys.ended(Offset(1)), Some(Offset(2)));
    assert_eq!(keys.claim(a(), Offset(2)), Claim::Go);
    assert_eq!(
        keys.block(Offset(2), None),
        Some(a()),
        "it is the first now"
    );
    assert_eq!(keys.ended(Offset(2)), None);
    assert_eq!(keys.let_go(Offset(5)), None);
    assert_eq!(keys.claim(a(), Offset(6)), Claim::Blocked);
    assert_eq!(keys.let_go(Offset(2)), Some(a()));
}
