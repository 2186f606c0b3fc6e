//! `weft log verify`: what a person is told of a data folder that the disk damaged. The folder is
//! the fixture of the disk format's first version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::{Expect, expect};
use tests::node::weft;

fn unpack(archive: &str, folder: &Path) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format/v1");
    let ran = Command::new("tar")
        .arg("-xzf")
        .arg(fixtures.join(archive))
        .arg("-C")
        .arg(folder)
        .status();
    assert!(ran.expect("there is tar").success());
}

/// Unpacks the fixture, harms it, and compares what is said: its exit code, and all lines but those
/// of segments with nothing wrong.
#[track_caller]
fn check(archive: &str, harm: impl FnOnce(&Path), expect: Expect) {
    let root = tempfile::tempdir().expect("a folder can be made");
    unpack(archive, root.path());
    harm(root.path());
    let before = crate::contents(root.path());
    let folder = root.path().display().to_string();
    let output = weft(&["log", "verify", &folder]);
    assert!(
        crate::contents(root.path()) == before,
        "it changed something"
    );
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace(&folder, "data");
    let lines = said.lines().filter(|line| !line.contains(".seg  "));
    let lines: Vec<&str> = lines.collect();
    let exit = output.status.code().unwrap_or(-1);
    expect.assert_eq(&format!("exit {exit}\n{}\n", lines.join("\n")));
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a file can be read");
    change(&mut bytes);
    fs::write(path, bytes).expect("a file can be written");
}

/// The path of the `nth` segment of a folder.
fn segment(folder: &Path, nth: usize) -> PathBuf {
    segments(folder).swap_remove(nth)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .expect("a folder can be read")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    all.sort();
    all
}

