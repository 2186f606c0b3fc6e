//! Numbers and durations within bounds, each with a message that names them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::duration;
use crate::problem::{At, Faults, Wrong};
use crate::written::node::{Decimal, TextOrNumber};

/// The shortest waits and timeouts: anything shorter would be a hot loop.
pub(crate) const WAIT_MIN: Duration = Duration::from_millis(1);

/// A whole number within `range`, noting what is wrong with it.
pub(crate) fn whole(
    at: At<'_>,
    written: Option<i64>,
    range: RangeInclusive<u32>,
    faults: &mut Faults,
) -> Option<u32> {
    let written = written?;
    let read = u32::try_from(written)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Wrong::new(
                format!("is {written}"),
                format!("it must be a whole number from {least} to {most}"),
            )
        });
    faults.take(at, read)
}

/// A number within `range`, whose ends the cure names.
pub(crate) fn decimal(
    at: At<'_>,
    written: Option<Decimal>,
    range: RangeInclusive<f64>,
    faults: &mut Faults,
) -> Option<f64> {
    let Decimal(written) = written?;
    let read = Some(written)
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Wrong::new(
                format!("is {written}"),
                format!("it must be a number from {least} to {most}"),
            )
        });
    faults.take(at, read)
}

/// A duration within `range`.
pub(crate) fn span(
    at: At<'_>,
    written: Option<&TextOrNumber>,
    range: RangeInclusive<Duration>,
    faults: &mut Faults,
) -> Option<Duration> {
    let text = &written?.0;
    let read = duration::parse(text).and_then(|value| match value {
        value if value < *range.start() => Err(Wrong::new(
            format!("is {text}"),
            format!("it must be at least {}", duration::iso(*range.start())),
        )),
        value if *range.end() < value => Err(Wrong::new(
            format!("is {text}"),
            format!("it must be at most {}", duration::iso(*range.end())),
        )),
        value => Ok(value),
    });
    faults.take(at, read)
}
