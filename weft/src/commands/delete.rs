//! `weft delete`: the end of a resource whose file is gone, at once.

use bytes::Bytes;
use http::Method;

use crate::admin::operate::DeletedView;
use crate::cli::DeleteArgs;
use crate::commands::api::call;
use crate::commands::confirm::confirm;
use crate::commands::describe::encoded;
use crate::exit::Failure;
use crate::table::count;

/// Deletes, after asking when something is lost by it.
pub(crate) fn run(args: &DeleteArgs) -> Result<(), Failure> {
    let (namespace, name) = match args.name.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => ("default", args.name.as_str()),
    };
    let kind = args.kind.word();
    let (path, what) = (
        format!(
            "/api/v1/resources/{kind}/{}/{}",
            encoded(namespace),
            encoded(name)
        ),
        format!("{kind} {namespace}/{name}"),
    );
    let delete = |query: &str| {
        call::<DeletedView>(
            &args.admin,
            Method::DELETE,
            &format!("{path}{query}"),
            Bytes::new(),
        )
    };
    if !args.yes {
        let DeletedView {
            cancelled,
            forwards_cancelled,
            ..
        } = delete("?dryRun=true")?.value;
        let mut question = format!("deleting {what} cancels {} owed to it", count(cancelled));
        if forwards_cancelled > 0 {
            question.push_str(&format!(
                " and the forwarding of {} dead letters, which stay kept",
                count(forwards_cancelled)
            ));
        }
        if cancelled + forwards_cancelled > 0 {
            confirm(&question, false)?;
        }
    }
    delete("")?.print(args.admin.output, |view| {
        format!(
            "{what} is deleted; {} owed were cancelled\n",
            count(view.cancelled)
        )
    })
}
