//! Shows a [`Disk`] as a file, over the kernel's FUSE protocol: the least of it that a loop device needs.
//!
//! The mount is that one file, so there are no names and no folders. Data passes the page cache by
//! (`FOPEN_DIRECT_IO`), so what the loop device writes and flushes arrives here, and an error goes back to it.
//! The layouts are those of the kernel's `include/uapi/linux/fuse.h`, version 7.31.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use rustix::mount::MountFlags;

use super::disk::Disk;

const DEVICE: &str = "/dev/fuse";

const VERSION: (u32, u32) = (7, 31);

/// Requests.
mod op {
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FSYNC: u32 = 20;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const DESTROY: u32 = 38;
    pub(super) const BATCH_FORGET: u32 = 42;
    pub(super) const FALLOCATE: u32 = 43;
}

const IN_HEADER_BYTES: usize = 40;
const OUT_HEADER_BYTES: usize = 16;

/// INIT: a write may be larger than a page, and as large as `WRITE_BYTES_MAX`.
const BIG_WRITES: u32 = 1 << 5;
const MAX_PAGES: u32 = 1 << 22;
const WRITE_BYTES_MAX: u32 = 1 << 20;
const PAGES_MAX: u16 = 256;

/// OPEN: no page cache in between.
const DIRECT_IO: u32 = 1;

/// A regular file that its owner may read and write.
const MODE: u32 = 0o100_600;

/// FALLOCATE: a part of the file becomes zeros.
const PUNCH_HOLE: u32 = 2;
const ZERO_RANGE: u32 = 16;

/// Errors, as the protocol has them.
const EIO: i32 = 5;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

/// Shows the disk at this path, where it makes a file, until that is unmounted.
///
/// # Errors
///
/// There is no FUSE here, or no right to mount.
pub(crate) fn mount(disk: Arc<Disk>, at: &Path) -> io::Result<()> {
    File::create(at)?;
    let device = File::options().read(true).write(true).open(DEVICE)?;
    let user = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid().as_raw();
    let options = format!(
        "fd={},rootmode={MODE:o},user_id={user},group_id={group}",
        device.as_raw_fd()
    );
    let options = CString::new(options).expect("there is no zero in it");
    rustix::mount::mount("disk", at, "fuse", MountFlags::empty(), &*options)?;
    std::thread::Builder::new()
        .name("disk".into())
        .spawn(move || serve(&device, &disk))?;
    Ok(())
}

/// Answers the kernel until the mount is gone.
fn serve(device: &File, disk: &Disk) {
    let (mut from, mut to) = (device, device);
    let mut buffer = vec![0; WRITE_BYTES_MAX as usize + 4096];
    loop {
        let got = match from.read(&mut buffer) {
            Ok(got) if got >= IN_HEADER_BYTES => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A request that was called back before we read it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // ENODEV: unmounted.
            _ => return,
        };
        let request = Request {
            bytes: &buffer[..got],
        };
        let Some(answer) = answer(&request, disk) else {
            continue;
        };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (error, Vec::new()),
        };
        let mut out = Out::default();
        let length = OUT_HEADER_BYTES + body.len();
        out.u32(u32::try_from(length).expect("an answer is small"));
        out.u32((-error).cast_unsigned());
        out.u64(request.unique());
        out.bytes.extend(body);
        // Whoever asked may have given up meanwhile.
        drop(to.write_all(&out.bytes));
    }
}

type Answer = Result<Vec<u8>, i32>;

/// What there is to say; nothing where nobody waits for it.
fn answer(request: &Request<'_>, disk: &Disk) -> Option<Answer> {
    Some(match request.op() {
        op::FORGET | op::BATCH_FORGET | op::INTERRUPT => return None,
        op::INIT => Ok(init()),
        op::GETATTR | op::SETATTR => Ok(attributes(disk.bytes())),
        op::OPEN => {
            let mut out = Out::default();
            out.u64(0);
            out.u32(DIRECT_IO);
            out.u32(0);
            Ok(out.bytes)
        }
        op::READ => Ok(disk.read(request.u64(8), request.u32(16) as usize)),
        op::WRITE => {
            let data = &request.body()[40..];
            let written = disk.write(request.u64(8), data);
            written.map_err(|_| EIO).map(|()| {
                let mut out = Out::default();
                out.u32(request.u32(16));
                out.u32(0);
                out.bytes
            })
        }
        op::FSYNC => disk.flush().map_err(|_| EIO).map(|()| Vec::new()),
        op::FALLOCATE => zero(request, disk),
        op::FLUSH | op::RELEASE | op::DESTROY => Ok(Vec::new()),
        _ => Err(ENOSYS),
    })
}

fn zero(request: &Request<'_>, disk: &Disk) -> Answer {
    let (at, length, mode) = (request.u64(8), request.u64(16), request.u32(24));
    if mode & (PUNCH_HOLE | ZERO_RANGE) == 0 {
        return Err(EOPNOTSUPP);
    }
    let length = length.min(disk.bytes().saturating_sub(at));
    let zeros = vec![0; usize::try_from(length).expect("it fits in memory")];
    disk.write(at, &zeros).map_err(|_| EIO)?;
    Ok(Vec::new())
}

fn init() -> Vec<u8> {
    let mut out = Out::default();
    out.u32(VERSION.0);
    out.u32(VERSION.1);
    // No reading ahead, and no more flags than these.
    out.u32(0);
    out.u32(BIG_WRITES | MAX_PAGES);
    // How many requests may wait: the kernel's defaults.
    out.u16(0);
    out.u16(0);
    out.u32(WRITE_BYTES_MAX);
    out.u32(1);
    out.u16(PAGES_MAX);
    out.bytes.resize(64, 0);
    out.bytes
}

fn attributes(bytes: u64) -> Vec<u8> {
    let mut out = Out::default();
    // How long they hold: always anew.
    out.bytes.resize(16, 0);
    out.u64(1);
    out.u64(bytes);
    out.u64(bytes / 512);
    // Times: none.
    out.bytes.resize(out.bytes.len() + 3 * 8 + 3 * 4, 0);
    out.u32(MODE);
    // One link, owner, group, no device.
    out.u32(1);
    out.bytes.resize(out.bytes.len() + 3 * 4, 0);
    out.u32(4096);
    out.u32(0);
    out.bytes
}

/// A request: its header, then its body.
struct Request<'a> {
    bytes: &'a [u8],
}

impl Request<'_> {
    fn op(&self) -> u32 {
        at(self.bytes, 4)
    }

    fn unique(&self) -> u64 {
        u64::from(at(self.bytes, 8)) | u64::from(at(self.bytes, 12)) << 32
    }

    fn body(&self) -> &[u8] {
        &self.bytes[IN_HEADER_BYTES..]
    }

    fn u32(&self, from: usize) -> u32 {
        at(self.body(), from)
    }

    fn u64(&self, from: usize) -> u64 {
        u64::from(self.u32(from)) | u64::from(self.u32(from + 4)) << 32
    }
}

/// The protocol is in the machine's byte order, which is this one wherever these tests run.
fn at(bytes: &[u8], from: usize) -> u32 {
    let field = bytes[from..from + 4].try_into();
    u32::from_le_bytes(field.expect("four bytes"))
}

/// What is sent, field by field.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
}

impl Out {
    fn u16(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }
}
