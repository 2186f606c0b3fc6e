//! `weft send`: events to a broker, and what it answered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::Event;
use event::http::{Out, encode, encode_batch};
use http::{HeaderMap, Method, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::LocalSet;

use crate::cli::{Mode, SEND_TO, SendArgs};
use crate::client::{self, Answer, Client};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::source::Source;
use crate::table::count;

/// How many refusals are printed in full; the rest is counted.
const REFUSALS_SHOWN_MAX: u64 = 5;

/// Sends what the flags say.
pub(crate) fn run(args: &SendArgs) -> Result<(), Failure> {
    let source = Source::open(args)?;
    let client =
        Client::new(&args.to, SEND_TO).map_err(|error| Failure::new(Exit::Usage, error))?;
    if client.path() == "/" {
        tracing::debug!("no path in the address: the node's default broker is meant");
    }
    super::block_on(LocalSet::new().run_until(send(args, source)))
}

/// What the senders share.
struct Shared {
    source: RefCell<Source>,
    tally: RefCell<Tally>,
    bar: ProgressBar,
    /// When the next event may go, with `--rate`.
    next_at: Cell<Instant>,
    single: bool,
}

/// What came back.
#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    by_status: std::collections::BTreeMap<u16, u64>,
    latencies: Vec<Duration>,
    unreachable: Option<client::Error>,
}

async fn send(args: &SendArgs, source: Source) -> Result<(), Failure> {
    let total = source.count();
    let single = total == 1;
    let started = Instant::now();
    let shared = Rc::new(Shared {
        source: RefCell::new(source),
        tally: RefCell::default(),
        bar: bar(total),
        next_at: Cell::new(started),
        single,
    });
    let mode = args.mode.unwrap_or(if args.file.is_some() {
        Mode::Structured
    } else {
        Mode::Binary
    });
    let senders = u64::from(args.concurrency).min(total);
    let plan = Plan {
        mode,
        batch: usize::from(args.batch_size),
        rate: args.rate,
    };
    let mut running = Vec::new();
    for _ in 0..senders {
        let client =
            Client::new(&args.to, SEND_TO).map_err(|error| Failure::new(Exit::Usage, error))?;
        running.push(tokio::task::spawn_local(sender(
            shared.clone(),
            client,
            plan,
        )));
    }
    for sender in running {
        sender.await.map_err(Failure::fault)?;
    }
    shared.bar.finish_and_clear();
    let tally = shared.tally.take();
    if !single {
        summary(&tally, total, started.elapsed());
    }
    if let Some(error) = tally.unreachable {
        return Err(unreachable(error));
    }
    match tally.refused {
        0 => Ok(()),
        _ => Err(Failure::said(Exit::Refused)),
    }
}

/// How events go out.
#[derive(Clone, Copy)]
struct Plan {
    mode: Mode,
    batch: usize,
    rate: Option<u64>,
}

/// Sends until there is nothing left, or nobody answers.
async fn sender(shared: Rc<Shared>, mut client: Client, plan: Plan) {
    loop {
        if shared.tally.borrow().unreachable.is_some() {
            return;
        }
        let size = if plan.mode == Mode::Batch {
            plan.batch
        } else {
            1
        };
        let events: Vec<Event> = {
            let mut source = shared.source.borrow_mut();
            std::iter::from_fn(|| source.next()).take(size).collect()
        };
        if events.is_empty() {
            return;
        }
        if let Some(rate) = plan.rate {
            let mine = shared.next_at.get();
            let share = Duration::from_secs_f64(events.len() as f64 / rate as f64);
            shared.next_at.set(mine + share);
            tokio::time::sleep_until(mine.into()).await;
        }
        let (headers, body) = message(&events, plan.mode);
        let path = client.path().to_owned();
        let began = Instant::now();
        match client.request(Method::POST, &path, &headers, body).await {
            Ok(answer) => took(&shared, &events, &answer, began.elapsed()),
            Err(error) => shared.tally.borrow_mut().unreachable = Some(error),
        }
        shared.bar.inc(events.len() as u64);
    }
}

fn message(events: &[Event], mode: Mode) -> (HeaderMap, Bytes) {
    let encoded = match (mode, events) {
        (Mode::Binary, [event]) => encode(&event.as_ref(), Out::Binary, &[], &[]),
        (Mode::Structured, [event]) => encode(&event.as_ref(), Out::Json, &[], &[]),
        _ => encode_batch(&events.iter().map(Event::as_ref).collect::<Vec<_>>()),
    };
    (encoded.headers, encoded.body)
}

