//! A relative address joined to a Sink's (RFC 3986 §5.2), as `uri` beside `ref` asks.
//!
//! Written here and not taken from a crate for browsers' addresses, because those also rewrite the
//! text of what they join, and an address is kept as it was written.

use super::destination::Destination;
use crate::problem::Wrong;

/// A reference without scheme and host: a path, a query, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relative(Box<str>);

impl Relative {
    /// Reads what stands beside `ref`.
    ///
    /// # Errors
    ///
    /// An address of its own, a fragment, or characters that no address may have.
    pub(crate) fn parse(uri: &str) -> Result<Relative, Wrong> {
        let first = uri.split(['/', '?', '#']).next().unwrap_or_default();
        if first.contains(':') || uri.starts_with("//") {
            return Err(Wrong::new(
                format!("is {uri:?}"),
                "beside ref write only what follows the Sink's address, such as /orders, or remove ref",
            ));
        }
        // Whatever the Sink's address is, the rest is judged as that of any other.
        let probe = "http://sink/";
        Destination::parse(&join(probe, uri))
            .map_err(|wrong| Wrong::new(format!("is {uri:?}"), wrong.cure))?;
        Ok(Relative(uri.into()))
    }

    /// The whole address, below or beside `base`.
    ///
    /// # Errors
    ///
    /// Together they are longer than an address may be.
    pub(crate) fn onto(&self, base: &Destination) -> Result<Destination, Wrong> {
        base.at_uri(&join(base.uri(), &self.0))
    }
}

/// RFC 3986 §5.2.2 for a reference without scheme and authority.
fn join(base: &str, reference: &str) -> String {
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..]
        .find(['/', '?', '#'])
        .map_or(base.len(), |at| authority + at);
    let (root, rest) = base.split_at(end);
    let (base_path, base_query) = path_and_query(rest);
    let (path, query) = path_and_query(reference);
    let (path, query) = match path {
        "" if query.is_empty() => (base_path.to_owned(), base_query),
        "" => (base_path.to_owned(), query),
        _ if path.starts_with('/') => (without_dots(path), query),
        _ => {
            let folder = base_path.rfind('/').map_or("/", |at| &base_path[..=at]);
            (without_dots(&format!("{folder}{path}")), query)
        }
    };
    format!("{root}{path}{query}")
}

/// The query with its `?`, empty where there is none.
fn path_and_query(text: &str) -> (&str, &str) {
    text.split_at(text.find('?').unwrap_or(text.len()))
}

/// RFC 3986 §5.2.4, of a path that begins with `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// RFC 3986 §5.4.1 and 5.4.2, but for what has a scheme, a host or a fragment.
    #[test]
    fn the_examples_of_the_rfc() {
        let base = Destination::parse("http://a/b/c/d;p?q").unwrap();
        for (reference, whole) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x?y", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
        ] {
            let joined = Relative::parse(reference).unwrap().onto(&base).unwrap();
            assert_eq!(joined.uri(), whole, "{reference:?}");
        }
    }

    #[test]
    fn a_base_without_a_path_and_mistakes() {
        let base = Destination::parse("http://erp:8081?x=1").unwrap();
        let lines: Vec<String> = [
            "in",
            "/in",
            "?y=2",
            "",
            "//h/x",
            "http://h/",
            "h:1/x",
            "/a b",
            "/a#f",
        ]
        .iter()
        .map(|uri| match Relative::parse(uri) {
            Ok(relative) => format!("{uri:?} -> {}", relative.onto(&base).unwrap()),
            Err(wrong) => format!("{uri:?} {wrong}"),
        })
        .collect();
        expect![[r#"
            "in" -> http://erp:8081/in
            "/in" -> http://erp:8081/in
            "?y=2" -> http://erp:8081?y=2
            "" -> http://erp:8081?x=1
            "//h/x" is "//h/x", beside ref write only what follows the Sink's address, such as /orders, or remove ref
            "http://h/" is "http://h/", beside ref write only what follows the Sink's address, such as /orders, or remove ref
            "h:1/x" is "h:1/x", beside ref write only what follows the Sink's address, such as /orders, or remove ref
            "/a b" is "/a b", write %20 for a space, or remove it
            "/a#f" is "/a#f", remove the fragment (#): it is never sent"#]].assert_eq(&lines.join("\n"));
    }
}
