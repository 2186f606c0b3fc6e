//! What a function written for Dapr says in its answer's body: `{"status": "RETRY"}` with a 200,
//! for triggers that say `replies: dapr`.
//!
//! As Dapr's runtime reads it: `SUCCESS`, no status, and a body that isn't such JSON are successes;
//! `RETRY` and any status it doesn't know are failures; `DROP` drops the event. Where Dapr logs a
//! drop, ours ends as `cancelled{dropped}`. Source: Dapr's "Pub/sub API reference", expected HTTP
//! response.

use bytes::Bytes;
use serde::Deserialize;

use crate::answer::{Answer, Attempted, Nack, Reply};

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    status: String,
}

/// The answer that `attempted` is by Dapr's rules. Only successes without a CloudEvent are read.
pub(crate) fn answer(attempted: &Attempted) -> Option<Answer> {
    let Answer::Took(Reply::Ignored { status }) = attempted.answer else {
        return None;
    };
    let said = read(&attempted.body)?;
    Some(match said.as_str() {
        "" | "SUCCESS" => Answer::Took(Reply::None { status }),
        "DROP" => Answer::Declined {
            status,
            nack: Nack::Drop,
        },
        other => Answer::Garbled {
            status,
            why: format!("the function answered with the Dapr status {other:?}"),
        },
    })
}

fn read(body: &Bytes) -> Option<String> {
    serde_json::from_slice::<Said>(body)
        .ok()
        .map(|said| said.status)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn bodies_mean_what_they_mean_to_dapr() {
        let bodies = [
            r#"{"status":"SUCCESS"}"#,
            r#"{"status":"RETRY"}"#,
            r#"{"status":"DROP"}"#,
            r#"{"status":"LATER"}"#,
            r#"{"ok":true}"#,
            "OK",
        ];
        let lines = bodies.map(|body| {
            let attempted = Attempted {
                answer: Answer::Took(Reply::Ignored { status: 200 }),
                body: Bytes::from_static(body.as_bytes()),
            };
            format!("{body} -> {:?}", answer(&attempted))
        });
        expect![[r#"
            {"status":"SUCCESS"} -> Some(Took(None { status: 200 }))
            {"status":"RETRY"} -> Some(Garbled { status: 200, why: "the function answered with the Dapr status \"RETRY\"" })
            {"status":"DROP"} -> Some(Declined { status: 200, nack: Drop })
            {"status":"LATER"} -> Some(Garbled { status: 200, why: "the function answered with the Dapr status \"LATER\"" })
            {"ok":true} -> Some(Took(None { status: 200 }))
            OK -> None"#]]
        .assert_eq(&lines.join("\n"));
    }
}
