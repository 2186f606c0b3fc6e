//! Amounts of bytes as Kubernetes writes them: `10Gi`, `512Mi`, `1M`, or plain bytes.

use crate::problem::Wrong;

const UNITS: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// Reads an amount of bytes: a whole number, and one of Ki, Mi, Gi, Ti (powers of 1024) or
/// k, M, G, T (powers of 1000).
///
/// # Errors
///
/// The text isn't such an amount, or is 2^63 bytes or more.
pub fn parse(text: &str) -> Result<u64, Wrong> {
    let wrong = || Wrong::new(format!("is {text:?}"), cure(text));
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" => 1,
        unit => UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or_else(wrong)?,
    };
    if number.is_empty() {
        return Err(wrong());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|bytes| *bytes < 1 << 63)
        .ok_or_else(|| Wrong::new(format!("is {text:?}"), "it must be less than 8388608Ti"))
}

fn cure(text: &str) -> String {
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let (number, unit) = trimmed.split_at(split);
    let meant = match unit.trim().to_ascii_uppercase().as_str() {
        "K" | "KB" | "KIB" | "KI" => Some("Ki"),
        "M" | "MB" | "MIB" | "MI" => Some("Mi"),
        "G" | "GB" | "GIB" | "GI" => Some("Gi"),
        "T" | "TB" | "TIB" | "TI" => Some("Ti"),
        _ => None,
    };
    match meant {
        Some(meant) if !number.is_empty() => format!("write {number}{meant}"),
        _ => "write a whole amount of bytes such as 10Gi, 512Mi or 65536".to_owned(),
    }
}

/// The shortest exact text of an amount of bytes: `1Mi`, `1500`.
pub fn text(bytes: u64) -> String {
    UNITS[..4]
        .iter()
        .rev()
        .find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor))
        .map_or_else(
            || bytes.to_string(),
            |(name, factor)| format!("{}{name}", bytes / factor),
        )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn amounts_of_bytes() {
        let lines: Vec<String> = [
            "10Gi",
            "1Mi",
            "512Mi",
            "65536",
            "1M",
            "0",
            "1500",
            "10GB",
            "1.5Gi",
            "10 Gi",
            "",
            "Gi",
            "-1",
            "99999999Ti",
            "ten",
            "5g",
        ]
        .iter()
        .map(|amount| match parse(amount) {
            Ok(bytes) => format!("{amount} -> {bytes} {}", text(bytes)),
            Err(wrong) => format!("{amount} -> {wrong}"),
        })
        .collect();
        expect![[r#"
            10Gi -> 10737418240 10Gi
            1Mi -> 1048576 1Mi
            512Mi -> 536870912 512Mi
            65536 -> 65536 64Ki
            1M -> 1000000 1000000
            0 -> 0 0
            1500 -> 1500 1500
            10GB -> is "10GB", write 10Gi
            1.5Gi -> is "1.5Gi", write a whole amount of bytes such as 10Gi, 512Mi or 65536
            10 Gi -> is "10 Gi", write 10Gi
             -> is "", write a whole amount of bytes such as 10Gi, 512Mi or 65536
            Gi -> is "Gi", write a whole amount of bytes such as 10Gi, 512Mi or 65536
            -1 -> is "-1", write a whole amount of bytes such as 10Gi, 512Mi or 65536
            99999999Ti -> is "99999999Ti", it must be less than 8388608Ti
            ten -> is "ten", write a whole amount of bytes such as 10Gi, 512Mi or 65536
            5g -> is "5g", write 5Gi"#]]
        .assert_eq(&lines.join("\n"));
    }
}
