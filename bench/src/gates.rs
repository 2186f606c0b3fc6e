//! The gates: what a row must reach, most of them as a ratio to another row of the same round.

use std::collections::BTreeMap;

use crate::trial::Row;

/// The rows of one round by name; a row that failed is missing.
pub(crate) type Round = BTreeMap<&'static str, Row>;

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

struct Gate {
    what: &'static str,
    unit: &'static str,
    /// What one round says; none when a row it needs is missing.
    value: fn(&Round) -> Option<f64>,
    bound: Bound,
    /// The rows whose CPU time an event is compared beside their rates: the numerator's first.
    rows: Option<(&'static str, &'static str)>,
}

/// A gate's judgement over all rounds.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    /// The median over the rounds, its bound, and each round's value.
    pub(crate) text: String,
    /// None when no round had the rows for it.
    pub(crate) passed: Option<bool>,
}

fn rate(round: &Round, name: &str) -> Option<f64> {
    round.get(name)?.rate
}

fn ratio(round: &Round, over: &str, under: &str) -> Option<f64> {
    Some(rate(round, over)? / rate(round, under)?)
}

const RATIO: &str = "";

const GATES: &[Gate] = &[
    Gate {
        what: "yardstick: durable / hello",
        unit: RATIO,
        value: |round| ratio(round, "durable", "hello"),
        bound: Bound::AtLeast(0.65),
        rows: Some(("durable", "hello")),
    },
    Gate {
        what: "yardstick: relay / hello",
        unit: RATIO,
        value: |round| ratio(round, "relay", "hello"),
        bound: Bound::AtLeast(0.24),
        rows: Some(("relay", "hello")),
    },
    Gate {
        what: "weft-durable / durable",
        unit: RATIO,
        value: |round| ratio(round, "weft-durable", "durable"),
        bound: Bound::AtLeast(0.63),
        rows: Some(("weft-durable", "durable")),
    },
    Gate {
        what: "weft-durable, rate on one core",
        unit: " events/s",
        value: |round| rate(round, "weft-durable"),
        bound: Bound::AtLeast(100_000.0),
        rows: None,
    },
    Gate {
        what: "weft-out / relay",
        unit: RATIO,
        value: |round| ratio(round, "weft-out", "relay"),
        bound: Bound::AtLeast(0.75),
        rows: Some(("weft-out", "relay")),
    },
    Gate {
        what: "weft-out, rate on one core",
        unit: " events/s",
        value: |round| rate(round, "weft-out"),
        bound: Bound::AtLeast(45_000.0),
        rows: None,
    },
    Gate {
        what: "weft-3-of-10000 / weft-3",
        unit: RATIO,
        value: |round| ratio(round, "weft-3-of-10000", "weft-3"),
        bound: Bound::AtLeast(0.9),
        rows: Some(("weft-3-of-10000", "weft-3")),
    },
    Gate {
        what: "weft-100-ill / weft-100, each well function",
        unit: RATIO,
        value: |round| {
            let each = |name| round.get(name)?.rate_each;
            Some(each("weft-100-ill")? / each("weft-100")?)
        },
        bound: Bound::AtLeast(0.95),
        rows: None,
    },
    Gate {
        what: "weft-durable, open loop, answer p50",
        unit: " µs",
        value: |round| Some(round.get("weft-durable")?.answer?.p50),
        bound: Bound::AtMost(150.0),
        rows: None,
    },
    Gate {
        what: "weft-durable, open loop, answer p99",
        unit: " µs",
        value: |round| Some(round.get("weft-durable")?.answer?.p99),
        bound: Bound::AtMost(1_000.0),
        rows: None,
    },
    Gate {
        what: "weft-out, open loop, arrival p99",
        unit: " µs",
        value: |round| Some(round.get("weft-out")?.arrival?.p99),
        bound: Bound::AtMost(1_000.0),
        rows: None,
    },
    Gate {
        what: "weft-idle-10000, resident",
        unit: " MB",
        value: |round| Some(round.get("weft-idle-10000")?.resident_mb),
        bound: Bound::AtMost(100.0),
        rows: None,
    },
    Gate {
        what: "weft-owed, resident",
        unit: " MB",
        value: |round| Some(round.get("weft-owed")?.resident_mb),
        bound: Bound::AtMost(256.0),
        rows: None,
    },
];

/// Judges all gates.
pub(crate) fn judge(rounds: &[Round]) -> Vec<Verdict> {
    GATES.iter().map(|gate| judge_one(gate, rounds)).collect()
}

fn judge_one(gate: &Gate, rounds: &[Round]) -> Verdict {
    let values: Vec<f64> = rounds.iter().filter_map(gate.value).collect();
    let Some(median) = median(&values) else {
        return Verdict {
            what: gate.what,
            text: "not measured".into(),
            passed: None,
        };
    };
    let (passed, sign, bound) = match gate.bound {
        Bound::AtLeast(bound) => (bound <= median, "≥", bound),
        Bound::AtMost(bound) => (median <= bound, "≤", bound),
    };
    let each: Vec<String> = values.iter().map(|&value| short(value)).collect();
    let unit = gate.unit;
    let by_cpu = gate
        .rows
        .and_then(|(over, under)| by_cpu(rounds, over, under));
    let by_cpu = by_cpu.map_or_else(String::new, |ratio| format!("; by CPU {}", short(ratio)));
    let each = each.join(" ");
    let text = format!(
        "{}{unit} (gate {sign} {}; {each}{by_cpu})",
        short(median),
        short(bound)
    );
    Verdict {
        what: gate.what,
        text,
        passed: Some(passed),
    }
}

/// The ratio that the rates would have if both servers used all of their core.
///
/// On a machine that others use too, it moves less than the rates do. It judges nothing.
fn by_cpu(rounds: &[Round], over: &str, under: &str) -> Option<f64> {
    let one = |round: &Round| Some(round.get(under)?.cpu_micros? / round.get(over)?.cpu_micros?);
    median(&rounds.iter().filter_map(one).collect::<Vec<_>>())
}

/// The middle value; the mean of the two middle ones when there is no middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

fn short(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rates: &[(&'static str, f64)]) -> Round {
        let row = |rate| Row {
            rate: Some(rate),
            ..Row::default()
        };
        rates
            .iter()
            .map(|&(name, rate)| (name, row(rate)))
            .collect()
    }

    #[test]
    fn a_median_needs_no_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Medians of the rows alone would say 150 / 150.
        let rounds = [
            round(&[("durable", 100.0), ("weft-durable", 50.0)]),
            round(&[("durable", 150.0), ("weft-durable", 150.0)]),
            round(&[("durable", 400.0), ("weft-durable", 240.0)]),
        ];
        let verdicts = judge(&rounds);
        let gate = verdicts
            .iter()
            .find(|verdict| verdict.what == "weft-durable / durable")
            .unwrap();
        assert_eq!(gate.text, "0.60 (gate ≥ 0.63; 0.50 1.00 0.60)");
        assert_eq!(gate.passed, Some(false));
    }

    #[test]
    fn a_gate_without_its_rows_is_not_measured() {
        assert!(
            judge(&[round(&[("hello", 1.0)])])
                .iter()
                .all(|verdict| verdict.passed.is_none())
        );
    }
}
