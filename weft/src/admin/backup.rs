//! The calls of `weft backup`: begin one, and see how it goes.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use broker::Engine;
use journal::Journal;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::problem::Problem;
use crate::backup::take::{Part, Progress, make_folder, take};
use crate::node::open::{KEPT_FOLDER, LOG_FOLDER};

/// What a backup is asked for with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    /// Where to write it, on the node's machine: an absolute path of a folder that isn't there yet.
    pub(crate) folder: String,
}

/// Begins a backup.
pub(crate) async fn begin(
    Shared(state): Shared<State>,
    Json(asked): Json<Asked>,
) -> Result<(StatusCode, Json<Progress>), Problem> {
    let folder = PathBuf::from(&asked.folder);
    if !folder.is_absolute() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!(
                "folder is \"{}\", write an absolute path on the node's machine",
                asked.folder
            ),
        ));
    }
    let parts = parts(&state.admin.engine);
    // What was stored before this call is in the backup, and what was noted too.
    for part in &parts {
        part.journal.flush().await.map_err(|_| Problem::ended())?;
    }
    let progress = state.backups.begin(&folder).map_err(|running| {
        Problem::new(
            StatusCode::CONFLICT,
            format!(
                "a backup to {} goes on; there is one at a time",
                running.folder
            ),
        )
    })?;
    let (backups, now) = (state.backups.clone(), state.admin.clock.wall());
    let made = {
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || make_folder(&folder))
            .await
            .map_err(|_| Problem::ended())?
    };
    if let Err(error) = made {
        let why = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "is there already; a backup is written to a folder of its own".into()
            }
            std::io::ErrorKind::NotFound => {
                "can't be made: the folder above it isn't there, on the node's machine".into()
            }
            _ => format!("can't be made: {error}"),
        };
        backups.give_up(&why);
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("{} {why}", folder.display()),
        ));
    }
    tokio::task::spawn_blocking(move || take(&backups, folder, &parts, now));
    Ok((StatusCode::ACCEPTED, Json(progress)))
}

/// The node's journals, the log first.
fn parts(engine: &Engine) -> Vec<Part> {
    let part = |folder, journal: &Journal| Part {
        folder,
        journal: journal.clone(),
    };
    vec![
        part(LOG_FOLDER, engine.journal()),
        part(KEPT_FOLDER, engine.kept()),
    ]
}

/// How it goes.
pub(crate) async fn last(Shared(state): Shared<State>) -> Result<Json<Progress>, Problem> {
    let last = state.backups.last();
    last.map(Json).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no backup was taken since the node was started; `weft backup DIR` takes one",
        )
    })
}
