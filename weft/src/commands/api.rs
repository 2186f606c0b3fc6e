//! Asking a node's admin API, with plain words when it doesn't answer or says no.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::{ADMIN_URL, AdminArgs, Output};
use crate::client::{self, Client};
use crate::exit::{Exit, Failure};
use crate::node::settings::token;
use crate::{json, out};

/// A node's answer: the text as it came, and what it says.
pub(crate) struct Said<T> {
    text: Bytes,
    /// The answer, read.
    pub(crate) value: T,
}

/// Asks for `path`, which begins with `/`.
///
/// # Errors
///
/// Nobody answers, the node said no, or there is no such thing.
pub(crate) fn ask<T: DeserializeOwned>(args: &AdminArgs, path: &str) -> Result<Said<T>, Failure> {
    call(args, Method::GET, path, Bytes::new())
}

/// Tells the node to do something, with what it needs to know.
///
/// # Errors
///
/// Nobody answers, the node said no, or there is no such thing.
pub(crate) fn tell<T: DeserializeOwned>(
    args: &AdminArgs,
    path: &str,
    body: &impl Serialize,
) -> Result<Said<T>, Failure> {
    let body = serde_json::to_vec(body).map_err(Failure::fault)?;
    call(args, Method::POST, path, body.into())
}

/// Asks, or tells, whatever the method.
///
/// # Errors
///
/// Nobody answers, the node said no, or there is no such thing.
pub(crate) fn call<T: DeserializeOwned>(
    args: &AdminArgs,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Said<T>, Failure> {
    let mut client = Client::new(&args.admin_url, ADMIN_URL)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut headers = HeaderMap::new();
    if let Some(file) = &args.token_file {
        let value = format!("Bearer {}", token(file)?);
        headers.insert(
            header::AUTHORIZATION,
            value.parse().map_err(Failure::fault)?,
        );
    }
    if !body.is_empty() {
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
    }
    let base = client.path().trim_end_matches('/').to_owned();
    let path = format!("{base}{path}");
    let answer = super::block_on(async {
        let answer = client.request(method, &path, &headers, body).await;
        answer.map_err(unreachable)
    })?;
    if answer.status.is_success() {
        let value = serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::fault(format!(
                "the answer of {} isn't of this version: {error}",
                args.admin_url
            ))
        })?;
        return Ok(Said {
            text: answer.body,
            value,
        });
    }
    let problem = answer.problem();
    let said = if problem.detail.is_empty() {
        problem.title
    } else {
        problem.detail
    };
    Err(match answer.status {
        StatusCode::NOT_FOUND => Failure::new(Exit::NotFound, said),
        status => Failure::new(Exit::Refused, format!("{} {said}", status.as_u16())),
    })
}

fn unreachable(error: client::Error) -> Failure {
    let failure = Failure::new(Exit::Unreachable, &error);
    match error {
        client::Error::Unreachable { .. } => failure.cure(
            "is the node running? start it with `weft run DIR`, or name its admin API with --admin-url URL",
        ),
        _ => failure,
    }
}

impl<T> Said<T> {
    /// Prints the answer as `args` ask; `table` makes the one for people.
    ///
    /// # Errors
    ///
    /// A fault, when it can't be written as YAML.
    pub(crate) fn print(
        &self,
        format: Output,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match format {
            Output::Table => out::text(table(&self.value)),
            Output::Json => match json::indent(&self.text) {
                Some(text) => out::line(text),
                None => out::bytes(&self.text),
            },
            Output::Yaml => {
                let value: serde_json::Value =
                    serde_json::from_slice(&self.text).map_err(Failure::fault)?;
                crate::format::print(Output::Yaml, &value)?;
            }
        }
        Ok(())
    }
}
