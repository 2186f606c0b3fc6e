//! Adds and takes attributes of a JSON event by cutting its text, so that all else stays as it was.

use crate::error::DecodeError;
use crate::json::{self, Member};

/// Attributes without which a document would be no event. They are never taken away.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// The text of `document` with the attributes `remove` taken away and `add` put in.
///
/// A member that is added and exists keeps its place and gets the new value; a new one goes in
/// front. A removed one goes with one of the commas beside it. Names in both are added.
pub(crate) fn edit(
    document: &[u8],
    add: &[(&str, &str)],
    remove: &[&str],
) -> Result<Vec<u8>, DecodeError> {
    let members = json::members(document, usize::MAX)?;
    let mut replaced = vec![false; add.len()];
    let mut tail = Vec::with_capacity(document.len() + added_bytes(add));
    for (index, member) in members.iter().enumerate() {
        let name = member.name_text(document).unwrap_or_default();
        let new = add.iter().position(|(added, _)| *added == name);
        if new.is_none() && remove.contains(&&*name) && !REQUIRED.contains(&&*name) {
            continue;
        }
        if !tail.is_empty() {
            // What stands between two members is one comma and white space.
            tail.extend_from_slice(&document[members[index - 1].value.end..member.name.start]);
        }
        push_member(document, member, new.map(|new| add[new].1), &mut tail);
        if let Some(new) = new {
            replaced[new] = true;
        }
    }
    let new = add
        .iter()
        .zip(&replaced)
        .filter(|(_, replaced)| !**replaced);
    let first = members.first().map_or(0, |first| first.name.start);
    let mut out = insert(&document[..first], new.map(|(attribute, _)| *attribute));
    out.extend_from_slice(&tail);
    out.extend_from_slice(&document[members.last().map_or(0, |last| last.value.end)..]);
    Ok(out)
}

/// The text of `document` with attributes put in front that it is known not to have.
pub(crate) fn insert<'a>(
    document: &[u8],
    add: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(document.len() + 128);
    let inside = document
        .iter()
        .position(|byte| *byte == b'{')
        .map_or(0, |at| at + 1);
    out.extend_from_slice(&document[..inside]);
    for (name, value) in add {
        push_new(name, value, &mut out);
    }
    out.extend_from_slice(&document[inside..]);
    out
}

fn push_new(name: &str, value: &str, out: &mut Vec<u8>) {
    json::push_string(name, out);
    out.push(b':');
    json::push_string(value, out);
    out.push(b',');
}

fn push_member(document: &[u8], member: &Member, value: Option<&str>, out: &mut Vec<u8>) {
    match value {
        None => out.extend_from_slice(&document[member.name.start..member.value.end]),
        Some(value) => {
            out.extend_from_slice(&document[member.name.start..member.value.start]);
            json::push_string(value, out);
        }
    }
}

fn added_bytes(add: &[(&str, &str)]) -> usize {
    add.iter()
        .map(|(name, value)| name.len() + value.len() + 16)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(document: &str, add: &[(&str, &str)], remove: &[&str], expect: Expect) {
        let out = edit(document.as_bytes(), add, remove).unwrap();
        assert!(json::is_value(&out, 64));
        expect.assert_eq(std::str::from_utf8(&out).unwrap());
    }

    const SPACED: &str = "{ \"a\" : 1 ,\n  \"b\" : \"x\" ,\t\"id\" : 3\r\n}";

    #[test]
    fn a_member_goes_wherever_it_stood() {
        check(
            SPACED,
            &[],
            &["a"],
            expect!["{ \"b\" : \"x\" ,\t\"id\" : 3\r\n}"],
        );
        check(
            SPACED,
            &[],
            &["b"],
            expect!["{ \"a\" : 1 ,\t\"id\" : 3\r\n}"],
        );
        check(SPACED, &[], &["a", "b"], expect!["{ \"id\" : 3\r\n}"]);
        check(
            r#"{"id":1,"b":2,"c":3}"#,
            &[],
            &["c"],
            expect![[r#"{"id":1,"b":2}"#]],
        );
        check(
            r#"{"id":1,"b":2,"c":3}"#,
            &[],
            &["b", "c"],
            expect![[r#"{"id":1}"#]],
        );
        check(
            r#"{"id":1,"\u0062":2}"#,
            &[],
            &["b"],
            expect![[r#"{"id":1}"#]],
        );
    }

    #[test]
    fn a_required_member_stays() {
        check(
            r#"{"id":1,"b":2}"#,
            &[],
            &["id", "b"],
            expect![[r#"{"id":1}"#]],
        );
    }

    #[test]
    fn an_added_member_replaces_or_goes_in_front() {
        check(
            SPACED,
            &[("b", "é\"")],
            &[],
            expect!["{ \"a\" : 1 ,\n  \"b\" : \"é\\\"\" ,\t\"id\" : 3\r\n}"],
        );
        check(
            SPACED,
            &[("c", "1")],
            &["a"],
            expect!["{\"c\":\"1\", \"b\" : \"x\" ,\t\"id\" : 3\r\n}"],
        );
        check(
            r#"{"id":1,"b":null}"#,
            &[("b", "2")],
            &["b"],
            expect![[r#"{"id":1,"b":"2"}"#]],
        );
        let inserted = insert(br#" {"id":1}"#, [("x", "y"), ("z", "")]);
        assert_eq!(inserted, br#" {"x":"y","z":"","id":1}"#);
    }
}
