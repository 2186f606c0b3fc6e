//! How the process of a plan ends, with the power or without, also in the middle of something, and how
//! somebody starts it again.

use std::time::Duration;

use broker::view::VIEW_FILE;
use journal::{Disk, Recovered};

use super::plan::{Cut, Off, Then};
use super::play::{ANSWERS_WITHIN, Play};

/// How long somebody who starts the process again waits before.
const STARTS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long others leave a process that starts without room on the disk.
const ROOM_COMES_AFTER: Duration = Duration::from_secs(60);

/// How often a start is tried before the disk is put in order.
const STARTS_MAX: u32 = 3;

/// An end of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// From when on nothing that was answered became durable for certain.
    pub(super) unsure_from: Duration,
    /// When the process was gone.
    pub(super) at: Duration,
}

/// How often each thing happened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Losses of power.
    pub(super) crashes: u64,
    /// Of those, how many lost, or might have, what wasn't synced.
    pub(super) unsynced: u64,
    /// Ends of the process that left something unsynced, with power.
    pub(super) unsynced_ends: u64,
    /// Starts that failed.
    pub(super) failed_starts: u64,
    /// Of those, the ones that were cut off.
    pub(super) cut_starts: u64,
    /// Torn frames that starts met.
    pub(super) torn: u64,
    /// Times that dead letters were asked to be delivered again.
    pub(super) redrives: u64,
    /// Replays that began.
    pub(super) replays: u64,
}

impl Play {
    /// Writes down that the process ends now.
    pub(super) fn ended(&mut self) {
        let at = self.world.time();
        let mut unsure_from = self.world.failed_at().unwrap_or(at).min(at);
        if let Some((from, until)) = self.short
            && at <= until
        {
            unsure_from = unsure_from.min(from);
        }
        let delay = self.note_delay + 4 * self.slow;
        let unsure_from = unsure_from.saturating_sub(delay);
        self.ends.push(End { unsure_from, at });
    }

    /// The process is gone, with the power or alone: nothing of what it still asked for was done.
    pub(super) fn cut_off(&mut self) {
        match self.cut.take().expect("a plan says what a cut ends") {
            Cut::Power(off) => self.lose_power(off),
            Cut::Process => {
                self.ended();
                self.counts.unsynced_ends += u64::from(!self.world.disk().is_durable());
                self.world.end_process();
                self.world.disk().power_on();
            }
        }
    }

    /// The disk is as somebody gets it who puts it in order: nobody cuts it off any more.
    pub(super) fn no_cut(&mut self) {
        self.cut = None;
        self.world.disk().power_on();
    }

    pub(super) fn lose_power(&mut self, off: Off) {
        self.ended();
        self.counts.crashes += 1;
        self.counts.unsynced += u64::from(!self.world.disk().is_durable());
        self.world.lose_power(off.rule, off.seed);
        // Another disk, which is as it should be: faults and delays were of the one before.
        self.heal();
        self.slow = Duration::ZERO;
        let disk = self.world.disk();
        match off.view {
            Then::Stays => {}
            Then::Goes => drop(disk.remove(VIEW_FILE)),
            Then::Flips(bits) => {
                let entries = disk.list().expect("a healed disk lists its files");
                let view = entries.iter().find(|entry| entry.name == VIEW_FILE);
                let bytes = view.map_or(0, |entry| entry.bytes);
                if bytes > 0 {
                    let byte = bits % bytes.min(200_000);
                    disk.flip_bit(VIEW_FILE, byte as usize, (bits >> 60) as u8 & 7);
                }
            }
        }
        self.cut = off.again.map(|after| {
            disk.power_off_after(after);
            Cut::Power(Off {
                seed: off.seed.wrapping_add(1),
                view: Then::Stays,
                again: None,
                ..off
            })
        });
    }

    /// Starts the process; when it can't, again and again, and then the disk is put in order. One that
    /// waits for room on a full disk goes on by itself when others make some.
    pub(super) async fn start_again(&mut self) {
        for _ in 0..STARTS_MAX {
            let (disk, short) = (self.world.disk().clone(), self.short.is_some());
            let started = tokio::time::timeout(ANSWERS_WITHIN, self.world.try_start_again());
            let room_comes = async {
                tokio::time::sleep(ROOM_COMES_AFTER).await;
                if short {
                    disk.heal();
                }
                std::future::pending::<()>().await;
            };
            let started = tokio::select! {
                biased;
                () = disk.until_off() => Ok(Err("the power is off".into())),
                started = started => started,
                () = room_comes => unreachable!("it only makes room"),
            };
            match started.expect("a start ends") {
                Ok(()) if self.world.is_well() && !disk.is_off() => {
                    self.recovered();
                    return;
                }
                _ => self.counts.failed_starts += 1,
            }
            if disk.is_off() {
                self.counts.cut_starts += 1;
                self.cut_off();
            } else {
                self.ended();
                self.world.end_process();
            }
            tokio::time::sleep(STARTS_AGAIN_AFTER).await;
        }
        self.heal();
        self.no_cut();
        self.world.start_again().await;
        self.recovered();
    }

    /// What the start found.
    pub(super) fn recovered(&mut self) {
        let found = [&self.world.recovered, &self.world.kept_recovered];
        let torn = |found: &&Option<Recovered>| found.as_ref().is_some_and(|it| it.torn.is_some());
        self.counts.torn += found.iter().filter(|found| torn(found)).count() as u64;
    }
}
