//! A disk that fills up under load: refused at the door at once, delivered behind it, taken again when
//! there is room, and nothing lost (GUARANTEES 21).
//!
//! The disk is a small file system in a loop device, or where there are none in memory. Either needs
//! the right to mount; without it the test says loudly that it checked nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tests::http::{Client, Function};
use tests::node::{PATIENCE, Start, Weft, until};

use crate::{Folders, trigger};

const MIB: u64 = 1 << 20;

/// The file system's size, what the node must leave free of it, and the log's segments.
const DISK_BYTES: u64 = 48 * MIB;
const NODE: &str = "apiVersion: weft.dev/v1alpha1
kind: Node
metadata: {name: node}
spec:
  storage: {minFree: 8Mi, segmentBytes: 2Mi}
  limits: {eventBytes: 256Ki, batchBytes: 512Ki}
";

const PUBLISHERS: usize = 4;
const EVENT_BYTES: usize = 32 * 1024;

/// How long one delivery keeps the function, which takes one at a time: slower than they come in.
const DELIVERY: Duration = Duration::from_millis(4);

/// Within this a publisher is refused. On a machine that does nothing else all are; where others want the
/// processor too at least half are, and the rest are printed.
const REFUSED_WITHIN: Duration = Duration::from_millis(50);

/// How many are refused before the publishers rest.
const REFUSALS: usize = 400;

/// A small file system, unmounted at the end.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one in this folder, and says what it is; `None` where that isn't allowed.
    fn mount(root: &Path) -> Option<(SmallDisk, &'static str)> {
        let at = root.join("disk");
        let image = root.join("image");
        std::fs::create_dir(&at).expect("a folder can be made");
        let file = std::fs::File::create(&image).expect("a file can be made");
        file.set_len(DISK_BYTES).expect("it can be sparse");
        let made = did(Command::new("mkfs.ext4").arg("-q").arg(&image));
        if made
            && did(Command::new("mount")
                .args(["-o", "loop"])
                .args([&image, &at]))
        {
            return Some((SmallDisk { at }, "ext4 in a loop device"));
        }
        let size = format!("size={DISK_BYTES}");
        let memory = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        did(Command::new("mount").args(memory).arg(&at)).then_some((SmallDisk { at }, "tmpfs"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if !did(Command::new("umount").arg(&self.at)) {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}

fn did(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What came of the load.
#[derive(Default)]
struct Load {
    acknowledged: Vec<String>,
    /// How long each refusal took.
    refused: Vec<Duration>,
}

impl Load {
    /// Whether publishers were refused at once; says how soon.
    fn is_refused_at_once(&mut self) -> bool {
        self.refused.sort_unstable();
        let of = |part: usize| self.refused[(self.refused.len() - 1) * part / 100];
        let (half, most, worst) = (of(50), of(99), of(100));
        eprintln!("refused: half within {half:?}, 99 % within {most:?}, the slowest in {worst:?}");
        half <= REFUSED_WITHIN
    }
}

/// Publishes from several connections until `ends`.
fn publish(node: &Weft, part: &str, ends: impl Fn(&Load) -> bool + Sync) -> Load {
    let load = Mutex::new(Load::default());
    let body = vec![b'x'; EVENT_BYTES];
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (load, body, ends) = (&load, &body, &ends);
            scope.spawn(move || {
                let mut client = node.client();
                for n in 0.. {
                    if ends(&look(load)) {
                        return;
                    }
                    let id = format!("{part}-{publisher}-{n}");
                    let began = Instant::now();
                    let status = publish_one(&mut client, &id, body);
                    let took = began.elapsed();
                    match status {
                        202 => look(load).acknowledged.push(id),
                        _ => {
                            look(load).refused.push(took);
                            // A polite publisher would wait for Retry-After; this one nearly doesn't.
                            std::thread::sleep(Duration::from_millis(2));
                        }
                    }
                }
            });
        }
    });
    load.into_inner().expect("no publisher panicked")
}

fn look<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("no publisher panicked")
}

/// 202, or 503 with when to come again.
fn publish_one(client: &mut Client, id: &str, body: &[u8]) -> u16 {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/shop"),
        ("ce-type", "order.placed"),
        ("content-type", "text/plain"),
    ];
    let answer = client
        .call("POST", "/default/default", &headers, body)
        .expect("ingress answers");
    if answer.status() != 202 {
        assert_eq!(answer.status(), 503, "{}", answer.text());
        let after: u32 = answer.header("retry-after").parse().expect("seconds");
        assert!(after > 0, "a time to wait");
        assert!(answer.text().contains("no-space"), "{}", answer.text());
    }
    answer.status()
}

