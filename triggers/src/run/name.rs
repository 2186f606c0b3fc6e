//! Names of brokers and triggers: cheap to clone, ordered by namespace and then name.

use std::fmt;
use std::sync::Arc;

use crate::problem::Wrong;

macro_rules! namespaced_name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type {
            namespace: Arc<str>,
            name: Arc<str>,
        }

        impl $type {
            /// A name in a namespace. The caller has checked both.
            pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> $type {
                $type { namespace: namespace.into(), name: name.into() }
            }

            /// The namespace.
            pub fn namespace(&self) -> &str {
                &self.namespace
            }

            /// The name within the namespace.
            pub fn name(&self) -> &str {
                &self.name
            }
        }

        /// `shop/default`
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.namespace, self.name)
            }
        }
    };
}

namespaced_name! {
    /// A broker's name, as in its address `/{namespace}/{broker}`.
    BrokerName
}

namespaced_name! {
    /// A trigger's name.
    TriggerName
}

namespaced_name! {
    /// A Sink's name.
    SinkName
}

/// Kubernetes' rule for names of resources (RFC 1123 subdomain), so that the same YAML works
/// there and the name fits into an address.
pub(crate) fn check_name(name: &str) -> Result<(), Wrong> {
    check(name, 253, |b| b == b'.')
}

/// Kubernetes' rule for namespaces (RFC 1123 label).
pub(crate) fn check_namespace(namespace: &str) -> Result<(), Wrong> {
    check(namespace, 63, |_| false)
}

fn check(name: &str, bytes_max: usize, also: fn(u8) -> bool) -> Result<(), Wrong> {
    if bytes_max < name.len() {
        let found = format!("is {} characters long", name.len());
        return Err(Wrong::new(
            found,
            format!("it may have at most {bytes_max}"),
        ));
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().last().is_some_and(plain);
    if ends && name.bytes().all(|b| plain(b) || b == b'-' || also(b)) {
        return Ok(());
    }
    Err(Wrong::new(
        format!("is {name:?}"),
        "use lower-case letters, digits and dashes, beginning and ending with a letter or digit",
    ))
}
