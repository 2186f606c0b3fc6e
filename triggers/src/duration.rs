//! ISO 8601 durations as Knative writes them: `PT0.5S`, `PT5M`, `P7D`.
//!
//! Weeks, days, hours, minutes and seconds (with a fraction) add up to an exact length. Years
//! and months are refused: they have no fixed length, and a retry or a retention needs one.

use std::time::Duration;

use crate::problem::Wrong;

/// The longest duration that is accepted, P3650D: longer ones are a mistyped unit, and sums
/// of this size stay far from overflow.
pub const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Reads an ISO 8601 duration.
///
/// # Errors
///
/// The text isn't one, uses years or months, or is longer than [`DURATION_MAX`]; the cure
/// names the duration that was probably meant.
pub fn parse(text: &str) -> Result<Duration, Wrong> {
    let wrong = || Wrong::new(format!("is {text:?}"), cure(text));
    let rest = text.strip_prefix('P').ok_or_else(wrong)?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return Err(wrong()),
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.contains(['Y', 'M']) {
        return Err(Wrong::new(
            format!("is {text:?}"),
            "years and months have no fixed length: write days, such as P30D",
        ));
    }
    let date = components(date, &[('W', 604_800), ('D', 86_400)]).ok_or_else(wrong)?;
    let time = components(time, &[('H', 3600), ('M', 60), ('S', 1)]).ok_or_else(wrong)?;
    if date.is_none() && time.is_none() {
        return Err(wrong());
    }
    let sum = date.unwrap_or_default() + time.unwrap_or_default();
    if DURATION_MAX < sum {
        return Err(Wrong::new(
            format!("is {text:?}"),
            "it must be at most P3650D",
        ));
    }
    Ok(sum)
}

/// The sum of `text`'s components, each at most once and in the order of `units`; `None`
/// inside when there are none.
fn components(mut text: &str, units: &[(char, u64)]) -> Option<Option<Duration>> {
    let mut sum: Option<Duration> = None;
    for &(unit, seconds) in units {
        let Some(end) = text.find(|c: char| !c.is_ascii_digit() && c != '.') else {
            break;
        };
        if !text[end..].starts_with(unit) {
            continue;
        }
        let amount = amount(&text[..end], seconds, unit == 'S')?;
        sum = Some(sum.unwrap_or_default() + amount);
        text = &text[end + 1..];
    }
    text.is_empty().then_some(sum)
}

fn amount(text: &str, seconds: u64, fraction_allowed: bool) -> Option<Duration> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if fraction_allowed => (whole, fraction),
        Some(_) => return None,
        None => (text, "0"),
    };
    // 9 digits of whole part: times a week that stays below 2^63.
    if whole.is_empty() || 9 < whole.len() || fraction.is_empty() || 9 < fraction.len() {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole * seconds, nanos))
}

/// What was probably meant by something like `30s`, `7 days` or `pt5m`.
fn cure(text: &str) -> String {
    match guess(text) {
        Some(meant) => format!("write an ISO 8601 duration such as {meant}"),
        None if text.starts_with("PT") && text.contains('.') => {
            "only seconds may have a fraction, with digits on both sides, such as PT0.5S".to_owned()
        }
        None => "write an ISO 8601 duration such as PT30S, PT5M or P7D".to_owned(),
    }
}

fn guess(text: &str) -> Option<String> {
    let upper = text.trim().to_ascii_uppercase();
    if upper != text && parse(&upper).is_ok() {
        return Some(upper);
    }
    let split = upper
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(upper.len());
    let (number, unit) = upper.split_at(split);
    let number: u64 = number.parse().ok()?;
    Some(match unit.trim() {
        "MS" | "MILLIS" | "MILLISECONDS" => iso(Duration::from_millis(number)),
        "" | "S" | "SEC" | "SECS" | "SECOND" | "SECONDS" => format!("PT{number}S"),
        "M" | "MIN" | "MINS" | "MINUTE" | "MINUTES" => format!("PT{number}M"),
        "H" | "HOUR" | "HOURS" => format!("PT{number}H"),
        "D" | "DAY" | "DAYS" => format!("P{number}D"),
        "W" | "WEEK" | "WEEKS" => format!("P{number}W"),
        _ => return None,
    })
}

