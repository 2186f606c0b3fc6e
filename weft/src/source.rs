//! Where `weft send` takes its events from: the flags, or a file of JSON events.
//!
//! Events from a file keep their bytes. Events from flags are made one by one as they are sent,
//! so that a count of ten million costs no memory.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use event::Event;
use event::http::{Limits, decode};
use http::HeaderMap;
use serde_json::value::RawValue;

use crate::cli::SendArgs;
use crate::exit::{Exit, Failure};

/// The events to send, in order.
#[derive(Debug)]
pub(crate) enum Source {
    /// Read from a file.
    File(std::vec::IntoIter<Event>),
    /// Made from flags.
    Flags(Box<Flags>),
}

/// What the flags say every event is made of.
#[derive(Debug)]
pub(crate) struct Flags {
    id: Option<String>,
    source: String,
    ty: String,
    subject: Option<String>,
    time: Option<String>,
    content_type: Option<String>,
    attributes: Vec<(String, String)>,
    data: Bytes,
    count: u64,
    made: u64,
    random: RandomState,
}

impl Source {
    /// Reads files and stdin, and makes the first event of flags to see that it is one.
    ///
    /// # Errors
    ///
    /// A usage failure that names the flag, or the file and the event in it.
    pub(crate) fn open(args: &SendArgs) -> Result<Self, Failure> {
        if let Some(path) = &args.file {
            return Ok(Self::File(events(&read(path)?, path)?.into_iter()));
        }
        let attribute = |text: &String| match text.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(usage(
                format!("--attr \"{text}\" has no value"),
                "write --attr NAME=VALUE",
            )),
        };
        let data = match args.data.as_deref() {
            None => Bytes::new(),
            Some("-") => read(Path::new("-"))?,
            Some(text) => match text.strip_prefix('@') {
                Some(path) => read(Path::new(path))?,
                None => Bytes::copy_from_slice(text.as_bytes()),
            },
        };
        let default = args.data.is_some().then(|| "application/json".to_owned());
        let mut flags = Flags {
            id: args.id.clone(),
            source: args.source.clone(),
            ty: args.ty.clone().unwrap_or_default(),
            subject: args.subject.clone(),
            time: args.time.clone(),
            content_type: args.content_type.clone().or(default),
            attributes: args
                .attributes
                .iter()
                .map(attribute)
                .collect::<Result<_, _>>()?,
            data,
            count: args.count,
            made: 0,
            random: RandomState::new(),
        };
        if args.content_type.is_none()
            && args.data.is_some()
            && serde_json::from_slice::<serde::de::IgnoredAny>(&flags.data).is_err()
        {
            return Err(usage(
                "the data isn't JSON, and no --content-type says what it is",
                "write --content-type text/plain, or quote the JSON: --data '{\"amount\": 10}'",
            ));
        }
        flags
            .make()
            .map_err(|error| usage(error, "see `weft send --help`"))?;
        flags.made = 0;
        Ok(Self::Flags(Box::new(flags)))
    }

    /// How many events there are in all.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::File(events) => events.len() as u64,
            Self::Flags(flags) => flags.count,
        }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        match self {
            Self::File(events) => events.next(),
            Self::Flags(flags) if flags.made < flags.count => flags.make().ok(),
            Self::Flags(_) => None,
        }
    }
}

impl Flags {
    fn make(&mut self) -> Result<Event, event::DecodeError> {
        self.made += 1;
        let id = match &self.id {
            Some(id) if self.count == 1 => id.clone(),
            Some(id) => format!("{id}-{}", self.made),
            None => fresh_id(&self.random, self.made),
        };
        let now = || {
            jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string()
        };
        let time = self.time.clone().unwrap_or_else(now);
        let mut builder = Event::build(&id, &self.source, &self.ty).time(&time);
        if let Some(subject) = &self.subject {
            builder = builder.subject(subject);
        }
        if let Some(media_type) = &self.content_type {
            builder = builder.datacontenttype(media_type);
        }
        for (name, value) in &self.attributes {
            builder = builder.attribute(name, value);
        }
        builder.data(self.data.to_vec()).finish()
    }
}

