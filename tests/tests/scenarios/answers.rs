//! What each answer of a function means: contract §2's table, row by row.

use std::fmt::Write as _;
use std::time::Duration;

use broker::records::Cause;
use expect_test::{Expect, expect};
use tests::{
    Script, Terms, World, after, always, garbles, hangs, order_placed, refuses_connection, replies,
    replies_with, resets, terms,
};

/// One trigger for each script, each with two retries, and what came of one event.
async fn check(scripts: Vec<(&str, Script)>, with: impl Fn(Terms) -> Terms, expect: Expect) {
    let mut builder = World::new();
    for (name, script) in scripts {
        let two_retries = terms().retry(2).backoff("linear", "PT1S").timeout("PT5S");
        builder = builder
            .trigger(name, tests::ty("order.placed"), with(two_retries))
            .sink(name, script);
    }
    let world = builder.start().await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect);
}

#[tokio::test(start_paused = true)]
async fn every_status_ends_as_the_table_says() {
    let statuses: Vec<u16> = [
        100, 199, 200, 201, 202, 203, 204, 206, 299, 300, 301, 302, 304, 307, 308, 399, 400, 401,
        402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421,
        422, 423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511,
        520, 599, 600,
    ]
    .into();
    let names: Vec<String> = statuses.iter().map(|status| format!("s{status}")).collect();
    let scripts = names.iter().zip(statuses);
    let scripts = scripts
        .map(|(name, status)| (name.as_str(), always(status)))
        .collect();
    check(
        scripts,
        |terms| terms,
        expect![[r#"
        s100  o-1  100  dead{refused}
        s199  o-1  199  dead{refused}
        s200  o-1  200  delivered
        s201  o-1  201  delivered
        s202  o-1  202  delivered
        s203  o-1  203  delivered
        s204  o-1  204  delivered
        s206  o-1  206  delivered
        s299  o-1  299  delivered
        s300  o-1  300  dead{refused}
        s301  o-1  301  dead{refused}
        s302  o-1  302  dead{refused}
        s304  o-1  304  dead{refused}
        s307  o-1  307  dead{refused}
        s308  o-1  308  dead{refused}
        s399  o-1  399  dead{refused}
        s400  o-1  400  dead{refused}
        s401  o-1  401  dead{refused}
        s402  o-1  402  dead{refused}
        s403  o-1  403  dead{refused}
        s404  o-1  404 404 404  dead{exhausted}
        s405  o-1  405  dead{refused}
        s406  o-1  406  dead{refused}
        s407  o-1  407  dead{refused}
        s408  o-1  408 408 408  dead{exhausted}
        s409  o-1  409 409 409  dead{exhausted}
        s410  o-1  410  dead{refused}
        s411  o-1  411  dead{refused}
        s412  o-1  412  dead{refused}
        s413  o-1  413  dead{refused}
        s414  o-1  414  dead{refused}
        s415  o-1  415  dead{refused}
        s416  o-1  416  dead{refused}
        s417  o-1  417  dead{refused}
        s418  o-1  418  dead{refused}
        s421  o-1  421  dead{refused}
        s422  o-1  422  dead{refused}
        s423  o-1  423  dead{refused}
        s424  o-1  424  dead{refused}
        s425  o-1  425  dead{refused}
        s426  o-1  426  dead{refused}
        s428  o-1  428  dead{refused}
        s429  o-1  429 429 429  dead{exhausted}
        s431  o-1  431  dead{refused}
        s451  o-1  451  dead{refused}
        s499  o-1  499  dead{refused}
        s500  o-1  500 500 500  dead{exhausted}
        s501  o-1  501 501 501  dead{exhausted}
        s502  o-1  502 502 502  dead{exhausted}
        s503  o-1  503 503 503  dead{exhausted}
        s504  o-1  504 504 504  dead{exhausted}
        s505  o-1  505 505 505  dead{exhausted}
        s507  o-1  507 507 507  dead{exhausted}
        s511  o-1  511 511 511  dead{exhausted}
        s520  o-1  520 520 520  dead{exhausted}
        s599  o-1  599 599 599  dead{exhausted}
        s600  o-1  600 600 600  dead{exhausted}
    "#]],
    )
    .await;
}

/// Between the rows of the table above, every other status behaves as its class does.
#[tokio::test(start_paused = true)]
async fn there_is_no_status_without_a_meaning() {
    let mut lines = String::new();
    for hundred in (100..1_000).step_by(100) {
        let mut builder = World::new();
        for status in hundred..hundred + 100 {
            let name = format!("s{status}");
            builder = builder
                .trigger(&name, tests::everything(), terms().retry(1).no_jitter())
                .sink(&name, always(status));
        }
        let world = builder.start().await;
        world.publish(order_placed("o-1")).await;
        world.until_settled().await;
        let attempts = |status: u16| world.calls_of(&format!("s{status}"), "o-1").len();
        let retried = (hundred..hundred + 100).filter(|status| attempts(*status) == 2);
        let retried: Vec<u16> = retried.collect();
        let books = world.report().await.books;
        let (delivered, dead) = (books.delivered, books.dead());
        let (refused, exhausted) = (Cause::Refused as usize, Cause::Exhausted as usize);
        assert_eq!(books.dead[exhausted] as usize, retried.len());
        assert_eq!(dead, books.dead[refused] + books.dead[exhausted]);
        let shown = match retried.len() {
            0 => "none".to_owned(),
            100 => "all".to_owned(),
            _ => format!("{retried:?}"),
        };
        writeln!(
            lines,
            "{hundred}: {shown} retried, {delivered} delivered, {dead} dead"
        )
        .unwrap();
    }
    expect![[r#"
        100: none retried, 0 delivered, 100 dead
        200: none retried, 100 delivered, 0 dead
        300: none retried, 0 delivered, 100 dead
        400: [404, 408, 409, 429] retried, 0 delivered, 100 dead
        500: all retried, 0 delivered, 100 dead
        600: all retried, 0 delivered, 100 dead
        700: all retried, 0 delivered, 100 dead
        800: all retried, 0 delivered, 100 dead
        900: all retried, 0 delivered, 100 dead
    "#]]
    .assert_eq(&lines);
}

/// GUARANTEES 4: a policy's word beats the table's, for each status by itself.
#[tokio::test(start_paused = true)]
async fn a_policy_judges_statuses_its_own_way() {
    let policy = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: own}
spec: {retry: {on: [402, 410, 425], never: [404, 409, 501, 503]}}
";
    let statuses = [
        200, 302, 402, 404, 408, 409, 410, 422, 425, 429, 500, 501, 503,
    ];
    let mut builder = World::new().file("own.yaml", policy);
    for status in statuses {
        let name = format!("s{status}");
        let own = terms().retry(2).policy("own");
        builder = builder
            .trigger(&name, tests::everything(), own)
            .sink(&name, always(status));
    }
    let world = builder.start().await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        s200  o-1  200  delivered
        s302  o-1  302  dead{refused}
        s402  o-1  402 402 402  dead{exhausted}
        s404  o-1  404  dead{refused}
        s408  o-1  408 408 408  dead{exhausted}
        s409  o-1  409  dead{refused}
        s410  o-1  410 410 410  dead{exhausted}
        s422  o-1  422  dead{refused}
        s425  o-1  425 425 425  dead{exhausted}
        s429  o-1  429 429 429  dead{exhausted}
        s500  o-1  500 500 500  dead{exhausted}
        s501  o-1  501  dead{refused}
        s503  o-1  503  dead{refused}
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_a_failed_attempt_like_a_5xx() {
    let late = after(Duration::from_secs(6));
    let in_time = after(Duration::from_millis(4900));
    check(
        vec![
            ("hangs", hangs()),
            ("late", late),
            ("in-time", in_time),
            ("refuses", refuses_connection()),
            ("resets", resets()),
            ("recovers", refuses_connection().times(2).then(200)),
        ],
        |terms| terms,
        expect![[r#"
            hangs     o-1  timeout timeout timeout  dead{exhausted}
            in-time   o-1  200  delivered
            late      o-1  timeout timeout timeout  dead{exhausted}
            recovers  o-1  refused refused 200  delivered
            refuses   o-1  refused refused refused  dead{exhausted}
            resets    o-1  reset reset reset  dead{exhausted}
        "#]],
    )
    .await;
}

/// Function runtimes answer `OK` or `{"ok":true}`: delivered, and counted.
#[tokio::test(start_paused = true)]
async fn lenient_replies_ignore_what_does_not_claim_to_be_an_event() {
    check(
        vec![
            ("empty", always(200)),
            ("ok", always(200).body("OK")),
            ("created", always(201).body("{\"ok\":true}")),
            ("accepted", always(202).body("OK")),
            ("accepted-event", replies_with(202, "order.billed")),
            ("event", replies("order.billed")),
            ("garbled", garbles()),
        ],
        |terms| terms,
        expect![[r#"
            accepted        o-1  202  delivered
            accepted-event  o-1  202+reply  delivered
            created         o-1  201  delivered
            empty           o-1  200  delivered
            event           o-1  200+reply  delivered
            garbled         o-1  200+garbled 200+garbled 200+garbled  dead{exhausted}
            ok              o-1  200  delivered
        "#]],
    )
    .await;
}

/// As Knative's brokers have it.
#[tokio::test(start_paused = true)]
async fn strict_replies_fail_what_is_not_an_event() {
    check(
        vec![
            ("empty", always(200)),
            ("ok", always(200).body("OK")),
            ("created", always(201).body("{\"ok\":true}")),
            ("accepted", always(202).body("OK")),
            ("event", replies("order.billed")),
            ("garbled", garbles()),
        ],
        Terms::strict,
        expect![[r#"
            accepted  o-1  202  delivered
            created   o-1  201 201 201  dead{exhausted}
            empty     o-1  200  delivered
            event     o-1  200+reply  delivered
            garbled   o-1  200+garbled 200+garbled 200+garbled  dead{exhausted}
            ok        o-1  200 200 200  dead{exhausted}
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn ignored_replies_are_counted() {
    let world = World::new()
        .trigger("billing", tests::everything(), terms())
        .sink("billing", always(200).body("OK"))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let tally = world.report().await.triggers[0].lane.tally;
    assert_eq!(
        (
            tally.attempts,
            tally.delivered,
            tally.replies_ignored,
            tally.replies
        ),
        (1, 1, 1, 0)
    );
}

/// The request says where it comes from, which attempt it is and until when it is tried.
#[tokio::test(start_paused = true)]
async fn a_request_carries_its_attempt_its_deadline_and_its_namespace() {
    let world = World::new()
        .trigger("patient", tests::everything(), terms())
        .trigger("terse", tests::everything(), terms().retry(1).no_jitter())
        .sink("patient", always(503).times(1).then(200))
        .sink("terse", always(503).times(1).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    let patient = world.calls_of("patient", "o-1");
    let attempts: Vec<u32> = patient.iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert!(patient.iter().all(|call| call.namespace == "default"));
    let day = 24 * 60 * 60 * 1000;
    let stored = tests::clock::BEGINNING.0;
    let deadline = patient[0].deadline.unwrap().0 - stored;
    assert!((day..day + 1000).contains(&deadline), "{deadline}");
    assert_eq!(patient[0].deadline, patient[1].deadline);
    assert_eq!(
        world.calls_of("terse", "o-1")[0].deadline,
        None,
        "`retry` is the limit there"
    );
    let [first, second] = [&patient[0], &patient[1]];
    assert_eq!(
        first.trace.trace_id, second.trace.trace_id,
        "one trace for all attempts"
    );
    assert_ne!(first.trace.span_id, second.trace.span_id, "a span for each");
    assert!(
        first
            .added("knativearrivaltime")
            .unwrap()
            .starts_with("2026-01-01T00:00:0")
    );
}
