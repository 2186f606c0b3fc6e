//! Where a delivery goes: an absolute `http://` address.
//!
//! The address is kept as written, because it is told to others (`knativeerrordest`). What
//! caps and breakers hang on is the [`DestinationKey`]: scheme, authority and path without
//! the query, in one spelling.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use super::health::Health;
use super::name::SinkName;
use crate::problem::Wrong;

/// The longest address that is accepted.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// Scheme, authority and path: two triggers whose addresses differ only in query, case of
/// the host or `:80` share a destination's health and limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey(Arc<str>);

impl DestinationKey {
    /// `http://host:8081/path`
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An absolute `http://` address, taken apart. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Destination {
    parts: Arc<Parts>,
    /// The Sink that names it, with what it says; `None` for a plain address, which has the
    /// defaults.
    sink: Option<Arc<Named>>,
}

impl Eq for Destination {}

#[derive(PartialEq)]
struct Named {
    name: SinkName,
    key: DestinationKey,
    health: Arc<Health>,
}

#[derive(PartialEq, Eq)]
struct Parts {
    uri: Box<str>,
    host: Box<str>,
    port: u16,
    authority: Box<str>,
    path_and_query: Box<str>,
    key: DestinationKey,
}

impl Destination {
    /// Reads an absolute `http://` address.
    ///
    /// # Errors
    ///
    /// `https` (a later version's), any other scheme, a relative address, user information,
    /// a fragment, a port or host that can't be one, characters that no address may have.
    pub fn parse(uri: &str) -> Result<Destination, Wrong> {
        let found = || format!("is {uri:?}");
        let wrong = |cure: &str| Wrong::new(found(), cure);
        // First of all, so that no other message repeats what may be a password.
        let after_scheme = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        if after_scheme
            .split(['/', '?', '#'])
            .next()
            .is_some_and(|authority| authority.contains('@'))
        {
            return Err(Wrong::new(
                "has a user or password in it",
                "remove what stands before the @: credentials do not belong in an address",
            ));
        }
        if URI_BYTES_MAX < uri.len() {
            let found = format!("is {} bytes long", uri.len());
            return Err(Wrong::new(
                found,
                format!("it may have at most {URI_BYTES_MAX}"),
            ));
        }
        if let Some(bad) = uri.chars().find(|c| !matches!(c, '!'..='~')) {
            return Err(wrong(&match bad {
                ' ' => "write %20 for a space, or remove it".to_owned(),
                bad => format!("percent-encode {bad:?}"),
            }));
        }
        let rest = match uri.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(wrong(
                    "https is not supported yet by this version: write an http:// address",
                ));
            }
            Some((scheme, _)) => {
                return Err(wrong(&format!(
                    "{scheme}:// is not supported: write an http:// address"
                )));
            }
            None if uri.starts_with('/') => {
                return Err(wrong(
                    "write the whole address, such as http://127.0.0.1:8081/path",
                ));
            }
            None if uri.is_empty() || uri.contains(":/") => {
                return Err(wrong("write an address such as http://127.0.0.1:8081/"));
            }
            None => {
                return Err(wrong(&format!(
                    "begin it with http://, such as http://{uri}"
                )));
            }
        };
        if uri.contains('#') {
            return Err(wrong("remove the fragment (#): it is never sent"));
        }
        if let Some(bad) = uri
            .chars()
            .find(|c| matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'))
        {
            return Err(wrong(&format!("percent-encode {bad:?}")));
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(split);
        let (host, port) = host_and_port(authority)
            .ok_or_else(|| wrong("write a host and a port, such as http://127.0.0.1:8081/"))?;
        let host = host.to_ascii_lowercase();
        let authority = match port {
            80 => host.clone(),
            port => format!("{host}:{port}"),
        };
        let path_and_query = match path_and_query {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        let path = path_and_query.split('?').next().unwrap_or("/");
        let key = DestinationKey(Arc::from(format!("http://{authority}{path}")));
        let parts = Arc::new(Parts {
            uri: uri.into(),
            host: host.into(),
            port,
            authority: authority.into(),
            path_and_query: path_and_query.into(),
            key,
        });
        Ok(Destination { parts, sink: None })
    }

    /// The same address as that of a Sink: its health hangs on the Sink's name.
    pub fn of_sink(self, name: SinkName, health: Arc<Health>) -> Destination {
        let key = DestinationKey(Arc::from(format!("sink:{name}")));
        let sink = Some(Arc::new(Named { name, key, health }));
        Destination { sink, ..self }
    }

    /// Another address of the same Sink, whose health it shares.
    pub(crate) fn at_uri(&self, uri: &str) -> Result<Destination, Wrong> {
        let sink = self.sink.clone();
        Ok(Destination {
            sink,
            ..Destination::parse(uri)?
        })
    }

    /// Stands for a Sink that isn't there; nothing is ever sent to it (RFC 6761 §6.4).
    pub(crate) fn unresolved(name: SinkName) -> Destination {
        let parts = Arc::new(Parts {
            uri: format!("sink:{name}").into(),
            host: "unresolved.invalid".into(),
            port: 80,
            authority: "unresolved.invalid".into(),
            path_and_query: "/".into(),
            key: DestinationKey(Arc::from("http://unresolved.invalid/")),
        });
        Destination { parts, sink: None }.of_sink(name, Arc::default())
    }

    /// The Sink that names it.
    pub fn sink(&self) -> Option<&SinkName> {
        self.sink.as_deref().map(|named| &named.name)
    }

    /// How it is spared; `None`: by the defaults.
    pub fn health(&self) -> Option<&Arc<Health>> {
        self.sink.as_deref().map(|named| &named.health)
    }

    /// The address as written.
    pub fn uri(&self) -> &str {
        &self.parts.uri
    }

    /// Always `http` in this version.
    pub fn scheme(&self) -> &str {
        "http"
    }

    /// The host in lower case; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        &self.parts.host
    }

    /// The port, 80 where none was written.
    pub fn port(&self) -> u16 {
        self.parts.port
    }

    /// The host, and the port unless it is 80: what the `Host` header says.
    pub fn authority(&self) -> &str {
        &self.parts.authority
    }

    /// What the request line says; begins with `/`.
    pub fn path_and_query(&self) -> &str {
        &self.parts.path_and_query
    }

    /// What limits and health hang on: the named Sink, else scheme, authority and path.
    pub fn key(&self) -> &DestinationKey {
        self.sink
            .as_deref()
            .map_or(&self.parts.key, |named| &named.key)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({})", self.parts.uri)
    }
}

/// The address as written.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.uri)
    }
}

fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        // An empty port is the scheme's own (RFC 3986 §3.2.3).
        Some("") => 80,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
        None if port.is_empty() => 80,
        None => return None,
    };
    let valid = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    (valid && port != 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn addresses() {
        let lines: Vec<String> = [
            "http://127.0.0.1:8081/",
            "http://Billing.shop.svc:80/in?x=1&y=/z",
            "HTTP://h",
            "http://h?q",
            "http://[::1]:9/a",
            "http://h:/a",
            "https://h/",
            "kafka://h/",
            "/orders",
            "localhost:8081",
            "http://",
            "http://h:0/",
            "http://h:99999/",
            "http://h:+80/",
            "http://u:p@h/",
            "https://u:p@h/x y",
            "u:p@h",
            "http://h/a@b",
            "http://h/#f",
            "http://h/a b",
            "http://h/é",
            "http://h/{x}",
            "http://[::1/",
            "http://[zz]/",
            "http:/h",
            "",
        ]
        .iter()
        .map(|uri| match Destination::parse(uri) {
            Ok(d) => format!(
                "{uri} -> {} {} {} {}",
                d.host(),
                d.port(),
                d.path_and_query(),
                d.key()
            ),
            Err(wrong) => format!("{uri} -> {wrong}"),
        })
        .collect();
        expect![[r#"
            http://127.0.0.1:8081/ -> 127.0.0.1 8081 / http://127.0.0.1:8081/
            http://Billing.shop.svc:80/in?x=1&y=/z -> billing.shop.svc 80 /in?x=1&y=/z http://billing.shop.svc/in
            HTTP://h -> h 80 / http://h/
            http://h?q -> h 80 /?q http://h/
            http://[::1]:9/a -> [::1] 9 /a http://[::1]:9/a
            http://h:/a -> h 80 /a http://h/a
            https://h/ -> is "https://h/", https is not supported yet by this version: write an http:// address
            kafka://h/ -> is "kafka://h/", kafka:// is not supported: write an http:// address
            /orders -> is "/orders", write the whole address, such as http://127.0.0.1:8081/path
            localhost:8081 -> is "localhost:8081", begin it with http://, such as http://localhost:8081
            http:// -> is "http://", write a host and a port, such as http://127.0.0.1:8081/
            http://h:0/ -> is "http://h:0/", write a host and a port, such as http://127.0.0.1:8081/
            http://h:99999/ -> is "http://h:99999/", write a host and a port, such as http://127.0.0.1:8081/
            http://h:+80/ -> is "http://h:+80/", write a host and a port, such as http://127.0.0.1:8081/
            http://u:p@h/ -> has a user or password in it, remove what stands before the @: credentials do not belong in an address
            https://u:p@h/x y -> has a user or password in it, remove what stands before the @: credentials do not belong in an address
            u:p@h -> has a user or password in it, remove what stands before the @: credentials do not belong in an address
            http://h/a@b -> h 80 /a@b http://h/a@b
            http://h/#f -> is "http://h/#f", remove the fragment (#): it is never sent
            http://h/a b -> is "http://h/a b", write %20 for a space, or remove it
            http://h/é -> is "http://h/é", percent-encode 'é'
            http://h/{x} -> is "http://h/{x}", percent-encode '{'
            http://[::1/ -> is "http://[::1/", write a host and a port, such as http://127.0.0.1:8081/
            http://[zz]/ -> is "http://[zz]/", write a host and a port, such as http://127.0.0.1:8081/
            http:/h -> is "http:/h", write an address such as http://127.0.0.1:8081/
             -> is "", write an address such as http://127.0.0.1:8081/"#]].assert_eq(&lines.join("\n"));
    }
}
