//! JSON for people: indented, and otherwise exactly the text that came. Numbers, escapes and the
//! order of members are not touched, so what is shown is what was sent.

/// How far each level is indented.
const INDENT: &str = "  ";

/// Indents JSON text. Anything that isn't JSON comes back as `None`.
pub(crate) fn indent(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.is_empty() || serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return None;
    }
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut chars) = (0usize, text.chars().peekable());
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&INDENT.repeat(depth));
    };
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for char in chars.by_ref() {
                    out.push(char);
                    if char == '"' && !escaped {
                        break;
                    }
                    escaped = char == '\\' && !escaped;
                }
            }
            '{' | '[' => {
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                out.push(char);
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                    continue;
                }
                depth += 1;
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    Some(out)
}

/// Data as a person reads it: indented JSON, text as it is, else how many bytes it is. At most
/// `lines_max` lines, each behind `margin`.
pub(crate) fn readable(data: &[u8], margin: &str, lines_max: usize) -> String {
    let text = indent(data).or_else(|| {
        let text = std::str::from_utf8(data).ok()?;
        let printable = text
            .chars()
            .all(|char| !char.is_control() || char.is_whitespace());
        printable.then(|| text.trim_end().to_owned())
    });
    let Some(text) = text else {
        return format!("{margin}({} bytes that aren't text)", data.len());
    };
    let total = text.lines().count();
    let mut lines: Vec<String> = text
        .lines()
        .take(lines_max)
        .map(|line| format!("{margin}{line}"))
        .collect();
    if total > lines_max {
        lines.push(format!("{margin}... {} more lines", total - lines_max));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn indenting_changes_nothing_but_whitespace() {
        let text = r#" {"a" :[1e400, -0.10,[] , {}],"b\"{,": "x, [\\" ,"n":{"z":null}} "#;
        expect![[r#"
            {
              "a": [
                1e400,
                -0.10,
                [],
                {}
              ],
              "b\"{,": "x, [\\",
              "n": {
                "z": null
              }
            }"#]]
        .assert_eq(&indent(text.as_bytes()).unwrap());
    }

    #[test]
    fn what_is_no_json_is_left_alone() {
        assert_eq!(indent(b"{oops"), None);
        assert_eq!(readable(b"hello\nworld\n", "  ", 9), "  hello\n  world");
        assert_eq!(readable(b"\x00\x01", "", 9), "(2 bytes that aren't text)");
        assert_eq!(readable(b"1\n2\n3", "", 1), "1\n... 2 more lines");
    }
}
