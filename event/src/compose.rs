//! Makes an event from its parts: for commands and tests, not for the event's path.

use crate::check;
use crate::error::{DecodeError, Place};
use crate::event::{Event, SpecVersion};
use crate::name;
use crate::stored::{Body, ValueKind, Writer};

impl Event {
    /// Begins a binary-mode event of version 1.0 with its required attributes.
    pub fn build(id: &str, source: &str, ty: &str) -> Builder {
        let required = [
            ("specversion", "1.0"),
            ("id", id),
            ("source", source),
            ("type", ty),
        ];
        let attributes = required.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Builder {
            attributes: attributes.into(),
            data: Vec::new(),
        }
    }
}

/// The parts of an event to be. They are checked together, by [`Builder::finish`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    attributes: Vec<(String, String)>,
    data: Vec<u8>,
}

impl Builder {
    /// Makes it an event of another version of the specification.
    pub fn spec_version(mut self, version: SpecVersion) -> Builder {
        version.as_str().clone_into(&mut self.attributes[0].1);
        self
    }

    pub fn subject(self, subject: &str) -> Builder {
        self.attribute("subject", subject)
    }

    /// When it happened, RFC 3339.
    pub fn time(self, time: &str) -> Builder {
        self.attribute("time", time)
    }

    /// The media type of the data.
    pub fn datacontenttype(self, media_type: &str) -> Builder {
        self.attribute("datacontenttype", media_type)
    }

    /// Adds any attribute. One that is there already makes [`Builder::finish`] fail.
    pub fn attribute(mut self, name: &str, value: &str) -> Builder {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the event carries, as it shall leave.
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Builder {
        self.data = data.into();
        self
    }

    /// Checks the parts by the rules that a received event meets, and joins them. Reserved
    /// attributes are dropped, as they would be on arrival.
    pub fn finish(self) -> Result<Event, DecodeError> {
        let kept = || {
            self.attributes
                .iter()
                .filter(|(name, _)| !name::is_reserved(name))
        };
        for (name, _) in kept() {
            check::name(name, Place::Part)?;
        }
        let text_bytes = kept().map(|(name, value)| name.len() + value.len()).sum();
        check::size(self.data.len().saturating_add(text_bytes))?;
        let mut writer = Writer::new(kept().count(), text_bytes, self.data.len());
        for (name, value) in kept() {
            writer
                .begin(name::code(name), name)
                .extend_from_slice(value.as_bytes());
            writer.end(ValueKind::String);
        }
        check::admit(writer.finish(Body::Binary(&self.data)), Place::Part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn refused(builder: Builder, expect: Expect) {
        expect.assert_eq(&builder.finish().unwrap_err().to_string());
    }

    fn good() -> Builder {
        Event::build("1", "/s", "t")
    }

    #[test]
    fn parts_become_an_event() {
        let event = good()
            .spec_version(SpecVersion::V03)
            .subject("who")
            .time("2018-04-05T17:31:00Z")
            .datacontenttype("text/plain")
            .attribute("wefthops", "3")
            .attribute("comexample", "x")
            .data("hello")
            .finish()
            .unwrap();
        let event = event.as_ref();
        let shown: Vec<_> = event
            .attributes()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            shown.join(" "),
            "specversion=0.3 id=1 source=/s type=t subject=who time=2018-04-05T17:31:00Z \
             datacontenttype=text/plain comexample=x"
        );
        assert_eq!(&*event.data_bytes(), b"hello");
    }

    #[test]
    fn parts_meet_the_rules_of_received_events() {
        refused(
            Event::build("", "/s", "t"),
            expect!["attribute id is empty, send id such as A234-1234-1234"],
        );
        refused(
            good().time("today"),
            expect![
                "attribute time is \"today\", write an RFC 3339 time such as 2018-04-05T17:31:00Z"
            ],
        );
        refused(
            good().attribute("Upper", "x"),
            expect![
                "attribute Upper is not a valid name, an attribute is named by lower-case letters and digits only, such as \"comexamplename\""
            ],
        );
        refused(
            good().attribute("id", "2"),
            expect!["attribute id is given twice, send it once"],
        );
    }
}