/// An id that no other event has: 128 bits from the system's randomness, in a UUID's form.
pub(crate) fn fresh_id(random: &RandomState, number: u64) -> String {
    let (high, low) = (
        random.hash_one((number, 0u8)),
        random.hash_one((number, 1u8)),
    );
    let version = high & !0xf000 | 0x4000;
    let variant = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        version >> 32,
        version >> 16 & 0xffff,
        version & 0xffff,
        variant >> 48,
        variant & 0xffff_ffff_ffff
    )
}

/// A file's bytes, or stdin's for `-`.
fn read(path: &Path) -> Result<Bytes, Failure> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(Failure::fault)?;
        return Ok(bytes.into());
    }
    fs::read(path).map(Bytes::from).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("{} can't be read: {error}", path.display()),
        )
    })
}

/// The events written in `text`: JSON values one behind the other, on a line each or not; an
/// array counts as its elements.
fn events(text: &Bytes, path: &Path) -> Result<Vec<Event>, Failure> {
    let name = if path == Path::new("-") {
        "stdin".into()
    } else {
        path.display().to_string()
    };
    let mut events = Vec::new();
    let values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    for value in values {
        let value = value.map_err(|error| {
            usage(
                format!(
                    "{name}:{}:{} isn't JSON: {error}",
                    error.line(),
                    error.column()
                ),
                "write one event, an array of events, or one event a line",
            )
        })?;
        let batch = value.get().starts_with('[');
        let media = if batch {
            "cloudevents-batch"
        } else {
            "cloudevents"
        };
        let mut headers = HeaderMap::new();
        let content_type = format!("application/{media}+json");
        headers.insert(
            http::header::CONTENT_TYPE,
            content_type.parse().map_err(Failure::fault)?,
        );
        let limits = Limits {
            event_bytes_max: usize::MAX,
            batch_events_max: usize::MAX,
            batch_bytes_max: usize::MAX,
            ..Limits::default()
        };
        let body = text.slice_ref(value.get().as_bytes());
        let decoded = decode(&headers, body, &limits).map_err(|error| {
            let number = events.len() + 1;
            usage(
                format!("{name}: event {number}: {error}"),
                "nothing was sent",
            )
        })?;
        events.extend(decoded.events);
    }
    if events.is_empty() {
        return Err(usage(
            format!("{name} holds no event"),
            "write one event, an array of events, or one event a line",
        ));
    }
    Ok(events)
}

fn usage(message: impl std::fmt::Display, cure: &str) -> Failure {
    Failure::new(Exit::Usage, message).cure(cure)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &'static str, expect: Expect) {
        let shown = match events(&Bytes::from_static(text.as_bytes()), Path::new("e.json")) {
            Ok(events) => {
                let ids: Vec<_> = events
                    .iter()
                    .map(|event| event.as_ref().id().to_owned())
                    .collect();
                ids.join(" ")
            }
            Err(failure) => failure.to_string(),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn events_are_read_one_by_one_or_as_an_array() {
        check(
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
            expect!["1"],
        );
        check(
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}
            {"specversion":"1.0","id":"2","source":"/s","type":"t"}
            [{"specversion":"1.0","id":"3","source":"/s","type":"t"},
             {"specversion":"1.0","id":"4","source":"/s","type":"t"}]"#,
            expect!["1 2 3 4"],
        );
    }

    #[test]
    fn a_mistake_in_a_file_is_placed() {
        check(
            "",
            expect![[r#"
            error: e.json holds no event
              write one event, an array of events, or one event a line"#]],
        );
        check(
            "{\"specversion\":\"1.0\",\n \"id\": }",
            expect![[r#"
            error: e.json:2:8 isn't JSON: expected value at line 2 column 8
              write one event, an array of events, or one event a line"#]],
        );
        check(
            r#"{"specversion":"1.0","id":"1","type":"t"}"#,
            expect![[r#"
            error: e.json: event 1: member "source" is missing, send "source": "/sensors/tn-1234567"
              nothing was sent"#]],
        );
    }

    #[test]
    fn fresh_ids_are_uuids_and_differ() {
        let random = RandomState::new();
        let ids: std::collections::HashSet<_> = (0..1000).map(|n| fresh_id(&random, n)).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 36 && &id[14..15] == "4"));
    }
}
