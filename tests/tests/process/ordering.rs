//! Order by key over `kill -9` (GUARANTEES 14).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tests::Seed;
use tests::http::{Client, Function};

use crate::Folders;

const KILLS: usize = 20;
const KEYS: usize = 100;

/// What a process wrote before it was killed is read a little later; its successor needs longer
/// than this before it sends anything.
const IN_THE_SOCKET: Duration = Duration::from_millis(50);

/// The key whose events are never taken until the last life.
const POISONED: &str = "k7";

const YAML: &str = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: careful}
spec: {ordering: {by: partitionkey}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: billing, annotations: {weft.dev/policy: careful}}
spec:
  broker: default
  subscriber: {uri: \"SUBSCRIBER\"}
  delivery: {backoffMax: PT0.5S}
";

/// 100 keys, one poisoned, 20 kills under load: each key's requests repeat suffixes, skip nothing,
/// and never overlap.
#[test]
fn twenty_kills_keep_the_order_of_each_key() {
    let mut seed = Seed::or(4714);
    eprintln!("SEED={}", seed.number);
    let healed = Arc::new(AtomicBool::new(false));
    let heals = Arc::clone(&healed);
    let function = Function::start(move |request| {
        match request.header("ce-partitionkey") == POISONED && !heals.load(Ordering::Relaxed) {
            true => 503,
            false => 200,
        }
    });
    let folders = Folders::new();
    folders.write(
        "billing.yaml",
        &YAML.replace("SUBSCRIBER", &function.uri("/")),
    );
    let ingress = Arc::new(Mutex::new(None));
    let ends = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (ingress, ends) = (Arc::clone(&ingress), Arc::clone(&ends));
        std::thread::spawn(move || publish(&ingress, &ends))
    };
    let mut lives = Vec::new();
    for _ in 0..KILLS {
        lives.push(Instant::now());
        let weft = folders.start().run();
        *ingress.lock().unwrap() = Some(weft.ingress);
        std::thread::sleep(Duration::from_millis(seed.within(20..300)));
        weft.kill();
    }
    ends.store(true, Ordering::Relaxed);
    let acknowledged = publisher.join().unwrap();
    lives.push(Instant::now());
    let weft = folders.start().run();
    healed.store(true, Ordering::Relaxed);
    weft.until_settled();

    // So many kills in a row may hit an innocent three times, which is then kept as a dead letter.
    let letters = weft.admin("/api/v1/dead-letters?reason=poison&limit=1000");
    let letters: serde_json::Value = serde_json::from_slice(&letters.body).unwrap();
    let accused: BTreeSet<&str> = letters["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["event"]["id"].as_str().unwrap())
        .collect();
    assert!(accused.len() <= 1, "{accused:?}");

    let mut keys: BTreeMap<String, Vec<(Instant, Option<Instant>, usize)>> = BTreeMap::new();
    function.look(|received| {
        for one in received {
            let (key, n) = one.id().split_once('-').unwrap();
            let sequence = keys.entry(key.to_owned()).or_default();
            sequence.push((one.began, one.ended, n.parse().unwrap()));
        }
    });
    let (mut requests, mut repeated) = (0, 0);
    for (key, sequence) in &mut keys {
        sequence.sort_by_key(|(began, ..)| *began);
        let known: BTreeSet<usize> = sequence.iter().map(|(.., n)| *n).collect();
        let known: Vec<usize> = known.into_iter().collect();
        let rank = |n: usize| known.binary_search(&n).unwrap();
        for n in acknowledged.get(key).into_iter().flatten() {
            assert!(
                known.contains(n) || accused.contains(&*format!("{key}-{n}")),
                "LOST {key}-{n}, SEED={}",
                seed.number
            );
        }
        assert_eq!(rank(sequence[0].2), 0, "{key} begins at its beginning");
        for pair in sequence.windows(2) {
            let [(began, ended, before), (at, _, n)] = [pair[0], pair[1]];
            let reborn = lives
                .iter()
                .any(|life| began <= *life + IN_THE_SOCKET && *life <= at);
            let again = rank(n) <= rank(before) && (reborn || key == POISONED && n == before);
            assert!(
                rank(n) == rank(before) + 1 || again,
                "{key}-{n} after {key}-{before}, SEED={}",
                seed.number
            );
            assert!(
                reborn || ended.is_some_and(|ended| ended <= at),
                "{key} overlaps"
            );
            repeated += usize::from(again);
        }
        requests += sequence.len();
    }
    let count: usize = acknowledged.values().map(Vec::len).sum();
    eprintln!(
        "{KILLS} kills: {count} acknowledged of {} keys, {requests} requests, {repeated} of them again, {} set aside",
        keys.len(),
        accused.len()
    );
    assert_eq!(keys.len(), KEYS);
    assert!(count > KILLS * 10, "there was load: {count}");
}

/// Publishes events of all keys in turn, one after the other, and says which were taken.
fn publish(
    ingress: &Mutex<Option<std::net::SocketAddr>>,
    ends: &AtomicBool,
) -> BTreeMap<String, Vec<usize>> {
    let mut acknowledged: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut client: Option<Client> = None;
    let mut next = 0;
    while !ends.load(Ordering::Relaxed) {
        if client.is_none() {
            let address = *ingress.lock().expect("nobody panicked with it");
            client = address.and_then(|address| Client::connect(address).ok());
        }
        let Some(open) = &mut client else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let (key, n) = (format!("k{}", next % KEYS), next / KEYS);
        next += 1;
        let attribute = [("ce-partitionkey", key.as_str())];
        match open.publish_with(&format!("{key}-{n}"), "order.placed", &attribute) {
            Ok(answer) if answer.status() == 202 => acknowledged.entry(key).or_default().push(n),
            Ok(answer) => assert_eq!(answer.status(), 503, "{}", answer.text()),
            Err(_) => client = None,
        }
    }
    acknowledged
}
