//! A [`Disk`] with a file system on it: a loop device over its file, and ext4 mounted from that.
//!
//! The loop device writes past the page cache (`--direct-io=on`). Without that option Linux would collect its
//! writes, and tell nobody when one of them fails.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::disk::Disk;
use super::fuse::Served;

/// Nothing is left for later: no zeros written in the background, no blocks discarded.
const FORMAT: &str = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";

/// A disk that the system sees. Dropping it unmounts and detaches all of it.
pub(crate) struct Drive {
    device: String,
    at: PathBuf,
    mounted: bool,
    // After the loop device that reads it.
    _served: Served,
    _folder: tempfile::TempDir,
}

impl Drive {
    /// Attaches the disk.
    ///
    /// # Errors
    ///
    /// What this machine can't do.
    pub(crate) fn attach(disk: &Arc<Disk>) -> Result<Drive, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = folder.path().join("disk");
        let served = Served::mount(Arc::clone(disk), &file)
            .map_err(|error| format!("no file system of ours can be mounted: {error}"))?;
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show", "--direct-io=on"]);
        let device = said(losetup.arg(&file))?.trim().to_owned();
        let drive = Drive {
            at: folder.path().join("files"),
            mounted: false,
            _served: served,
            _folder: folder,
            device,
        };
        let name = drive.device.trim_start_matches("/dev/");
        let direct = std::fs::read_to_string(format!("/sys/block/{name}/loop/dio"));
        match direct.as_deref().map(str::trim) {
            Ok("1") => Ok(drive),
            other => Err(format!("the loop device doesn't write directly: {other:?}")),
        }
    }

    /// Makes a file system on it.
    pub(crate) fn format(&self) -> Result<(), String> {
        let mut mkfs = Command::new("mkfs.ext4");
        said(mkfs.args(["-q", "-F", "-E", FORMAT, &self.device])).map(drop)
    }

    /// Mounts its file system, which repairs what a crash left undone; gives the folder.
    pub(crate) fn mount(&mut self) -> Result<&Path, String> {
        std::fs::create_dir(&self.at).map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", &self.device]).arg(&self.at);
        said(&mut mount)?;
        self.mounted = true;
        Ok(&self.at)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let unmounted = match self.mounted {
            true => said(Command::new("umount").arg(&self.at)).map(drop),
            false => Ok(()),
        };
        let detached = said(Command::new("losetup").args(["--detach", &self.device]));
        for problem in [unmounted.err(), detached.err()].into_iter().flatten() {
            eprintln!("{} is left over: {problem}", self.device);
        }
    }
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
