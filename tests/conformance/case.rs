//! One case of an upstream suite: what it is called there, what it needs, and what it asks.

use crate::stage::Place;
use crate::yaml::Yaml;

/// Which of Knative's suites a case is from, as `docs/conformance.md` names it.
pub(crate) const BROKER_DATA_PLANE: &str = "conformance/broker_data_plane";
pub(crate) const REKT_INGRESS: &str = "rekt/broker/ingress.go";
pub(crate) const REKT_DATA_PLANE: &str = "rekt/broker/data_plane.go";
pub(crate) const REKT_CONTROL_PLANE: &str = "rekt/broker/control_plane.go";
pub(crate) const REKT_FEATURE: &str = "rekt/broker/feature.go";
pub(crate) const REKT_SOURCE_TO_SINK: &str = "rekt/broker/source_to_sink.go";
pub(crate) const REKT_TRIGGER: &str = "rekt/trigger";
pub(crate) const REKT_FILTERS: &str = "rekt/new_trigger_filters";
pub(crate) const REKT_OIDC: &str = "rekt/oidc/addressable_oidc_conformance.go";
pub(crate) const REKT_AUTHZ: &str = "rekt/authz/addressable_authz_conformance.go";
pub(crate) const REKT_TLS: &str = "rekt/broker/eventing_tls_feature.go";
/// A rule of Knative's specification that none of its suites runs.
pub(crate) const SPECIFICATION: &str = "specs/eventing";
/// What no suite asks, and some broker got wrong.
pub(crate) const REGRESSION: &str = "Weft";

/// A case.
pub(crate) struct Case {
    /// The heading that it stands under.
    pub(crate) area: &'static str,
    /// The suite that it is from.
    pub(crate) suite: &'static str,
    /// What it is called there.
    pub(crate) upstream: &'static str,
    /// What it is called here: `file::case`. Its namespace is made of it.
    pub(crate) test: &'static str,
    /// What it does.
    pub(crate) how: How,
}

/// What a case does.
pub(crate) enum How {
    /// Can be asked of any broker.
    Run {
        /// Its resources.
        yaml: fn(&mut Yaml),
        /// Sends, waits and judges; panics when the broker is wrong.
        run: fn(&Place),
    },
    /// Also asks what only Weft can be asked: its commands, its dead letters.
    Ours {
        /// Its resources.
        yaml: fn(&mut Yaml),
        /// As of [`How::Run`].
        run: fn(&Place),
    },
    /// Weft can't do it yet, and why.
    Later(&'static str),
}

impl Case {
    /// The Kubernetes namespace of a case: its name as a DNS label.
    pub(crate) fn namespace(test: &str) -> String {
        let name: String = test
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let name = name.replace("--", "-");
        name[..name.len().min(63)].trim_end_matches('-').to_owned()
    }

    /// Whether Weft can't do it yet.
    pub(crate) fn is_later(&self) -> bool {
        matches!(self.how, How::Later(_))
    }

    /// Its resources as YAML; none for what comes later.
    pub(crate) fn yaml(&self, functions: &str) -> Option<Yaml> {
        let (How::Run { yaml, .. } | How::Ours { yaml, .. }) = &self.how else {
            return None;
        };
        let mut written = Yaml::new(&Case::namespace(self.test), functions);
        yaml(&mut written);
        Some(written)
    }
}