/// The shortest ISO 8601 text of a duration, such as `PT0.5S` or `P7D`.
pub fn iso(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes, rest) = (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    let mut text = String::from("P");
    if 0 < days {
        text.push_str(&format!("{days}D"));
    }
    let mut time = String::new();
    if 0 < hours {
        time.push_str(&format!("{hours}H"));
    }
    if 0 < minutes {
        time.push_str(&format!("{minutes}M"));
    }
    match duration.subsec_nanos() {
        0 if rest == 0 => {}
        0 => time.push_str(&format!("{rest}S")),
        nanos => {
            let fraction = format!("{nanos:09}");
            time.push_str(&format!("{rest}.{}S", fraction.trim_end_matches('0')));
        }
    }
    match (time.is_empty(), days) {
        (true, 0) => "PT0S".to_owned(),
        (true, _) => text,
        (false, _) => text + "T" + &time,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(texts: &[&str], expect: Expect) {
        let lines: Vec<String> = texts
            .iter()
            .map(|text| match parse(text) {
                Ok(duration) => format!("{text} -> {duration:?} {}", iso(duration)),
                Err(wrong) => format!("{text} -> {wrong}"),
            })
            .collect();
        expect.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn durations_are_read_exactly() {
        check(
            &[
                "PT0.5S",
                "PT5M",
                "P1D",
                "P7D",
                "P1W",
                "P1DT2H3M4.000000005S",
                "PT0S",
                "PT36H",
            ],
            expect![[r#"
                PT0.5S -> 500ms PT0.5S
                PT5M -> 300s PT5M
                P1D -> 86400s P1D
                P7D -> 604800s P7D
                P1W -> 604800s P7D
                P1DT2H3M4.000000005S -> 93784.000000005s P1DT2H3M4.000000005S
                PT0S -> 0ns PT0S
                PT36H -> 129600s P1DT12H"#]],
        );
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_was_meant() {
        check(
            &[
                "",
                "P",
                "PT",
                "5",
                "30s",
                "7 days",
                "500ms",
                "pt5m",
                "P1M",
                "P1Y",
                "PT1S1M",
                "PT1.5H",
                "PT.5S",
                "PT5.S",
                "-PT5S",
                "P1H",
                "PT1M2M",
                "P4000D",
                "PT99999999999S",
                "é",
            ],
            expect![[r#"
                 -> is "", write an ISO 8601 duration such as PT30S, PT5M or P7D
                P -> is "P", write an ISO 8601 duration such as PT30S, PT5M or P7D
                PT -> is "PT", write an ISO 8601 duration such as PT30S, PT5M or P7D
                5 -> is "5", write an ISO 8601 duration such as PT5S
                30s -> is "30s", write an ISO 8601 duration such as PT30S
                7 days -> is "7 days", write an ISO 8601 duration such as P7D
                500ms -> is "500ms", write an ISO 8601 duration such as PT0.5S
                pt5m -> is "pt5m", write an ISO 8601 duration such as PT5M
                P1M -> is "P1M", years and months have no fixed length: write days, such as P30D
                P1Y -> is "P1Y", years and months have no fixed length: write days, such as P30D
                PT1S1M -> is "PT1S1M", write an ISO 8601 duration such as PT30S, PT5M or P7D
                PT1.5H -> is "PT1.5H", only seconds may have a fraction, with digits on both sides, such as PT0.5S
                PT.5S -> is "PT.5S", only seconds may have a fraction, with digits on both sides, such as PT0.5S
                PT5.S -> is "PT5.S", only seconds may have a fraction, with digits on both sides, such as PT0.5S
                -PT5S -> is "-PT5S", write an ISO 8601 duration such as PT30S, PT5M or P7D
                P1H -> is "P1H", write an ISO 8601 duration such as PT30S, PT5M or P7D
                PT1M2M -> is "PT1M2M", write an ISO 8601 duration such as PT30S, PT5M or P7D
                P4000D -> is "P4000D", it must be at most P3650D
                PT99999999999S -> is "PT99999999999S", write an ISO 8601 duration such as PT30S, PT5M or P7D
                é -> is "é", write an ISO 8601 duration such as PT30S, PT5M or P7D"#]],
        );
    }
}
