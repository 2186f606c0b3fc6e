//! The resources of a case, as a user writes them.

/// Class of the Brokers, for a Kubernetes that has several: `WEFT_CONFORMANCE_CLASS`.
const CLASS: &str = "WEFT_CONFORMANCE_CLASS";

/// Resources of one namespace.
pub(crate) struct Yaml {
    namespace: String,
    functions: String,
    text: String,
}

impl Yaml {
    /// None yet. `functions` is the address below which each case has its functions.
    pub(crate) fn new(namespace: &str, functions: &str) -> Yaml {
        Yaml {
            namespace: namespace.to_owned(),
            functions: functions.to_owned(),
            text: String::new(),
        }
    }

    /// The address of one of the case's functions.
    pub(crate) fn url(&self, function: &str) -> String {
        format!("{}/{}/{function}", self.functions, self.namespace)
    }

    /// An address where nobody listens: the port that `discard` once had.
    pub(crate) fn nobody() -> &'static str {
        "http://127.0.0.1:9/nobody"
    }

    /// The Broker of the case, with what `delivery` says in YAML's flow style.
    pub(crate) fn broker(&mut self, delivery: &str) {
        let class = std::env::var(CLASS).map_or(String::new(), |class| {
            format!(", annotations: {{eventing.knative.dev/broker.class: {class}}}")
        });
        self.text += &format!(
            "---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {{name: broker, namespace: {}{class}}}
spec: {{delivery: {{{delivery}}}}}
",
            self.namespace
        );
    }

    /// A Trigger to the function of its own name. `filter` is a field of the Trigger's spec, or nothing.
    pub(crate) fn trigger(&mut self, name: &str, filter: &str, delivery: &str) {
        self.trigger_to(name, &self.url(name), filter, delivery);
    }

    /// A Trigger to some address.
    pub(crate) fn trigger_to(&mut self, name: &str, uri: &str, filter: &str, delivery: &str) {
        let filter = match filter {
            "" => String::new(),
            some => format!("\n  {some}"),
        };
        self.text += &format!(
            "---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}, namespace: {}}}
spec:
  broker: broker
  subscriber: {{uri: \"{uri}\"}}
  delivery: {{{delivery}}}{filter}
",
            self.namespace
        );
    }

    /// The field `deadLetterSink` with one of the case's functions.
    pub(crate) fn dead_letters_to(&self, function: &str) -> String {
        format!("deadLetterSink: {{uri: \"{}\"}}", self.url(function))
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// A Broker and one Trigger `sink` that wants everything: what most cases need.
pub(crate) fn one_sink(yaml: &mut Yaml) {
    yaml.broker("");
    yaml.trigger("sink", "", "");
}
