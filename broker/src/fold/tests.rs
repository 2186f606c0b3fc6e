//! What records add up to that no run of the engine writes on its own: those that a crash came
//! between.

use journal::{Record, Stored, WallTime};

use super::*;
use crate::records::Cause;
use crate::records::redriven::Action;
use crate::view::Place;

fn take(fold: &mut Fold, record: &Record) -> Offset {
    let Record {
        kind,
        version,
        tag,
        body,
    } = record.clone();
    let offset = fold.end;
    let stored = Stored {
        offset,
        kind,
        version,
        tag,
        body,
    };
    fold.take(&stored).unwrap();
    offset
}

fn dead(number: Number, offset: Offset) -> Record {
    let dead = Dead {
        number,
        uid: [0; 16],
        offset,
        cause: Cause::Refused,
        forwarded: false,
        at: WallTime(0),
        namespace: "shop".into(),
        name: "billing".into(),
        broker: "shop/default".into(),
        destination: "http://f/".into(),
        attempts: Vec::new(),
        reply: None,
    };
    dead.record()
}

/// The lane's own record that lets the key go was lost with the power.
#[test]
fn a_letter_that_is_discarded_or_sent_elsewhere_lets_its_key_go() {
    let event = Offset(0);
    let again = |number| Action::Again {
        number,
        offset: event,
    };
    let ends = [
        (Action::Discarded, 0),
        (again(9), 0),
        (again(2), 1),
        (Action::PayloadDiscarded, 1),
    ];
    for (action, blocked) in ends {
        let view = Arc::new(View::anew(&Place::Memory).unwrap());
        let mut fold = Fold::new(1, Offset(1), view);
        let by = Some(event);
        for (number, key) in [(2, &b"a"[..]), (3, b"b")] {
            let key = key.into();
            take(&mut fold, &Held { number, key, by }.record());
        }
        let letter = take(&mut fold, &dead(2, event));
        let at = WallTime(1);
        take(&mut fold, &Redriven { letter, at, action }.record());
        let still = fold.blocked.contains_key(&(2, Key::from(&b"a"[..])));
        assert_eq!(u32::from(still), blocked, "{action:?}");
        assert_eq!(fold.blocked.len() as u32, 1 + blocked, "others stay");
    }
}
