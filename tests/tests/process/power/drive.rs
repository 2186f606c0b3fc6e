//! A [`Disk`] with a file system on it: a loop device over its file, and ext4 mounted from that.
//!
//! The loop device writes past the page cache (`--direct-io=on`). Without that option Linux would collect its
//! writes, and tell nobody when one of them fails.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use super::disk::Disk;
use super::fuse;

/// Nothing is left for later: no zeros written in the background, no blocks discarded.
const FORMAT: &str = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";

/// Reads the loop device's name and waits for the end of its input; then takes down what was put up in the folder
/// that it is told. A process of its own does that, so that nothing stays when the test is killed; a file system
/// that is in use by then goes as soon as it isn't.
const TAKE_DOWN: &str = r#"
trap '' HUP INT TERM
device=$(cat)
cd "$1" || exit 1
left=0
if mountpoint -q files; then umount files || umount --lazy files || left=1; fi
if [ -n "$device" ]; then losetup --detach "$device" || left=1; fi
umount --lazy disk || left=1
rm disk && rmdir files && cd / && rmdir "$1" || left=1
exit $left
"#;

/// How a node gets at its files on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Past the page cache.
    Direct,
    /// Through it: ext4 does no other where it writes data to its journal first, and says so.
    Buffered,
}

impl Class {
    /// As the node's status has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Direct => "direct+fdatasync",
            Class::Buffered => "buffered+fdatasync",
        }
    }
}

/// A disk that the system sees. Dropping it unmounts and detaches all of it.
pub(crate) struct Drive {
    device: String,
    at: PathBuf,
    _taken_down: TakenDown,
}

/// The process that takes it down.
struct TakenDown {
    by: Child,
}

impl TakenDown {
    /// What is put up in this folder.
    fn at_the_end(folder: &Path) -> std::io::Result<TakenDown> {
        let mut shell = Command::new("sh");
        shell.args(["-c", TAKE_DOWN, "sh"]).arg(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(TakenDown { by: shell.spawn()? })
    }

    fn with_device(&mut self, device: &str) -> std::io::Result<()> {
        let input = self.by.stdin.as_mut();
        input.map_or(Ok(()), |input| input.write_all(device.as_bytes()))
    }
}

impl Drop for TakenDown {
    fn drop(&mut self) {
        drop(self.by.stdin.take());
        let ended = self.by.wait();
        if !ended.as_ref().is_ok_and(ExitStatus::success) {
            eprintln!("a disk, its loop device or its folder is left over: {ended:?}");
        }
    }
}

impl Drive {
    /// Attaches the disk.
    ///
    /// # Errors
    ///
    /// What this machine can't do.
    pub(crate) fn attach(disk: &Arc<Disk>) -> Result<Drive, String> {
        let put_up = || {
            let folder = tempfile::tempdir()?;
            let (file, at) = (folder.path().join("disk"), folder.path().join("files"));
            std::fs::create_dir(&at)?;
            fuse::mount(Arc::clone(disk), &file)?;
            let folder = folder.keep();
            Ok((TakenDown::at_the_end(&folder)?, file, at))
        };
        let (mut taken_down, file, at) = put_up()
            .map_err(|error: std::io::Error| format!("no disk can be put up here: {error}"))?;
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show", "--direct-io=on"]);
        let device = said(losetup.arg(&file))?.trim().to_owned();
        taken_down
            .with_device(&device)
            .map_err(|error| error.to_string())?;
        let name = device.trim_start_matches("/dev/");
        let direct = std::fs::read_to_string(format!("/sys/block/{name}/loop/dio"));
        match direct.as_deref().map(str::trim) {
            Ok("1") => Ok(Drive {
                device,
                at,
                _taken_down: taken_down,
            }),
            other => Err(format!("the loop device doesn't write directly: {other:?}")),
        }
    }

    /// Makes a file system on it.
    pub(crate) fn format(&self) -> Result<(), String> {
        let mut mkfs = Command::new("mkfs.ext4");
        said(mkfs.args(["-q", "-F", "-E", FORMAT, &self.device])).map(drop)
    }

    /// Mounts its file system, which repairs what a crash left undone; gives the folder.
    pub(crate) fn mount(&self, class: Class) -> Result<&Path, String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4"]);
        if class == Class::Buffered {
            mount.args(["-o", "data=journal"]);
        }
        mount.arg(&self.device).arg(&self.at);
        said(&mut mount)?;
        Ok(&self.at)
    }

    /// Where it is mounted.
    pub(crate) fn folder(&self) -> &Path {
        &self.at
    }
}

/// Where on its disk this part of a file lies.
pub(crate) fn extents(file: &Path, within: &Range<u64>) -> Result<Vec<Range<u64>>, String> {
    let mut filefrag = Command::new("filefrag");
    let text = said(filefrag.arg("-v").arg(format!("-b{UNIT_BYTES}")).arg(file))?;
    Ok(extents_in(&text, within))
}

/// filefrag counts in units of so many bytes.
const UNIT_BYTES: u64 = 1024;

fn extents_in(text: &str, within: &Range<u64>) -> Vec<Range<u64>> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let extent = |line: &str| {
        let cells: Vec<&str> = line.split(':').collect();
        let [_, logical, physical, length, ..] = cells[..] else {
            return None;
        };
        let (logical, _) = logical.split_once("..")?;
        let (physical, _) = physical.split_once("..")?;
        let (logical, physical, length) = (number(logical)?, number(physical)?, number(length)?);
        let [logical, physical, length] = [logical, physical, length].map(|n| n * UNIT_BYTES);
        let from = within.start.max(logical);
        let to = within.end.min(logical + length);
        (from < to).then(|| physical + from - logical..physical + to - logical)
    };
    text.lines().filter_map(extent).collect()
}

#[test]
fn the_extents_of_a_file_are_read_as_filefrag_prints_them() {
    let text = "Filesystem type is: ef53\n\
        File size of x is 8192 (8 blocks of 1024 bytes)\n \
        ext:     logical_offset:        physical_offset: length:   expected: flags:\n   \
        0:        0..       3:       8192..      8195:      4:            \n   \
        1:        4..       7:       9000..      9003:      4:       8196: last,eof\n\
        x: 2 extents found\n";
    let kib = |range: Range<u64>| range.start << 10..range.end << 10;
    let all = extents_in(text, &(0..u64::MAX));
    assert_eq!(all, [kib(8192..8196), kib(9000..9004)]);
    assert_eq!(
        extents_in(text, &kib(2..5)),
        [kib(8194..8196), kib(9000..9001)]
    );
}

/// What a command says, if it does what it is told.
fn said(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("{name}: {}", why.trim()))
        }
    }
}
