//! A node under load on our disk, and all that the disk was told meanwhile.
//!
//! Two triggers want each event. One's function answers 200, so there is what routing and settling write;
//! the other's answers nothing but 503, so each event stays owed to it, and must be there after a loss of
//! power at any later moment.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::http::{Function, Received};
use tests::node::{PATIENCE, Start, Weft, until};

use super::blocks::Blocks;
use super::disk::{Disk, Done};
use super::drive::{Class, Drive, extents};
use super::load::{Came, Load, Plan, mixed};
use crate::{Folders, trigger};

const MIB: u64 = 1 << 20;

/// The disk's size.
const DISK_BYTES: u64 = 128 * MIB;

/// A flush takes this long, as on a good drive. Whoever answers before it has ended is found out.
const FLUSH_TAKES: Duration = Duration::from_millis(2);

/// Small segments, and little history: the log changes its segments, and takes old ones again.
const NODE: &str = "apiVersion: weft.dev/v1alpha1
kind: Node
metadata: {name: node}
spec:
  storage: {minFree: 8Mi, segmentBytes: 1Mi, retention: {events: PT1S}}
  limits: {eventBytes: 64Ki, batchBytes: 128Ki}
";

/// Where the trigger's deliveries go whose function answers, and the other's.
pub(crate) const SETTLED: &str = "/settled";
pub(crate) const OWED: &str = "/owed";

/// Attempts without end, and none of them late.
const PATIENT: &str = "{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.1S}";

/// The node's YAML, with the two triggers' functions there.
pub(crate) fn yaml(function: &Function) -> Folders {
    let folders = Folders::new();
    folders.write("node.yaml", NODE);
    for (name, path) in [("settled", SETTLED), ("owed", OWED)] {
        let yaml = trigger(name, "[]", &function.uri(path), PATIENT);
        folders.write(&format!("{name}.yaml"), &yaml);
    }
    folders
}

/// How the node is started with this YAML, on a drive that is mounted there.
pub(crate) fn start(folders: &Folders, mounted: &Path) -> Start {
    Start::new(&folders.yaml(), &data(mounted))
}

/// The data folder of a node on a drive that is mounted there.
pub(crate) fn data(mounted: &Path) -> PathBuf {
    mounted.join("data")
}

/// An empty file system on a disk of ours.
///
/// # Errors
///
/// What this machine can't do.
pub(crate) fn fresh() -> Result<(Arc<Disk>, Drive), String> {
    let disk = Disk::new(Blocks::zeros(DISK_BYTES), FLUSH_TAKES);
    let drive = Drive::attach(&disk)?;
    drive.format()?;
    disk.forget();
    Ok((disk, drive))
}

/// Files of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Files {
    /// The first block of each segment of the log, and of what is to become one.
    LogHeaders,
    /// All of what is kept of segments that went.
    Kept,
    /// The view.
    View,
}

/// A segment's header takes a block.
const HEADER_BYTES: u64 = 4096;

/// A node under load on our disk.
pub(crate) struct Recording {
    class: Class,
    pub(crate) weft: Weft,
    pub(crate) load: Load,
    pub(crate) disk: Arc<Disk>,
    function: Function,
    // After the node, which has files open there.
    drive: Drive,
    folders: Folders,
}

impl Recording {
    /// Starts a node of this class, and so many publishers of at most so many events each, which rest in
    /// between.
    ///
    /// # Errors
    ///
    /// What this machine can't do.
    pub(crate) fn begin(
        class: Class,
        publishers: usize,
        events_max: usize,
        pause: Duration,
    ) -> Result<Recording, String> {
        // The nodes that are started on what this one leaves ask there first.
        let function = Function::start_apart(|request| match request.target() {
            OWED => 503,
            _ => 200,
        });
        let folders = yaml(&function);
        let (disk, drive) = fresh()?;
        let mounted = drive.mount(class)?;
        let moments = Arc::clone(&disk);
        let load = Load::start(
            Plan {
                publishers,
                events_max,
                data_bytes: mixed,
                pause,
            },
            move || moments.position(),
        );
        let weft = start(&folders, mounted).run();
        assert_eq!(weft.status()["durability"], class.name());
        load.aim(weft.ingress);
        Ok(Recording {
            class,
            weft,
            load,
            disk,
            function,
            drive,
            folders,
        })
    }

    /// Where on the disk such files lie now.
    ///
    /// # Errors
    ///
    /// What this machine can't do.
    pub(crate) fn places(&self, of: Files) -> Result<Vec<Range<u64>>, String> {
        let data = data(self.drive.folder());
        let (folder, within) = match of {
            Files::LogHeaders => (data.join("log"), 0..HEADER_BYTES),
            Files::Kept => (data.join("kept"), 0..u64::MAX),
            Files::View => return extents(&data.join("view.redb"), &(0..u64::MAX)),
        };
        let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut places = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            places.extend(extents(&path, &within)?);
        }
        Ok(places)
    }

    /// Kills the node and starts another on what it left.
    pub(crate) fn killed(self) -> Recording {
        self.weft.kill();
        let weft = start(&self.folders, self.drive.folder()).run();
        self.load.aim(weft.ingress);
        Recording { weft, ..self }
    }

    /// What was recorded, once the node is gone.
    pub(crate) fn end(self) -> Recorded {
        let mut weft = self.weft;
        if !weft.has_ended() {
            weft.kill();
        }
        let (base, log) = self.disk.log();
        let came = self.load.end();
        let mut answered = BTreeMap::new();
        self.function.look(|received| {
            let settled = |one: &&Received| one.request.target() == SETTLED;
            for one in received.iter().filter(settled) {
                // The last time: in between the node may have been killed.
                answered.insert(one.id().to_owned(), one.ended.unwrap_or(one.began));
            }
        });
        Recorded {
            class: self.class,
            base,
            log,
            came,
            answered,
        }
    }
}

/// What was recorded.
pub(crate) struct Recorded {
    /// How the node got at its files.
    pub(crate) class: Class,
    /// What the disk held before the node was started first.
    pub(crate) base: Blocks,
    /// What the disk did since.
    pub(crate) log: Vec<Done>,
    /// What the publishers saw; their moments are lengths of the log.
    pub(crate) came: Came,
    /// When the settled trigger's function answered each event.
    pub(crate) answered: BTreeMap<String, Instant>,
}

impl Recorded {
    /// Runs nodes, each killed but the last, until so many publishers have published so many events each.
    ///
    /// # Errors
    ///
    /// What this machine can't do.
    pub(crate) fn run(
        class: Class,
        lives: usize,
        publishers: usize,
        events: usize,
        pause: Duration,
    ) -> Result<Recorded, String> {
        let mut recording = Recording::begin(class, publishers, events, pause)?;
        for life in 1..lives {
            let enough = publishers * events * life / lives;
            until("published in part", 6 * PATIENCE, || {
                (recording.load.acknowledged() >= enough).then_some(())
            });
            recording = recording.killed();
        }
        until("published", 6 * PATIENCE, || {
            recording.load.is_done().then_some(())
        });
        let recorded = recording.end();
        let refused = &recorded.came.refused;
        assert!(refused.is_empty(), "{refused:?}");
        Ok(recorded)
    }

    /// Where in the log the flushes stand.
    pub(crate) fn flushes(&self) -> Vec<usize> {
        let log = self.log.iter().enumerate();
        log.filter(|(_, done)| matches!(done, Done::Flush))
            .map(|(at, _)| at)
            .collect()
    }
}
