//! What an answer means, as contract §2 has it, read only as far as it matters.

use std::time::Duration;

use broker::answer::ANSWER_BODY_KEPT_BYTES;
use broker::{Answer, Attempted, Clock, Nack, Reply};
use bytes::{Bytes, BytesMut};
use event::http::{Claim, ContentMode, Limits, content_mode};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::live::{Failure, Live, Stream};
use super::{Settings, retry_after};

/// How much of a body that nobody needs is read, so that its connection can be used again. The
/// connection of a longer one is closed.
const REST_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(ANSWER_BODY_KEPT_BYTES <= REST_BYTES_MAX);

/// How long such a body is waited for. The status has already said what the answer means; then
/// what has come of the body is kept, and the connection is closed.
const REST_TIME_MAX: Duration = Duration::from_secs(1);

/// By which a function says that it didn't process the event.
const WEFT_NACK: HeaderName = HeaderName::from_static("weft-nack");

/// Headers that an answer in binary mode has all of when it claims to be an event.
const CLAIMING: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];

/// Reads the answer, and says whether all of it was read.
///
/// # Errors
///
/// The connection broke inside a reply. Elsewhere a broken body changes nothing: the status has
/// been heard.
pub(super) async fn read<S: Stream>(
    live: &mut Live<S>,
    response: Response<Incoming>,
    settings: &Settings,
    clock: &dyn Clock,
) -> Result<(Attempted, bool), Failure> {
    let (head, mut body) = response.into_parts();
    let code = head.status.as_u16();
    // It was not processed, so whatever the body is, it is no reply.
    if let Some(nack) = nack(&head.headers, clock) {
        let start = start(live, &mut body).await;
        let answer = Answer::Declined { status: code, nack };
        let attempted = Attempted {
            answer,
            body: start.kept,
        };
        return Ok((attempted, start.whole));
    }
    if may_be_reply(head.status, &head.headers) {
        return reply(live, head.status, &head.headers, body, settings).await;
    }
    let start = start(live, &mut body).await;
    let answer = match head.status {
        StatusCode::ACCEPTED => Answer::Took(Reply::None { status: code }),
        status if status.is_success() && start.is_empty => {
            Answer::Took(Reply::None { status: code })
        }
        status if status.is_success() => Answer::Took(Reply::Ignored { status: code }),
        status => {
            let retry_after = retry_after::of(status, &head.headers, clock.wall());
            Answer::Said {
                status: code,
                retry_after,
            }
        }
    };
    Ok((
        Attempted {
            answer,
            body: start.kept,
        },
        start.whole,
    ))
}

/// What the header `Weft-Nack` asks for, on an answer of any status; a word that we don't know
/// counts as absent (GUARANTEES 7).
fn nack(headers: &HeaderMap, clock: &dyn Clock) -> Option<Nack> {
    let word = headers.get(WEFT_NACK)?.to_str().ok()?.trim();
    if word.eq_ignore_ascii_case("retry") {
        let after = retry_after::asked(headers, clock.wall());
        return Some(Nack::Retry { after });
    }
    word.eq_ignore_ascii_case("drop").then_some(Nack::Drop)
}

/// Whether an answer could be an event: only then its body is read whole.
fn may_be_reply(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_success()
        && status != StatusCode::ACCEPTED
        && match content_mode(headers) {
            ContentMode::Binary => CLAIMING.iter().all(|name| headers.contains_key(*name)),
            ContentMode::Structured | ContentMode::Batched | ContentMode::UnsupportedFormat(_) => {
                true
            }
        }
}

/// Reads an answer that claims to be an event.
async fn reply<S: Stream>(
    live: &mut Live<S>,
    status: StatusCode,
    headers: &HeaderMap,
    mut body: Incoming,
    settings: &Settings,
) -> Result<(Attempted, bool), Failure> {
    let limit = settings.reply_bytes_max;
    let code = status.as_u16();
    let too_large = |body: &[u8]| {
        let why = format!("the reply is larger than {limit} bytes");
        (
            Attempted {
                answer: Answer::Took(Reply::TooLarge { status: code, why }),
                body: kept(body),
            },
            false,
        )
    };
    if body.size_hint().lower() > limit as u64 {
        let start = start(live, &mut body).await;
        return Ok(too_large(&start.kept));
    }
    let mut pieces = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = live.frame(&mut body).await else {
            break;
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        pieces.extend_from_slice(&data);
        if pieces.len() > limit {
            return Ok(too_large(&pieces));
        }
    }
    let start = kept(&pieces);
    let is_empty = pieces.is_empty();
    let limits = Limits {
        event_bytes_max: limit,
        ..Limits::default()
    };
    let answer = match event::http::reply(status, headers, pieces.freeze(), &limits) {
        Claim::NotAnEvent if is_empty => Answer::Took(Reply::None { status: code }),
        Claim::NotAnEvent => Answer::Took(Reply::Ignored { status: code }),
        Claim::Event(event) => Answer::Took(Reply::Event {
            status: code,
            event,
        }),
        Claim::Invalid(error) => Answer::Garbled {
            status: code,
            why: error.to_string(),
        },
    };
    Ok((
        Attempted {
            answer,
            body: start,
        },
        true,
    ))
}

/// The start of a body that means nothing more.
struct Start {
    kept: Bytes,
    is_empty: bool,
    whole: bool,
}

async fn start<S: Stream>(live: &mut Live<S>, body: &mut Incoming) -> Start {
    let announced = body.size_hint().lower();
    let mut whole = body.is_end_stream();
    let mut pieces = BytesMut::new();
    let mut read = 0;
    let mut deadline = None;
    while !whole && read <= REST_BYTES_MAX {
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + REST_TIME_MAX);
        let Ok(next) = timeout_at(deadline, live.frame(body)).await else {
            break;
        };
        match next {
            None => whole = true,
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                let room = ANSWER_BODY_KEPT_BYTES - pieces.len();
                pieces.extend_from_slice(&data[..data.len().min(room)]);
                read += data.len();
                whole = body.is_end_stream();
            }
            Some(Err(_broken)) => break,
        }
    }
    Start {
        kept: pieces.freeze(),
        is_empty: announced == 0 && read == 0,
        whole,
    }
}

fn kept(body: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&body[..body.len().min(ANSWER_BODY_KEPT_BYTES)])
}