#[test]
fn a_disk_that_fills_under_load_refuses_at_once_and_recovers_by_itself() {
    let folders = Folders::new();
    let Some((disk, kind)) = SmallDisk::mount(folders.root.path()) else {
        tests::proof::skipped("a disk that fills up", "no file system can be mounted here");
        return;
    };
    let one_at_a_time = Mutex::new(());
    let answered = Arc::new(Mutex::new(BTreeSet::new()));
    let quick = Arc::new(AtomicBool::new(false));
    let (seen, hurries) = (Arc::clone(&answered), Arc::clone(&quick));
    let deliveries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&deliveries);
    let function = Function::start(move |request| {
        if !hurries.load(Ordering::Relaxed) {
            let _turn = one_at_a_time.lock().unwrap();
            std::thread::sleep(DELIVERY);
        }
        seen.lock()
            .unwrap()
            .insert(request.header("ce-id").to_owned());
        count.fetch_add(1, Ordering::Relaxed);
        200
    });
    folders.write("node.yaml", NODE);
    let yaml = trigger("billing", "[]", &function.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let start = Start::new(&folders.yaml(), &disk.at.join("data"));
    let node = start.run();
    // The events fill it: the function is slower than the publishers.
    let full = AtomicUsize::new(usize::MAX);
    let mut load = publish(&node, "load", |load| {
        if !load.refused.is_empty() {
            full.fetch_min(deliveries.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        load.refused.len() >= REFUSALS
    });
    let after = deliveries.load(Ordering::Relaxed);
    let when_full = full.load(Ordering::Relaxed);
    eprintln!(
        "{kind}: {} acknowledged, {} refused; \
         {when_full} delivered when the disk was full, {after} when the load ended",
        load.acknowledged.len(),
        load.refused.len(),
    );
    assert!(load.is_refused_at_once());
    assert!(when_full < after, "deliveries go on while it is full");
    let owed = node.books("owed");
    assert!(owed > 0, "it was what is owed that filled it");

    // Nobody does anything: what is delivered makes room.
    let mut client = node.client();
    let body = vec![b'x'; EVENT_BYTES];
    let mut acknowledged = load.acknowledged;
    let began = Instant::now();
    until("taken again", 6 * PATIENCE, || {
        (publish_one(&mut client, "again", &body) == 202).then_some(())
    });
    eprintln!(
        "taken again after {:?}, {} still owed",
        began.elapsed(),
        node.books("owed")
    );
    acknowledged.push("again".to_owned());
    quick.store(true, Ordering::Relaxed);
    node.until_settled();

    // Somebody else fills it, and takes their file away again.
    quick.store(false, Ordering::Relaxed);
    let filler = disk.at.join("filler");
    fill(&filler);
    let mut refused = publish(&node, "filled", |load| load.refused.len() >= REFUSALS);
    eprintln!(
        "filled by another: {} acknowledged first",
        refused.acknowledged.len()
    );
    assert!(refused.is_refused_at_once());
    acknowledged.append(&mut refused.acknowledged);
    quick.store(true, Ordering::Relaxed);
    node.until_settled();
    std::fs::remove_file(&filler).expect("it is there");
    until("taken again", PATIENCE, || {
        (publish_one(&mut client, "at-last", &body) == 202).then_some(())
    });
    acknowledged.push("at-last".to_owned());
    node.until_settled();
    let answered = answered.lock().unwrap();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !answered.contains(*id))
        .collect();
    eprintln!("{} acknowledged, {} lost", acknowledged.len(), lost.len());
    assert!(lost.is_empty(), "LOST {lost:?}");
    assert_eq!(node.status()["deadLetters"], 0);
    node.terminate();
    assert_eq!(node.wait().0, 0);
}

/// Writes a file until nothing more fits.
fn fill(filler: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(filler).expect("a file can be made");
    let chunk = vec![1; 256 * 1024];
    while file.write_all(&chunk).is_ok() {}
    // What didn't fit whole may fit in part.
    while file.write_all(&chunk[..4096]).is_ok() {}
    drop(file.sync_all());
}
