//! `kill -9` again and again, under load, with functions that answer, fail and stall: what was answered 202 is
//! delivered, and only what was in the air or answered just now is delivered again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tests::http::{Function, Received};
use tests::node::Weft;
use tests::{Seed, proof};

use super::load::{Acknowledged, Came, Load, PLACED, Plan, number, small, ty};
use crate::{Folders, trigger};

const ROW: &str = "kill -9";

/// Answers everything.
const ALL: &str = "/all";
/// Fails the first two attempts of some.
const FAILS: &str = "/fails";
/// Keeps some waiting.
const STALLS: &str = "/stalls";

const STALL: Duration = Duration::from_millis(150);

/// What is set aside was in the air at so many kills at least, as far as the functions can tell: of the three or
/// four that it takes, one may come when the request has not left yet.
const KILLS_TO_SET_ASIDE: usize = 2;

/// One of so many kills may be the last that sets something aside.
const SET_ASIDE_ONE_OF: u64 = 20;

/// What the functions answer: always the same to the same attempt.
fn answer(path: &str, id: &str, attempt: u32) -> u16 {
    match path == FAILS && number(id).is_multiple_of(16) && attempt <= 2 {
        true => 503,
        false => 200,
    }
}

fn stalls(path: &str, id: &str) -> bool {
    path == STALLS && number(id).is_multiple_of(50)
}

/// Who wants an event of this type.
fn wanted_by(ty: &str) -> &'static [&'static str] {
    match ty == PLACED {
        true => &[ALL, STALLS, FAILS],
        false => &[ALL, STALLS],
    }
}

/// One data folder, many lives of 5 to 500 ms under load, then a last one that settles.
#[test]
fn kills_under_load_lose_nothing_that_was_acknowledged() {
    let cycles = proof::size(200, 15);
    let mut seed = Seed::or(8841);
    eprintln!("SEED={}", seed.number);
    let function = Function::start(|request| {
        let (path, id) = (request.target(), request.header("ce-id"));
        if stalls(path, id) {
            std::thread::sleep(STALL);
        }
        let attempt = request.header("weft-attempt").parse().unwrap_or(0);
        answer(path, id, attempt)
    });
    let folders = Folders::new();
    let delivery = "{retry: 10, backoffPolicy: linear, backoffDelay: PT0.05S}";
    let placed = format!("[{{exact: {{type: {PLACED}}}}}]");
    for (name, filters) in [("all", "[]"), ("stalls", "[]"), ("fails", placed.as_str())] {
        let yaml = trigger(name, filters, &function.uri(&format!("/{name}")), delivery);
        folders.write(&format!("{name}.yaml"), &yaml);
    }

    let load = Load::start(
        Plan {
            publishers: 4,
            events_max: usize::MAX,
            data_bytes: small,
            pause: Duration::ZERO,
        },
        || 0,
    );
    let mut kills = Vec::new();
    let mut weft = folders.start().run();
    for _ in 0..cycles {
        load.aim(weft.ingress);
        std::thread::sleep(Duration::from_millis(seed.within(5..501)));
        let began = Instant::now();
        weft.kill();
        weft = folders.start().run();
        kills.push((began, Instant::now()));
    }
    let came = load.end();
    weft.until_settled();
    let set_aside = set_aside(&weft);
    weft.kill();

    let kills: Vec<Kill<'_>> = kills
        .into_iter()
        .map(|(began, ended)| {
            let seen = came.acknowledged.iter().filter(|event| event.seen <= began);
            let latest = seen.max_by_key(|event| event.sent);
            Kill {
                began,
                ended,
                latest,
            }
        })
        .collect();
    let received = function.received();
    let mut got: BTreeMap<(&str, &str), Vec<&Received>> = BTreeMap::new();
    for one in &received {
        let key = (one.request.target(), one.id());
        got.entry(key).or_default().push(one);
    }
    let lost: Vec<String> = came
        .acknowledged
        .iter()
        .flat_map(|event| wanted_by(event.ty).iter().map(move |path| (*path, event)))
        .filter(|(path, event)| {
            if set_aside.contains(&(path.to_string(), event.id.clone())) {
                return false;
            }
            let attempts = got.get(&(*path, event.id.as_str()));
            !attempts.is_some_and(|attempts| attempts.iter().any(|one| is_taken(one)))
        })
        .map(|(path, event)| format!("{path} {}", event.id))
        .collect();
    let (mut again, mut wrong) = (0, Vec::new());
    for ((path, id), attempts) in &mut got {
        if !wanted_by(ty(number(id))).contains(path) {
            wrong.push(format!("{path} {id} isn't wanted there"));
        }
        attempts.sort_by_key(|one| one.began);
        for pair in attempts.windows(2) {
            let [before, next] = [pair[0], pair[1]];
            if !is_taken(before) && next.attempt() == before.attempt() + 1 {
                continue;
            }
            again += 1;
            if !is_again(&came, before, next, &kills) {
                wrong.push(format!("{path} {id}: {}", apart(before, next, &kills)));
            }
        }
    }
    // Several kills in a row look as if it were what ends the process; nothing else may end so.
    let innocent = set_aside.iter().filter_map(|(path, id)| {
        let attempts = got.get(&(path.as_str(), id.as_str()));
        let attempts = attempts.map_or(&[][..], Vec::as_slice);
        let times = kills_in_the_air(&came, attempts, &kills);
        let few = times < KILLS_TO_SET_ASIDE;
        few.then(|| format!("{path} {id} was set aside, and was in the air at {times} kills"))
    });
    wrong.extend(innocent);
    proof::report(
        ROW,
        &[
            ("cycles", cycles),
            ("published", came.tried as u64),
            ("acknowledged", came.acknowledged.len() as u64),
            ("requests", received.len() as u64),
            ("of them again", again),
            ("set aside", set_aside.len() as u64),
            ("lost", lost.len() as u64),
        ],
    );
    let seed = seed.number;
    assert!(lost.is_empty(), "LOST with SEED={seed}: {lost:?}");
    assert!(wrong.is_empty(), "WRONG with SEED={seed}: {wrong:#?}");
    let most = 1 + cycles / SET_ASIDE_ONE_OF;
    let aside = set_aside.len() as u64;
    assert!(aside <= most, "{aside} were set aside, at most {most}");
    let load = came.acknowledged.len() as u64;
    assert!(load > cycles * 20, "there was load: {load}");
    let failed = received.iter().filter(|one| !is_taken(one));
    let failed: BTreeSet<&str> = failed.map(|one| one.request.target()).collect();
    assert!(failed.contains(FAILS), "something failed");
}

