//! Publishers that write down what was answered 202, and at which moment they saw it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tests::http::{Client, Message};

pub(crate) const PLACED: &str = "order.placed";
pub(crate) const RETURNED: &str = "order.returned";

/// What each event's data has at its beginning and at its end, before its id.
pub(crate) const BEGIN: &str = "\"begin\":\"";
pub(crate) const END: &str = "\"end\":\"";

/// One of so many events is large: its frame takes many blocks.
const LARGE_ONE_OF: usize = 20;
const LARGE_BYTES: usize = 40_000;

/// An event that was answered 202.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) id: String,
    pub(crate) ty: &'static str,
    pub(crate) sent: Instant,
    pub(crate) seen: Instant,
    /// The moment when it was seen, as the load was told to count them.
    pub(crate) at: usize,
}

/// What came of the load.
#[derive(Default)]
pub(crate) struct Came {
    pub(crate) tried: usize,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// What each 503 said.
    pub(crate) refused: Vec<String>,
    /// How late a thread came at the most: the machine may have other things to do.
    late: Duration,
}

/// What was answered is handed to the log within 50 ms, and lies before what is published then; the rest is
/// for this machine.
const NOTED_WITHIN: Duration = Duration::from_millis(50 + 200);

/// Between a function's answer and its record: the node's worker, the log's thread; and so much that the
/// publisher of a later event may have been quicker by.
const HAND_OVERS: u32 = 4;

impl Came {
    /// Whether a delivery that was answered then must be known to be, where these events were acknowledged:
    /// the latest of them was published so long after the answer that the answer lies before it.
    pub(crate) fn is_noted<'a>(
        &self,
        answered: Instant,
        acknowledged: impl IntoIterator<Item = &'a Acknowledged>,
    ) -> bool {
        let latest = acknowledged.into_iter().map(|event| event.sent).max();
        let within = NOTED_WITHIN + HAND_OVERS * self.late;
        latest.is_some_and(|latest| answered + within < latest)
    }
}

/// What is published.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) publishers: usize,
    /// Of each publisher.
    pub(crate) events_max: usize,
    /// Of a publisher's nth event.
    pub(crate) data_bytes: fn(usize) -> usize,
    /// Of a publisher, between two events.
    pub(crate) pause: Duration,
}

/// Several publishers, each with one connection, one event at a time.
pub(crate) struct Load {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<Came>>,
    metronome: JoinHandle<Duration>,
}

struct Shared {
    to: Mutex<Option<SocketAddr>>,
    ends: AtomicBool,
    acknowledged: AtomicUsize,
    plan: Plan,
    moment: Box<dyn Fn() -> usize + Send + Sync>,
}

impl Load {
    /// Starts the publishers, which wait until they are told where to. The moment is asked for behind each 202.
    pub(crate) fn start(plan: Plan, moment: impl Fn() -> usize + Send + Sync + 'static) -> Load {
        let shared = Arc::new(Shared {
            to: Mutex::new(None),
            ends: AtomicBool::new(false),
            acknowledged: AtomicUsize::new(0),
            plan,
            moment: Box::new(moment),
        });
        let publishers = (0..plan.publishers)
            .map(|publisher| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || publish(publisher, &shared))
            })
            .collect();
        let metronome = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || worst_lateness(&shared.ends))
        };
        Load {
            shared,
            publishers,
            metronome,
        }
    }

    /// From now on there.
    pub(crate) fn aim(&self, to: SocketAddr) {
        *self.shared.to.lock().expect("no publisher panicked") = Some(to);
    }

    /// How many were answered 202 so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether all has been published.
    pub(crate) fn is_done(&self) -> bool {
        self.publishers.iter().all(JoinHandle::is_finished)
    }

    /// Ends it.
    pub(crate) fn end(self) -> Came {
        self.shared.ends.store(true, Ordering::Relaxed);
        let mut all = Came::default();
        for publisher in self.publishers {
            let one = publisher.join().expect("no publisher panicked");
            all.tried += one.tried;
            all.acknowledged.extend(one.acknowledged);
            all.refused.extend(one.refused);
        }
        all.late = self.metronome.join().expect("it doesn't panic");
        all
    }
}

/// How much longer than asked for a short sleep took at the most.
fn worst_lateness(ends: &AtomicBool) -> Duration {
    const BEAT: Duration = Duration::from_millis(5);
    let mut worst = Duration::ZERO;
    while !ends.load(Ordering::Relaxed) {
        let began = Instant::now();
        std::thread::sleep(BEAT);
        worst = worst.max(began.elapsed().saturating_sub(BEAT));
    }
    worst
}

fn publish(publisher: usize, shared: &Shared) -> Came {
    let mut came = Came::default();
    let mut client: Option<Client> = None;
    let plan = &shared.plan;
    while came.tried < plan.events_max && !shared.ends.load(Ordering::Relaxed) {
        let Some(open) = &mut client else {
            let to = *shared.to.lock().expect("no publisher panicked");
            client = to.and_then(|to| Client::connect(to).ok());
            if client.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            continue;
        };
        let (id, ty) = (id(publisher, came.tried), ty(came.tried));
        let sent = Instant::now();
        let answer = send(open, &id, ty, (plan.data_bytes)(came.tried));
        came.tried += 1;
        match answer {
            Ok(answer) if answer.status() == 202 => {
                let at = (shared.moment)();
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                came.acknowledged.push(Acknowledged {
                    id,
                    ty,
                    sent,
                    seen: Instant::now(),
                    at,
                });
            }
            Ok(answer) => {
                assert_eq!(answer.status(), 503, "{}", answer.text());
                came.refused.push(answer.text());
            }
            // Nobody knows what became of it.
            Err(_) => client = None,
        }
        std::thread::sleep(plan.pause);
    }
    came
}

fn send(client: &mut Client, id: &str, ty: &str, bytes: usize) -> std::io::Result<Message> {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/shop"),
        ("ce-type", ty),
        ("content-type", "application/json"),
    ];
    let fill = "x".repeat(bytes);
    let data = format!("{{{BEGIN}{id}\",\"fill\":\"{fill}\",{END}{id}\"}}");
    client.call("POST", "/default/default", &headers, data.as_bytes())
}

/// All ids are of one length, so that none is the beginning of another.
fn id(publisher: usize, n: usize) -> String {
    format!("{publisher:02}-{n:06}")
}

/// The length of an id.
pub(crate) const ID_BYTES: usize = 9;

/// The number of a publisher's event.
pub(crate) fn number(id: &str) -> usize {
    let number = id.split_once('-').and_then(|(_, n)| n.parse().ok());
    number.expect("an id of ours")
}

/// The type of a publisher's nth event.
pub(crate) fn ty(n: usize) -> &'static str {
    match n.is_multiple_of(3) {
        true => PLACED,
        false => RETURNED,
    }
}

/// Small data.
pub(crate) fn small(_: usize) -> usize {
    10
}

/// Mostly small data, and some that is large.
pub(crate) fn mixed(n: usize) -> usize {
    match n % LARGE_ONE_OF {
        7 => LARGE_BYTES,
        _ => 100 + n * 37 % 1500,
    }
}
