//! A view whose bytes aren't those that were written.

use std::ops::ControlFlow;
use std::path::PathBuf;

use journal::WallTime;
use redb::{ReadTransaction, ReadableTable};

use super::checked::Table;
use super::commit::put;
use super::*;
use crate::dead_letters::{Reason, Row, State as LetterState};
use crate::fold::ParkedThen;
use crate::records::Cause;

/// A view's file, removed when it is dropped.
struct Kept(PathBuf);

impl Kept {
    fn new(name: &str) -> Self {
        let name = format!("weft-{name}-{}.redb", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn place(&self) -> Place {
        Place::File(self.0.clone())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn write<K: Key>(view: &View, table: Table<K>, key: K::SelfType<'_>, value: &[u8]) {
    let mut writing = view.database.begin_write().unwrap();
    writing.set_quick_repair(true);
    let mut opened = writing.open_table(table).unwrap();
    put(table, &mut opened, key, value).unwrap();
    drop(opened);
    writing.commit().unwrap();
}

impl View {
    /// Says that the record at this offset was copied to kept, and gets a bit of it wrong.
    pub(crate) fn spoil_kept(&self, offset: Offset) {
        let key = (What::Copy as u8, offset.0);
        let mut sealed = checked::seal(tables::KEPT, &key, &KEPT_AT.encode());
        sealed[0] ^= 1;
        let writing = self.database.begin_write().unwrap();
        let mut table = writing.open_table(tables::KEPT).unwrap();
        table.insert(key, sealed.as_slice()).unwrap();
        drop(table);
        writing.commit().unwrap();
    }
}

fn row() -> Row {
    Row {
        id: Offset(21),
        event: Offset(20),
        number: 2,
        trigger: triggers::TriggerName::new("shop", "billing"),
        reason: Reason::Dead(Cause::Exhausted),
        at: WallTime(1_700_000_000_000),
        bytes: 300,
        status: Some(503),
        forwarded: false,
        state: LetterState::Kept,
        payload_discarded: false,
        forwarding: false,
        let_go: false,
    }
}

const KEPT_AT: KeptAt = KeptAt {
    offset: Offset(0x1122_3344),
    bytes: 0x5566,
};

/// One value in each table, each of which stands in the file once.
fn fill(view: &View) -> Vec<(&'static str, Vec<u8>)> {
    let parked = ParkedThen::default().encode();
    let owed: Vec<u8> = (0..40).collect();
    let (letter, kept) = (row().encode(), KEPT_AT.encode());
    let trigger = ("shop/billing", 21);
    write(view, tables::OWED, (3, 0), &owed);
    write(view, tables::PARKED, (3, 7), &parked);
    write(view, tables::LETTERS, 21, &letter);
    write(view, tables::LETTERS_OF, trigger, &[]);
    write(view, tables::LETTERS_ON, (20, 21), &[]);
    write(view, tables::KEPT, (What::Copy as u8, 20), &kept);
    write(view, tables::STATE, "state", &State::default().encode());
    vec![
        ("owed", checked::seal(tables::OWED, &(3, 0), &owed)),
        ("parked", checked::seal(tables::PARKED, &(3, 7), &parked)),
        ("letters", checked::seal(tables::LETTERS, &21, &letter)),
        (
            "letters of triggers",
            checked::seal(tables::LETTERS_OF, &trigger, &[]),
        ),
        (
            "letters on events",
            checked::seal(tables::LETTERS_ON, &(20, 21), &[]),
        ),
        (
            "kept",
            checked::seal(tables::KEPT, &(What::Copy as u8, 20), &kept),
        ),
        (
            "state",
            checked::seal(tables::STATE, &"state", &State::default().encode()),
        ),
    ]
}

/// Each way of reading each table.
fn read(view: &View, table: &str) -> Vec<Option<ViewError>> {
    let name = triggers::TriggerName::new("shop", "billing");
    let go_on = |_: Row| ControlFlow::Continue(());
    let all = Offset(0)..Offset(100);
    let errors = match table {
        "owed" => vec![owed(view, &view.database.begin_read().unwrap()).err()],
        "parked" => vec![
            view.parked(3, Offset(7)).err(),
            view.parked_of(3).map(drop).err(),
        ],
        "letters" => vec![
            view.letter(Offset(21)).err(),
            view.letters_in(all.clone()).err(),
            view.letter_bytes_in(all).err(),
            view.letters_upwards(None, Offset(0), go_on).err(),
            view.letters_downwards(None, Offset(100), go_on).err(),
        ],
        "letters of triggers" => vec![view.letters_upwards(Some(&name), Offset(0), go_on).err()],
        "letters on events" => vec![
            view.lettered_events(all).err(),
            view.without_letters([20].into_iter().collect()).err(),
            view.first_lettered_event_from(Offset(0)).err(),
        ],
        "kept" => vec![
            view.kept_at(What::Copy, Offset(20)).err(),
            view.kept_in(What::Copy, all).err(),
        ],
        _ => vec![view.as_of().map(drop).err()],
    };
    errors.into_iter().collect()
}

fn owed(view: &View, reading: &ReadTransaction) -> Result<(), ViewError> {
    for entry in reading.open_table(tables::OWED)?.iter()? {
        let (key, bytes) = entry?;
        view.value(tables::OWED, &key.value(), bytes.value())?;
    }
    Ok(())
}

#[test]
fn a_damaged_value_is_found_whenever_it_is_read() {
    let file = Kept::new("damaged-values");
    let view = View::anew(&file.place()).unwrap();
    let values = fill(&view);
    for (table, _) in &values {
        assert!(read(&view, table).iter().all(Option::is_none), "{table}");
    }
    assert!(!view.is_damaged());
    drop(view);
    let whole = std::fs::read(&file.0).unwrap();
    for (table, sealed) in values {
        let places: Vec<usize> = whole
            .windows(sealed.len())
            .enumerate()
            .filter(|(_, bytes)| *bytes == sealed)
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty(), "{table} lies nowhere");
        for byte in 0..sealed.len() {
            let mut bytes = whole.clone();
            // Old copies of a page may lie about, too.
            places
                .iter()
                .for_each(|at| bytes[at + byte] ^= 1 << (byte % 8));
            std::fs::write(&file.0, &bytes).unwrap();
            let view = View::open(&file.place()).unwrap();
            for error in read(&view, table) {
                let is_found = matches!(&error, Some(ViewError::Checksum(of)) if of == table);
                assert!(is_found, "{table}, byte {byte}: {error:?}");
            }
            assert!(view.is_damaged(), "{table}, byte {byte}");
        }
    }
}

#[test]
fn a_value_of_another_key_or_table_is_none() {
    let sealed = checked::seal(tables::PARKED, &(3, 7), b"value");
    let is = |table, key: (u32, u64)| checked::value(table, &key, &sealed).is_ok();
    assert!(is(tables::PARKED, (3, 7)));
    assert!(!is(tables::PARKED, (3, 8)));
    assert!(!is(tables::OWED, (3, 7)));
    assert!(checked::value(tables::PARKED, &(3, 7), b"abc").is_err());
}

/// What isn't there has no checksum: a leaf that says that it has an entry less.
#[test]
fn an_entry_that_vanished_is_found_at_the_start_however_large_the_view() {
    const LARGE: usize = 72 << 20;
    let file = Kept::new("vanished");
    let view = View::anew(&file.place()).unwrap();
    let mark: Vec<u8> = (100..140).collect();
    write(&view, tables::OWED, (3, 0), &mark);
    write(&view, tables::OWED, (3, 1), &mark);
    write(&view, tables::PARKED, (3, 7), &vec![7; LARGE]);
    drop(view);
    let mut view = View::open(&file.place()).unwrap();
    view.check().unwrap();
    assert!(view.bytes() >= LARGE as u64, "{} bytes", view.bytes());
    drop(view);
    let mut bytes = std::fs::read(&file.0).unwrap();
    let sealed = checked::seal(tables::OWED, &(3, 1), &mark);
    // A leaf begins with a 1, a byte, and the count of its entries; parked bytes are sevens.
    let pages = bytes.chunks(4096).enumerate();
    let places: Vec<usize> = pages
        .filter(|(_, page)| page[0] == 1 && page.windows(sealed.len()).any(|at| at == sealed))
        .map(|(page, _)| page * 4096)
        .collect();
    assert!(!places.is_empty());
    for leaf in places {
        assert_eq!(bytes[leaf + 2], 2);
        bytes[leaf + 2] = 1;
    }
    std::fs::write(&file.0, &bytes).unwrap();
    let mut view = View::open(&file.place()).unwrap();
    assert!(view.check().is_err());
}
