//! Who wants what, written as the YAML that a person would write.

/// A filter that wants every event of the broker.
pub fn everything() -> String {
    "[]".to_owned()
}

/// A filter that wants events of this type.
pub fn ty(ty: &str) -> String {
    format!("[{{exact: {{type: {ty}}}}}]")
}

/// What a trigger's YAML says beside its name and filter.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Terms {
    sink: Option<String>,
    dead_letter: Option<String>,
    delivery: Vec<(&'static str, String)>,
    annotations: Vec<(&'static str, String)>,
}

/// Terms as of a trigger that writes none: tried until PT24H.
pub fn terms() -> Terms {
    Terms::default()
}

impl Terms {
    /// Sends to this sink, instead of the one that has the trigger's name.
    pub fn to(mut self, sink: &str) -> Terms {
        self.sink = Some(sink.to_owned());
        self
    }

    /// Writes `retry`: so many after the first attempt.
    pub fn retry(self, retries: u32) -> Terms {
        self.delivery("retry", retries.to_string())
    }

    /// Writes `retry` so that there are this many attempts in all.
    pub fn attempts(self, attempts: u32) -> Terms {
        self.retry(attempts - 1)
    }

    /// Writes `backoffPolicy` and `backoffDelay`.
    pub fn backoff(self, policy: &str, delay: &str) -> Terms {
        let with_policy = self.delivery("backoffPolicy", policy.to_owned());
        with_policy.delivery("backoffDelay", delay.to_owned())
    }

    /// Writes `backoffMax`.
    pub fn backoff_max(self, max: &str) -> Terms {
        self.delivery("backoffMax", max.to_owned())
    }

    /// Writes `timeout`.
    pub fn timeout(self, timeout: &str) -> Terms {
        self.delivery("timeout", timeout.to_owned())
    }

    /// Writes `retryAfterMax`.
    pub fn retry_after_max(self, max: &str) -> Terms {
        self.delivery("retryAfterMax", max.to_owned())
    }

    /// Sends what fails for good to this sink.
    pub fn dead_letter(mut self, sink: &str) -> Terms {
        self.dead_letter = Some(sink.to_owned());
        self
    }

    /// Switches jitter off.
    pub fn no_jitter(self) -> Terms {
        self.annotation("weft.dev/jitter", "off".to_owned())
    }

    /// Has a success whose body isn't an event count as a failure.
    pub fn strict(self) -> Terms {
        self.annotation("weft.dev/replies", "strict".to_owned())
    }

    /// Of a broker: drops what it has seen within this window.
    pub fn dedup_window(self, window: &str) -> Terms {
        self.annotation("weft.dev/dedup-window", window.to_owned())
    }

    /// Has successes read as Dapr reads them.
    pub fn dapr(self) -> Terms {
        self.annotation("weft.dev/replies", "dapr".to_owned())
    }

    /// Writes how many requests may be in the air.
    pub fn max_in_flight(self, count: u32) -> Terms {
        self.annotation("weft.dev/max-in-flight", count.to_string())
    }

    /// Writes that nothing is to be sent.
    pub fn paused(self) -> Terms {
        self.annotation("weft.dev/paused", "true".to_owned())
    }

    /// Writes where a new trigger begins: `latest`, `earliest` or a time.
    pub fn start(self, start: &str) -> Terms {
        self.annotation("weft.dev/start", start.to_owned())
    }

    /// Names a DeliveryPolicy.
    pub fn policy(self, name: &str) -> Terms {
        self.annotation("weft.dev/policy", name.to_owned())
    }

    fn delivery(mut self, name: &'static str, value: String) -> Terms {
        self.delivery.push((name, value));
        self
    }

    fn annotation(mut self, name: &'static str, value: String) -> Terms {
        self.annotations.push((name, value));
        self
    }

    fn delivery_yaml(&self) -> String {
        let mut yaml = String::from("{");
        if let Some(sink) = &self.dead_letter {
            yaml += &format!("deadLetterSink: {{uri: \"http://{sink}/\"}}, ");
        }
        for (name, value) in &self.delivery {
            yaml += &format!("{name}: {value}, ");
        }
        yaml + "}"
    }

    fn annotations_yaml(&self) -> String {
        let pairs = self.annotations.iter();
        let pairs: Vec<String> = pairs.map(|(n, v)| format!("{n}: \"{v}\"")).collect();
        format!("{{{}}}", pairs.join(", "))
    }
}

/// A Trigger. Its subscriber's query names it, so that a sink knows whose request it gets.
pub fn trigger_yaml(name: &str, broker: &str, filters: &str, terms: &Terms) -> String {
    let sink = terms.sink.as_deref().unwrap_or(name);
    let (annotations, delivery) = (terms.annotations_yaml(), terms.delivery_yaml());
    format!(
        "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}, annotations: {annotations}}}
spec:
  broker: {broker}
  filters: {filters}
  subscriber: {{uri: \"http://{sink}/?{name}\"}}
  delivery: {delivery}
"
    )
}

/// A Broker with what its triggers inherit.
pub fn broker_yaml(name: &str, terms: &Terms) -> String {
    let (annotations, delivery) = (terms.annotations_yaml(), terms.delivery_yaml());
    format!(
        "apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {{name: {name}, annotations: {annotations}}}
spec:
  delivery: {delivery}
"
    )
}
