//! What a `kill -9` leaves of attempts, breakers and dead letters. That it loses no event: `power/kills.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::http::Function;
use tests::node::{PATIENCE, until};

use crate::{Folders, trigger};

/// A thousand deliveries between attempts 3 and 4: the numbers go on, none repeats but what was
/// in the air or answered within the last 50 ms, and none comes before it is due.
#[test]
fn a_kill_between_attempts_3_and_4_goes_on_with_4() {
    const DELIVERIES: usize = 1000;
    const DELAY: Duration = Duration::from_millis(400);
    /// What is noted is on disk within 50 ms; the rest is for a busy machine.
    const NOTED_WITHIN: Duration = Duration::from_millis(50 + 200);
    let function = Function::start(|request| match request.header("weft-attempt") {
        "1" | "2" | "3" => 503,
        _ => 200,
    });
    let folders = Folders::new();
    let delivery = "{retry: 10, backoffPolicy: exponential, backoffDelay: PT0.4S}";
    let billing = trigger("billing", "[]", "", delivery);
    let subscriber = "{ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: billing}}";
    folders.write("billing.yaml", &billing.replace("{uri: \"\"}", subscriber));
    // Three thousand failures would open its breaker and use up its retry budget, and then each
    // attempt came when these let it. Here it is the schedule alone that counts.
    folders.write(
        "sink.yaml",
        &format!(
            "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {{name: billing}}
spec: {{uri: \"{}\", breaker: off, retryBudget: off}}
",
            function.uri("/")
        ),
    );

    let weft = folders.start().run();
    let mut client = weft.client();
    for n in 0..DELIVERIES {
        let answer = client.publish(&format!("o-{n}"), "order.placed").unwrap();
        assert_eq!(answer.status(), 202);
    }
    until("at attempt 3", PATIENCE, || {
        let third =
            function.look(|received| received.iter().filter(|one| one.attempt() == 3).count());
        (third >= DELIVERIES * 3 / 4).then_some(())
    });
    let killed = Instant::now();
    weft.kill();
    let before = function.count();
    let weft = folders.start().run();
    weft.until_settled();

    let mut attempts: BTreeMap<String, Vec<(u32, Instant, Instant)>> = BTreeMap::new();
    for one in function.received() {
        let ended = one.ended.unwrap_or(one.began);
        attempts
            .entry(one.id().to_owned())
            .or_default()
            .push((one.attempt(), one.began, ended));
    }
    assert_eq!(attempts.len(), DELIVERIES);
    let (mut repeated, mut fourth) = (0, 0);
    for (id, attempts) in &mut attempts {
        attempts.sort_by_key(|(_, began, _)| *began);
        for pair in attempts.windows(2) {
            let [(number, _, ended), (next, at, _)] = [pair[0], pair[1]];
            if next == number + 1 {
                let nominal = DELAY * 2u32.pow(number - 1);
                assert!(
                    at - ended >= nominal - Duration::from_millis(2),
                    "{id}: {next} came {:?} after {number}",
                    at - ended
                );
                continue;
            }
            repeated += 1;
            let age = killed.saturating_duration_since(ended);
            assert!(
                next == number && age <= NOTED_WITHIN,
                "{id}: {next} after {number}, answered {age:?} before the kill"
            );
        }
        let numbers: BTreeSet<u32> = attempts.iter().map(|(number, _, _)| *number).collect();
        assert_eq!(numbers, (1..=4).collect(), "{id}");
        fourth += usize::from(
            attempts
                .iter()
                .any(|(number, began, _)| *number == 4 && *began > killed),
        );
    }
    eprintln!(
        "killed after {before} requests: {fourth} of {DELIVERIES} came to attempt 4 afterwards, {repeated} attempts repeated"
    );
    assert!(fourth > DELIVERIES / 2, "the kill came between: {fourth}");
    assert_eq!(weft.books("delivered") as usize, DELIVERIES);
}

/// Deliveries behind an open breaker: the kill forgets the breaker, not the attempts. Once the
/// function is well again, each goes on with its next number.
#[test]
fn a_kill_behind_an_open_breaker_burns_no_attempt() {
    const DELIVERIES: usize = 30;
    let well = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&well);
    let function = Function::start(move |_| match says.load(Ordering::Relaxed) {
        true => 200,
        false => 503,
    });
    let folders = Folders::new();
    let billing = trigger("billing", "[]", &function.uri("/"), "{}");
    folders.write("billing.yaml", &billing);
    let weft = folders.start().run();
    for n in 0..DELIVERIES {
        weft.publish(&format!("o-{n}"), "order.placed");
    }
    until("open", PATIENCE, || {
        let destinations = weft.admin("/api/v1/destinations").text();
        destinations.contains(r#""breaker":"open""#).then_some(())
    });
    weft.kill();
    let before = function.count();
    well.store(true, Ordering::Relaxed);
    let weft = folders.start().run();
    weft.until_settled();

    let mut attempts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for one in function.received() {
        let id = one.id().to_owned();
        attempts.entry(id).or_default().push(one.attempt());
    }
    let mut repeated = 0;
    for (id, numbers) in &attempts {
        for pair in numbers.windows(2) {
            repeated += usize::from(pair[1] == pair[0]);
            assert!(
                pair[1] == pair[0] || pair[1] == pair[0] + 1,
                "{id}: {numbers:?}"
            );
        }
    }
    let after = function.count() - before;
    eprintln!(
        "{before} requests before the kill, {after} after it, {repeated} repeated an attempt"
    );
    assert_eq!(attempts.len(), DELIVERIES);
    assert!(
        after <= DELIVERIES + repeated,
        "a well function is asked once for each, but for what was in the air: {after}"
    );
    assert_eq!(weft.books("delivered") as usize, DELIVERIES);
}

/// Dead letters are shown with payload and attempts, after a kill and after their trigger is gone.
#[test]
fn dead_letters_show_payload_and_attempts_after_a_kill() {
    let function = Function::start_with(|_| (422, "no such customer".into()));
    let folders = Folders::new();
    folders.write(
        "billing.yaml",
        &trigger("billing", "[]", &function.uri("/"), "{}"),
    );
    folders.write(
        "other.yaml",
        &trigger("other", "[{exact: {type: none}}]", &function.uri("/"), "{}"),
    );
    let weft = folders.start().run();
    weft.publish("o-1", "order.placed");
    until("dead", PATIENCE, || {
        (weft.status()["deadLetters"] == 1).then_some(())
    });
    weft.kill();
    let weft = folders.start().run();
    std::fs::remove_file(folders.yaml().join("billing.yaml")).unwrap();
    weft.until_said("without a file");

    let admin = format!("http://{}", weft.admin);
    let list = tests::node::weft(&["dead-letters", "list", "-o", "json", "--admin-url", &admin]);
    assert!(
        list.status.success(),
        "{}",
        String::from_utf8_lossy(&list.stderr)
    );
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let id = list["items"][0]["id"].to_string().replace('"', "");
    let show = tests::node::weft(&["dead-letters", "show", &id, "--admin-url", &admin]);
    let shown = String::from_utf8_lossy(&show.stdout).into_owned();
    for part in [
        "o-1",
        "order.placed",
        "amount",
        "422",
        "no such customer",
        "billing",
        "refused",
    ] {
        assert!(shown.contains(part), "{part} isn't shown:\n{shown}");
    }
}
