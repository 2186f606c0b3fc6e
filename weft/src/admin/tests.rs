//! The API over a real connection, in front of an engine in memory.

use std::sync::Arc;
use std::time::Duration;

use adapters_http::source::{Readiness, bind};
use broker::letter_query::{From, Query};
use broker::records::envelope::Context;
use broker::trace::NoSpans;
use bytes::Bytes;
use clap::Parser;
use event::{Batch, Event};
use http::{HeaderMap, Method, StatusCode};
use journal::Offset;
use serde_json::Value;
use tokio::sync::watch;
use triggers::files::File;
use triggers::{BrokerName, Catalog};

use super::*;
use crate::admin::views::{BookView, LetterDetail, Status, TriggerDetail};
use crate::cli::{Cli, Command};
use crate::client::Client;
use crate::node::open;
use crate::node::workers::{Workers, start_keeper};
use crate::tasks::{OnEnd, Tasks};

/// Nobody listens on port 1, so the one attempt fails at once.
const YAML: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: billing, namespace: shop}
spec:
  broker: default
  filters: [{exact: {type: order.placed}}]
  subscriber: {uri: http://127.0.0.1:1/}
  delivery: {retry: 0}
";

#[test]
fn every_route_is_described_and_every_description_has_a_route() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut described: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut served: Vec<&str> = routes().iter().map(|(path, _)| *path).collect();
    described.sort_unstable();
    served.sort_unstable();
    assert_eq!(described, served);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// A running node without its sources, and a client of its admin API.
struct World {
    client: Client,
    engine: Engine,
    health: Arc<Health>,
    /// Dropping it would end the API.
    _stop: watch::Sender<Option<tokio::time::Instant>>,
    _tasks: Tasks,
}

impl World {
    async fn start() -> Self {
        let Command::Run(args) = Cli::parse_from(["weft", "run", "conf", "--workers", "1"]).command
        else {
            unreachable!()
        };
        let mut node = triggers::Node::default();
        node.storage.kind = triggers::run::node::StorageKind::Memory;
        let settings = Settings::new(&args, node).unwrap();
        let open::Node {
            opened,
            driver,
            kept_driver,
            clock,
            ..
        } = open::open(&settings, Arc::new(NoSpans)).unwrap();
        let mut tasks = Tasks::new();
        let reporter = tasks.reporter();
        drop(driver.spawn_thread());
        drop(kept_driver.spawn_thread());
        drop(start_keeper(opened.keeper, &reporter).unwrap());
        let engine = opened.engine.clone();
        let workers = Workers::start(
            opened.router,
            opened.workers,
            settings.sink(),
            &clock,
            &reporter,
        )
        .unwrap();
        let file = File {
            path: "conf/a.yaml".into(),
            text: Ok(YAML.into()),
        };
        engine
            .apply(&Catalog::default().reload(vec![file]))
            .await
            .unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health::starting());
        health.set(Readiness::Ready);
        let admin = Admin {
            engine: engine.clone(),
            health: health.clone(),
            sources: workers.sources.clone(),
            problems: Arc::default(),
            spans: None,
            started: clock.wall(),
            clock,
            settings,
            ingress: "127.0.0.1:8080".parse().unwrap(),
            address,
        };
        let (stop, stopped) = watch::channel(None);
        tasks.spawn(
            "the admin API",
            OnEnd::StopNode,
            serve(listener, admin, stopped),
        );
        let client = Client::new(&format!("http://{address}"), "").unwrap();
        Self {
            client,
            engine,
            health,
            _stop: stop,
            _tasks: tasks,
        }
    }

    async fn get(&mut self, path: &str) -> (StatusCode, Bytes) {
        let headers = HeaderMap::new();
        let asked = self
            .client
            .request(Method::GET, path, &headers, Bytes::new());
        let answer = asked.await.unwrap();
        (answer.status, answer.body)
    }

    async fn ok<T: serde::de::DeserializeOwned>(&mut self, path: &str) -> T {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body:?}");
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body:?}"))
    }

    /// Sends an event that ends in the dead letters, and waits until it is there.
    async fn one_dead_letter(&self) -> u64 {
        let ingress = self.engine.ingress();
        let broker = ingress.broker(&BrokerName::new("shop", "default")).unwrap();
        let event = Event::build("o-1", "/shop", "order.placed").data(r#"{"amount":1e400}"#);
        let event = event.datacontenttype("application/json").finish().unwrap();
        let batch = Batch {
            events: vec![event],
        };
        ingress
            .publish(&broker, &Context::default(), &batch)
            .await
            .unwrap();
        loop {
            let oldest = From::Oldest(Offset(0));
            let letters = self.engine.dead_letters();
            if let [row] = &letters.rows(&Query::default(), oldest, 1)[..] {
                return row.id.0;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn every_call_answers_with_what_the_commands_read() {
    let mut world = World::start().await;
    let id = world.one_dead_letter().await;
    let status: Status = world.ok("/api/v1/status").await;
    assert!(
        status.ready && status.durability == "memory" && status.data.is_none(),
        "{status:?}"
    );
    let BookView {
        matched,
        owed,
        balanced,
        dead,
        ..
    } = status.books;
    assert_eq!(
        (matched, owed, balanced, dead["exhausted"]),
        (1, 0, true, 1)
    );
    let trigger: TriggerDetail = world.ok("/api/v1/triggers/shop/billing").await;
    assert_eq!(
        (trigger.terms.retry, trigger.view.dead_letters),
        (Some(0), 1)
    );
    assert_eq!(
        trigger.resource["spec"]["subscriber"]["uri"],
        "http://127.0.0.1:1/"
    );
    let letter: LetterDetail = world.ok(&format!("/api/v1/dead-letters/{id}")).await;
    let stored = letter.stored.unwrap();
    assert_eq!(stored.event.attributes["id"], "o-1");
    assert_eq!(
        stored.event.data.text.as_deref(),
        Some(r#"{"amount":1e400}"#)
    );
    assert!(
        letter.history[0].reason.contains("connection refused"),
        "{:?}",
        letter.history
    );
    for (path, items) in [
        ("/api/v1/triggers", 1),
        ("/api/v1/brokers", 1),
        ("/api/v1/destinations", 1),
        ("/api/v1/dead-letters", 1),
        ("/api/v1/dead-letters?trigger=shop%2Fbilling", 1),
        ("/api/v1/dead-letters?trigger=other", 0),
    ] {
        let list: Value = world.ok(path).await;
        assert_eq!(
            list["items"].as_array().unwrap().len(),
            items,
            "{path}: {list}"
        );
    }
    let (_, metrics) = world.get("/metrics").await;
    let dead = "weft_dead_total{trigger=\"shop/billing\",cause=\"exhausted\"} 1\n";
    assert!(std::str::from_utf8(&metrics).unwrap().contains(dead));
}

#[tokio::test]
async fn what_is_not_there_and_a_node_that_cannot_go_on_are_said() {
    let mut world = World::start().await;
    for path in [
        "/nope",
        "/api/v1/triggers/shop/nope",
        "/api/v1/dead-letters/77",
    ] {
        let (status, body) = world.get(path).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (status.as_u16(), &problem["status"]),
            (404, &Value::from(404)),
            "{path}"
        );
    }
    assert_eq!(world.get("/readyz").await.0, StatusCode::OK);
    world
        .health
        .set(Readiness::NotReady("the log failed".into()));
    let (status, body) = world.get("/readyz").await;
    assert_eq!((status.as_u16(), &*body), (503, &b"the log failed\n"[..]));
    assert_eq!(world.get("/healthz").await.0, StatusCode::OK);
}