/// Counts an answer, and prints it when it is the only one or a refusal.
fn took(shared: &Shared, events: &[Event], answer: &Answer, latency: Duration) {
    let mut tally = shared.tally.borrow_mut();
    let number = events.len() as u64;
    *tally.by_status.entry(answer.status.as_u16()).or_default() += number;
    tally.latencies.push(latency);
    if answer.status == StatusCode::ACCEPTED || answer.status.is_success() {
        tally.accepted += number;
        if shared.single {
            let event = events[0].as_ref();
            out::line(format_args!(
                "{} stored in {:.1} ms: {} id={} source={}",
                status(answer.status),
                latency.as_secs_f64() * 1e3,
                event.ty(),
                event.id(),
                event.source()
            ));
        }
        return;
    }
    tally.refused += number;
    if tally.refused <= REFUSALS_SHOWN_MAX {
        let text = refusal(events, answer);
        shared.bar.suspend(|| out::note(text));
    }
}

/// A refusal in full.
fn refusal(events: &[Event], answer: &Answer) -> String {
    let problem = answer.problem();
    let mut text = status(answer.status);
    match events {
        [event] => text.push_str(&format!(" event {} was not taken", event.as_ref().id())),
        _ => text.push_str(&format!(" {} events were not taken", events.len())),
    }
    if let Some(attribute) = &problem.attribute {
        text.push_str(&format!("\n  attribute  {attribute}"));
    }
    for line in problem.detail.lines() {
        text.push_str(&format!("\n  {line}"));
    }
    if let Some(after) = answer.headers.get(http::header::RETRY_AFTER) {
        text.push_str(&format!(
            "\n  try again in {} s",
            String::from_utf8_lossy(after.as_bytes())
        ));
    }
    text
}

fn status(status: StatusCode) -> String {
    format!(
        "{} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or("")
    )
    .trim_end()
    .into()
}

fn summary(tally: &Tally, total: u64, elapsed: Duration) {
    let answered = tally.accepted + tally.refused;
    let seconds = elapsed.as_secs_f64();
    out::line(format_args!(
        "{} of {} events stored in {seconds:.2} s, {} a second",
        count(tally.accepted),
        count(total),
        count((answered as f64 / seconds.max(1e-9)) as u64),
    ));
    if tally.refused > 0 {
        for (status, number) in tally.by_status.iter().filter(|(status, _)| **status >= 300) {
            out::line(format_args!("  {} answered {status}", count(*number)));
        }
    }
    let mut sorted = tally.latencies.clone();
    sorted.sort_unstable();
    if let (Some(slowest), false) = (sorted.last(), sorted.is_empty()) {
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64();
        out::line(format_args!(
            "  answered within p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
            at(0.5) * 1e3,
            at(0.99) * 1e3,
            slowest.as_secs_f64() * 1e3
        ));
    }
}

fn bar(total: u64) -> ProgressBar {
    if total == 1 || !out::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "  {bar:40} {human_pos}/{human_len} events  {per_sec}  {eta} left",
    );
    match style {
        Ok(style) => ProgressBar::new(total).with_style(style),
        Err(_) => ProgressBar::new(total),
    }
}

fn unreachable(error: client::Error) -> Failure {
    let failure = Failure::new(Exit::Unreachable, &error);
    match error {
        client::Error::Unreachable { .. } => failure.cure(
            "is the broker running? start it with `weft run DIR`, or name another with --to URL",
        ),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_refusal_names_the_attribute_and_the_detail() {
        let event = Event::build("o-1", "/s", "t").finish().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "5".parse().unwrap());
        let answer = Answer {
            status: StatusCode::BAD_REQUEST,
            headers,
            body:
                r#"{"title":"bad event","detail":"attribute source is empty","attribute":"source"}"#
                    .into(),
        };
        expect![[r#"
            400 Bad Request event o-1 was not taken
              attribute  source
              attribute source is empty
              try again in 5 s"#]]
        .assert_eq(&refusal(&[event], &answer));
    }

    #[test]
    fn each_mode_has_its_content_type() {
        let event = Event::build("o-1", "/s", "t")
            .datacontenttype("text/plain")
            .data("hi")
            .finish()
            .unwrap();
        let content_type = |mode, events: &[Event]| {
            message(events, mode)
                .0
                .get("content-type")
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        let one = [event.clone()];
        assert_eq!(content_type(Mode::Binary, &one), "text/plain");
        assert!(content_type(Mode::Structured, &one).starts_with("application/cloudevents+json"));
        let batch = content_type(Mode::Batch, &[event.clone(), event]);
        assert!(
            batch.starts_with("application/cloudevents-batch+json"),
            "{batch}"
        );
    }
}
