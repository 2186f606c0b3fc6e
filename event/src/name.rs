//! What an attribute may be called, and the short codes of the names that the specification gives.
//!
//! Accepted names are `[a-z0-9]+` (CloudEvents 1.0.2, "Naming conventions"). The 20 characters
//! that the specification recommends are not enforced: the sender's peers may rely on longer ones.

/// Longest attribute name that is kept, in bytes: its length takes two bytes of the stored form.
pub const NAME_BYTES_MAX: usize = u16::MAX as usize;

/// How many replies more another Knative broker would let follow from an event. It is taken for
/// [`Event::hops_left`](crate::Event::hops_left) when decoding, and dropped (contract §7).
pub const BROKER_TTL: &str = "knativebrokerttl";

/// Attributes that only brokers may speak of. A sender's are dropped when decoding, in every
/// mode, so that nobody can claim to be somebody else, to have hopped or to be a replay.
pub const RESERVED: [&str; 4] = ["weftprincipal", "wefthops", "weftreplay", BROKER_TTL];

/// Says whether `name` may be an attribute's: `[a-z0-9]+`, at most [`NAME_BYTES_MAX`], and not
/// `data`, which the specification keeps for the payload.
pub fn is_valid(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && name != "data"
}

/// Says whether a sender's attribute of this name is dropped.
pub fn is_reserved(name: &str) -> bool {
    // All but one begin alike, and few others do: most names cost two comparisons.
    (name.starts_with("weft") && RESERVED.contains(&name)) || name == BROKER_TTL
}

/// Names that have a code in the stored form, the code being the index. 0 stands for any other.
pub(crate) const KNOWN: [&str; 11] = [
    "",
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "schemaurl",
    "datacontentencoding",
];

pub(crate) const OTHER: u8 = 0;
pub(crate) const SPECVERSION: u8 = 1;
pub(crate) const ID: u8 = 2;
pub(crate) const SOURCE: u8 = 3;
pub(crate) const TYPE: u8 = 4;
pub(crate) const SUBJECT: u8 = 5;
pub(crate) const TIME: u8 = 6;
pub(crate) const DATACONTENTTYPE: u8 = 7;
pub(crate) const DATASCHEMA: u8 = 8;
pub(crate) const SCHEMAURL: u8 = 9;
pub(crate) const DATACONTENTENCODING: u8 = 10;

/// The code of a name, [`OTHER`] when it has none.
pub(crate) fn code(name: &str) -> u8 {
    match name {
        "specversion" => SPECVERSION,
        "id" => ID,
        "source" => SOURCE,
        "type" => TYPE,
        "subject" => SUBJECT,
        "time" => TIME,
        "datacontenttype" => DATACONTENTTYPE,
        "dataschema" => DATASCHEMA,
        "schemaurl" => SCHEMAURL,
        "datacontentencoding" => DATACONTENTENCODING,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_agree() {
        for (index, name) in KNOWN.iter().enumerate().skip(1) {
            assert_eq!(usize::from(code(name)), index, "{name}");
        }
        assert_eq!(code("comexample"), OTHER);
    }

    #[test]
    fn reserved_names_and_no_others_are_reserved() {
        assert!(RESERVED.iter().all(|name| is_reserved(name)));
        assert!(!is_reserved("knativebroker") && !is_reserved("knativeerrordest"));
        assert!(!is_reserved("weft") && !is_reserved("weftnotbefore") && !is_reserved("hops"));
    }

    #[test]
    fn only_lower_case_letters_and_digits_name_an_attribute() {
        for good in [
            "a",
            "0",
            "9lives",
            "comexampleextension1",
            "averyverylongattributename",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "A",
            "com_example",
            "com-example",
            "a b",
            "é",
            "data",
            "a.b",
            "\u{1f30e}",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