/// What ended as a dead letter, by path and id: of no other cause than having been in the air at several kills.
fn set_aside(weft: &Weft) -> BTreeSet<(String, String)> {
    let list = weft.admin("/api/v1/dead-letters?limit=1000").text();
    let list: serde_json::Value = serde_json::from_str(&list).expect("the list is JSON");
    let letters = list["items"].as_array().expect("it has letters");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    letters
        .iter()
        .map(|letter| {
            assert_eq!(letter["cause"], "poison", "{letter}");
            let trigger = text(&letter["trigger"]).replace("default/", "/");
            (trigger, text(&letter["event"]["id"]))
        })
        .collect()
}

/// Whether the function had accepted it.
fn is_taken(one: &Received) -> bool {
    one.ended.is_some() && answer(one.request.target(), one.id(), one.attempt()) == 200
}

/// A kill: when, and what had been acknowledged.
struct Kill<'a> {
    began: Instant,
    /// The next life is ready. What the one before had sent is read by then, or hardly later than the kill.
    ended: Instant,
    /// The event acknowledged before it that was published last.
    latest: Option<&'a Acknowledged>,
}

/// How many of these attempts a kill cut short, or came so shortly after that it need not be known. Each is of
/// one life, so as many kills found the delivery in the air.
fn kills_in_the_air(came: &Came, attempts: &[&Received], kills: &[Kill<'_>]) -> usize {
    let cut = |one: &&&Received| kills.iter().any(|kill| is_cut(came, one, kill));
    attempts.iter().filter(cut).count()
}

/// Whether this kill found that attempt in the air, or answered just now.
fn is_cut(came: &Came, attempt: &Received, kill: &Kill<'_>) -> bool {
    let is_unnoted = |answered| !came.is_noted(answered, kill.latest);
    attempt.began <= kill.ended && attempt.ended.is_none_or(is_unnoted)
}

/// Whether a kill lies between the two, and the first was in the air then, or answered so shortly before that
/// it need not be known: that attempt, or the last few, may be made again.
fn is_again(came: &Came, before: &Received, next: &Received, kills: &[Kill<'_>]) -> bool {
    let unnoted = |kill: &Kill<'_>| kill.began <= next.began && is_cut(came, before, kill);
    next.attempt() <= before.attempt() && kills.iter().any(unnoted)
}

/// What is wrong about two requests of one delivery.
fn apart(before: &Received, next: &Received, kills: &[Kill<'_>]) -> String {
    let between = kills.iter().map(|kill| kill.began);
    let between = between.filter(|began| before.began <= *began && *began <= next.began);
    let answered = before.ended.unwrap_or(before.began);
    let ages: Vec<Duration> = between
        .map(|kill| kill.saturating_duration_since(answered))
        .collect();
    let (first, second) = (before.attempt(), next.attempt());
    format!("attempt {second} after {first}, which was answered {ages:?} before kills")
}

/// An attempt counts where it was in the air at a kill, or answered just before one, and not where its answer was
/// noted long since.
#[test]
fn attempts_that_kills_cut_short_are_counted() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let sent = |ms| Acknowledged {
        id: "00-000001".to_owned(),
        ty: PLACED,
        sent: at(ms),
        seen: at(ms),
        at: 0,
    };
    let (first, second) = (sent(900), sent(1900));
    let kill = |ms, latest| Kill {
        began: at(ms),
        ended: at(ms + 100),
        latest: Some(latest),
    };
    let kills = [kill(1000, &first), kill(2000, &second)];
    let attempt = |began, ended: Option<u64>| Received {
        request: tests::http::Message {
            start: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
        },
        began: at(began),
        ended: ended.map(at),
    };
    let count = |attempts: &[Received]| {
        let attempts: Vec<&Received> = attempts.iter().collect();
        kills_in_the_air(&Came::default(), &attempts, &kills)
    };
    assert_eq!(count(&[attempt(500, Some(510)), attempt(2200, None)]), 0);
    assert_eq!(count(&[attempt(950, None)]), 1);
    assert_eq!(count(&[attempt(950, None), attempt(1950, Some(1960))]), 2);
}
