//! Spans of time on the command line: `500ms`, `2s`, `5m`, `1h`, `PT2S`.

use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

/// A span a person wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = || format!("\"{text}\" isn't a span of time, write 500ms, 2s, 5m or PT2S");
        let parsed: SignedDuration = text.parse().map_err(|_| advice())?;
        Duration::try_from(parsed).map(Self).map_err(|_| advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ways_to_write_a_span_are_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("5m", 300_000),
            ("PT2S", 2_000),
            ("PT0.5S", 500),
        ] {
            assert_eq!(
                text.parse::<Span>().unwrap().0,
                Duration::from_millis(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_span_is_refused_with_examples() {
        for text in ["", "2", "soon", "-1s"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains("write 500ms"), "{error}");
        }
    }
}
