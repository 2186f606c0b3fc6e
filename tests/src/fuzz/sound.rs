//! What holds of every event that was taken, wherever it came from.

use bytes::Bytes;
use event::http::{Encoded, Limits, Out, decode, encode};
use event::{Data, Event, EventRef, Mode, SpecVersion, name};

/// Attributes as text, in order of their names.
pub(super) type Texts = Vec<(String, String)>;

pub(super) fn texts(event: &EventRef<'_>) -> Texts {
    let mut texts: Texts = event
        .attributes()
        .map(|(name, value)| (name.to_owned(), value.text().into_owned()))
        .collect();
    texts.sort();
    texts
}

/// Asserts that the event is a valid one, that its stored form reads back, and that it says the same
/// after it has left in each mode and was taken again.
pub(super) fn assert_sound(event: &Event) {
    let read = Event::from_stored(event.stored().clone()).expect("what was stored reads back");
    assert_eq!(read.stored(), event.stored());
    let event = event.as_ref();
    assert!(!event.id().is_empty() && !event.source().is_empty() && !event.ty().is_empty());
    let texts = texts(&event);
    assert!(
        texts.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "an attribute twice: {texts:?}"
    );
    for (name, text) in &texts {
        assert!(name::is_valid(name) && !name::is_reserved(name), "{name:?}");
        let asked = event.attribute(name).expect("what is listed is there");
        assert_eq!(asked.text(), text.as_str());
    }
    if let Some(document) = event.document() {
        assert_eq!(event.mode(), Mode::Structured);
        let kept = encode(&event, Out::AsItCame, &[], &[]);
        assert_eq!(kept.body, document, "an event leaves as it came");
    }
    for out in [Out::AsItCame, Out::Json, Out::Binary] {
        let taken = take(encode(&event, out, &[], &[]));
        assert_same(&event, &taken.as_ref());
    }
}

/// Takes a message that we made ourselves.
pub(super) fn take(message: Encoded) -> Event {
    let Encoded { headers, body } = message;
    // A JSON document is longer than the binary event that it was made of.
    let limits = Limits {
        event_bytes_max: 16 << 20,
        ..Limits::default()
    };
    let taken = decode(&headers, body.clone(), &limits);
    let mut events = match taken {
        Ok(batch) => batch.events,
        Err(error) => panic!("we refuse what we send: {error}\n{headers:?}\n{body:?}"),
    };
    assert_eq!(events.len(), 1, "one event was sent");
    events.remove(0)
}

/// Asserts that both say the same: the same attributes with the same texts, the same data.
pub(super) fn assert_same(before: &EventRef<'_>, after: &EventRef<'_>) {
    let old = before.spec_version() == SpecVersion::V03;
    assert_eq!(before.spec_version(), after.spec_version());
    // In 0.3 this one speaks of how the data is written, and goes with the form.
    let counts = |(name, _): &(String, String)| !(old && name == "datacontentencoding");
    let mut expected: Texts = texts(before).into_iter().filter(counts).collect();
    let found: Texts = texts(after).into_iter().filter(counts).collect();
    if matches!(before.data(), Data::Json(_)) && before.datacontenttype().is_none() {
        // Binary mode has to say what structured mode needs not.
        let implied = ("datacontenttype".to_owned(), "application/json".to_owned());
        if found.contains(&implied) {
            expected.push(implied);
            expected.sort();
        }
    }
    assert_eq!(found, expected);
    let (was, is) = (before.data_bytes(), after.data_bytes());
    match after.data() {
        // White space around a body that becomes a member is none of it.
        Data::Json(_) => assert_eq!(is.trim_ascii(), was.trim_ascii()),
        _ => assert_eq!(is, was),
    }
}

/// Bytes of the log that claim to be an event: taken or refused, and whole if taken.
pub(super) fn assert_stored_is_judged(stored: &[u8]) {
    let judged = EventRef::from_stored(stored);
    let owned = Event::from_stored(Bytes::copy_from_slice(stored));
    assert_eq!(judged.is_ok(), owned.is_ok());
    let Ok(event) = owned else { return };
    let event = event.as_ref();
    // What the attributes mean was checked when the event was first made, and isn't again; but
    // everything can be asked, and it can be sent.
    assert!(!event.id().is_empty() && !event.source().is_empty() && !event.ty().is_empty());
    for (name, value) in event.attributes() {
        assert!(value.text().len() <= stored.len() && name.len() <= stored.len());
    }
    assert!(event.data_bytes().len() <= stored.len());
    for out in [Out::AsItCame, Out::Json, Out::Binary] {
        let sent = encode(&event, out, &[("subject", "x")], &["time"]);
        assert!(sent.headers.contains_key("content-type") || !sent.headers.is_empty());
    }
    assert!(format!("{event:?}").starts_with("Event"));
}