#[test]
fn nothing_wrong() {
    check(
        "stopped.tar.gz",
        |_| (),
        expect![[r#"
            exit 0
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            226 records read, 0 unreadable; closed in order
            whole: every record from offset 178 up to 404 is there; a file that is missing before or behind doesn't show here

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            53 records read, 0 unreadable; closed in order
            whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
    check(
        "crashed.tar.gz",
        |_| (),
        expect![[r#"
            exit 0
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            215 records read, 0 unreadable; not closed in order: running, or crashed
            whole: every record from offset 178 up to 393 is there; a file that is missing before or behind doesn't show here

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            52 records read, 0 unreadable; not closed in order: running, or crashed
            whole: every record from offset 56 up to 108 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
}

#[test]
fn a_flipped_bit_in_a_record_of_the_log_and_in_one_of_kept() {
    let flip = |data: &Path| {
        for folder in ["log", "kept"] {
            change(&segment(&data.join(folder), 0), |bytes| bytes[4200] ^= 4);
        }
    };
    check(
        "stopped.tar.gz",
        flip,
        expect![[r#"
        exit 7
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        damage  segment 11 at byte 4096: body damaged, 3032 bytes, 1 record (offset 178)
        225 records read, 1 unreadable; closed in order
        DAMAGED: what is named above is lost; `weft log cat` prints the rest, and a node that is started goes on with that

        kept of segments that went:
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        damage  segment 4 at byte 4096: body damaged, 9368 bytes, 1 record (offset 56)
        52 records read, 1 unreadable; closed in order
        DAMAGED: what is named above is lost; `weft log cat` prints the rest, and a node that is started goes on with that
    "#]],
    );
}

#[test]
fn a_block_of_zeros() {
    let zero = |data: &Path| {
        let segment = segment(&data.join("log"), 0);
        change(&segment, |bytes| bytes[8192..12288].fill(0));
    };
    check(
        "crashed.tar.gz",
        zero,
        expect![[r#"
            exit 7
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            damage  segment 11 at byte 8192: header damaged or missing, 12288 bytes, 1 record (offset 182)
            214 records read, 1 unreadable; not closed in order: running, or crashed
            DAMAGED: what is named above is lost; `weft log cat` prints the rest, and a node that is started goes on with that

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            52 records read, 0 unreadable; not closed in order: running, or crashed
            whole: every record from offset 56 up to 108 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
}

#[test]
fn one_header_and_both() {
    let one = |data: &Path| {
        let segment = segment(&data.join("log"), 1);
        change(&segment, |bytes| bytes[30] ^= 1);
    };
    check(
        "stopped.tar.gz",
        one,
        expect![[r#"
            exit 7
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            damage  segment 12 at byte 0: one of two copies of the segment's header damaged, 96 bytes, no record lost
            226 records read, 0 unreadable; closed in order
            DAMAGED, and no record lost: the disk gave back other bytes than it was given

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            53 records read, 0 unreadable; closed in order
            whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
    let both = |data: &Path| {
        let segment = segment(&data.join("log"), 1);
        change(&segment, |bytes| bytes[..4096].fill(0));
    };
    check(
        "stopped.tar.gz",
        both,
        expect![[r#"
            exit 7
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            damage  segment 12 at byte 0: segment's header unreadable, its records found without it, 4096 bytes, no record lost
            226 records read, 0 unreadable; closed in order
            DAMAGED, and no record lost: the disk gave back other bytes than it was given

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            53 records read, 0 unreadable; closed in order
            whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
}

#[test]
fn a_file_cut_short() {
    let cut = |data: &Path| {
        let segment = segment(&data.join("log"), 2);
        change(&segment, |bytes| bytes.truncate(12_000));
    };
    check(
        "stopped.tar.gz",
        cut,
        expect![[r#"
            exit 7
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            damage  segment 13 at byte 7272: body damaged, 8336 bytes, 1 record (offset 207)
            damage  segment 13 at byte 12000: file cut short, 20768 bytes, records unknown
            damage  segment 13 at byte 16384: header damaged or missing, 8 records (offsets 208 to 215)
            217 records read, 9 unreadable; closed in order
            DAMAGED: what is named above is lost; `weft log cat` prints the rest, and a node that is started goes on with that

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            53 records read, 0 unreadable; closed in order
            whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
}

#[test]
fn a_missing_segment() {
    let remove = |data: &Path| {
        let segment = segment(&data.join("log"), 1);
        fs::remove_file(segment).expect("a file can be removed");
    };
    check(
        "stopped.tar.gz",
        remove,
        expect![[r#"
            exit 7
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            damage  segment 12 at byte 0: segment missing or unreadable, 12 records (offsets 191 to 202)
            214 records read, 12 unreadable; closed in order
            DAMAGED: what is named above is lost; `weft log cat` prints the rest, and a node that is started goes on with that

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            53 records read, 0 unreadable; closed in order
            whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
}

/// What lay at an end doesn't show in the files that are left: so it isn't said that all is there.
#[test]
fn a_missing_first_or_last_segment() {
    let remove = |at_end: bool| {
        move |data: &Path| {
            for folder in ["log", "kept"] {
                let folder = data.join(folder);
                let nth = if at_end {
                    segments(&folder).len() - 1
                } else {
                    0
                };
                fs::remove_file(segment(&folder, nth)).expect("a file can be removed");
            }
        }
    };
    check(
        "stopped.tar.gz",
        remove(false),
        expect![[r#"
        exit 0
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        213 records read, 0 unreadable; closed in order
        whole: every record from offset 191 up to 404 is there; a file that is missing before or behind doesn't show here

        kept of segments that went:
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        23 records read, 0 unreadable; closed in order
        whole: every record from offset 86 up to 109 is there; a file that is missing before or behind doesn't show here
    "#]],
    );
    check(
        "stopped.tar.gz",
        remove(true),
        expect![[r#"
        exit 0
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        223 records read, 0 unreadable; not closed in order: running, or crashed
        whole: every record from offset 178 up to 401 is there; a file that is missing before or behind doesn't show here

        kept of segments that went:
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        30 records read, 0 unreadable; not closed in order: running, or crashed
        whole: every record from offset 56 up to 86 is there; a file that is missing before or behind doesn't show here
    "#]],
    );
}

#[test]
fn header_blocks_that_changed_places() {
    let swap = |data: &Path| {
        let paths = [0, 1].map(|nth| segment(&data.join("log"), nth));
        let blocks = paths.clone().map(|path| {
            let bytes = fs::read(path).expect("a file can be read");
            bytes[..4096].to_vec()
        });
        for (path, block) in paths.iter().zip(blocks.iter().rev()) {
            change(path, |bytes| bytes[..4096].copy_from_slice(block));
        }
    };
    check(
        "stopped.tar.gz",
        swap,
        expect![[r#"
        exit 7
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        damage  segment 11 at byte 0: segment's header unreadable, its records found without it, 4096 bytes, no record lost
        damage  segment 12 at byte 0: segment's header unreadable, its records found without it, 4096 bytes, no record lost
        226 records read, 0 unreadable; closed in order
        DAMAGED, and no record lost: the disk gave back other bytes than it was given

        kept of segments that went:
        SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
        53 records read, 0 unreadable; closed in order
        whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
    "#]],
    );
}

#[test]
fn a_segment_of_another_log() {
    let replace = |data: &Path| {
        let other = segment(&data.join("kept"), 0);
        let segment = segment(&data.join("log"), 1);
        fs::copy(other, segment).expect("a file can be copied");
    };
    check(
        "stopped.tar.gz",
        replace,
        expect![[r#"
            exit 7
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            damage  segment 12 at byte 0: file of another log or place, 57344 bytes, records unknown
            damage  segment 12 at byte 0: segment missing or unreadable, 12 records (offsets 191 to 202)
            214 records read, 12 unreadable; closed in order
            DAMAGED so that no node starts on it: restore a backup, or put back the file that is named above; `weft log cat` prints what can be read

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            53 records read, 0 unreadable; closed in order
            whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
}

#[test]
fn an_only_segment_without_a_header() {
    let strip = |data: &Path| {
        let log = data.join("log");
        let first = segment(&log, 0);
        for entry in fs::read_dir(&log).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path != first {
                fs::remove_file(path).expect("a file can be removed");
            }
        }
        change(&first, |bytes| bytes[..4096].fill(0));
    };
    check(
        "stopped.tar.gz",
        strip,
        expect![[r#"
            exit 7
            SEGMENT  FIRST  END  RECORDS  BODIES  CREATED
            damage  segment 11 at byte 0: segment missing or unreadable, 65536 bytes, records unknown
            0 records read, 0 unreadable; not closed in order: running, or crashed
            DAMAGED so that no node starts on it: restore a backup, or put back the file that is named above; `weft log cat` prints what can be read

            kept of segments that went:
            SEGMENT           FIRST  END  RECORDS    BODIES  CREATED
            53 records read, 0 unreadable; closed in order
            whole: every record from offset 56 up to 109 is there; a file that is missing before or behind doesn't show here
        "#]],
    );
}

/// What a node says that is started on a folder whose log is gone: it doesn't begin anew.
#[test]
fn a_node_does_not_begin_anew_where_its_log_was() {
    let folders = crate::Folders::new();
    let trigger = crate::trigger("billing", "[]", "http://127.0.0.1:1/", "{}");
    folders.write("billing.yaml", &trigger);
    let data = folders.data();
    fs::create_dir(&data).expect("a folder can be made");
    unpack("stopped.tar.gz", &data);
    let start = folders.start();
    let away = data.with_file_name("away");
    let refused = |said: Expect| {
        let (exit, output) = start.refused();
        assert_eq!(exit, 7, "{output}");
        let folder = data.display().to_string();
        said.assert_eq(&output.replace(&folder, "data"));
    };
    fs::rename(data.join("kept"), &away).expect("it is moved");
    refused(expect![[r#"
        error: the log in data can't be used: kept is empty, and held records that the view goes by
          nothing was changed. Put the folder kept back, or restore a backup; to go on without what it held, remove view.redb
    "#]]);
    // It holds a lock and nothing more.
    fs::remove_dir_all(data.join("kept")).expect("it is removed");
    fs::rename(&away, data.join("kept")).expect("it is moved");
    fs::remove_dir_all(data.join("log")).expect("it is removed");
    refused(expect![[r#"
        error: the log in data can't be used: the log is empty, and held records that kept or the view go by
          nothing was changed. Put the folder log back, or restore a backup; to begin anew, remove kept and view.redb as well
    "#]]);
    fs::remove_file(data.join("view.redb")).expect("it is removed");
    refused(expect![[r#"
        error: the log in data can't be used: the log is empty, and held records that kept or the view go by
          nothing was changed. Put the folder log back, or restore a backup; to begin anew, remove kept and view.redb as well
    "#]]);
}
