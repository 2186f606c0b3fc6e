//! `weft dead-letters export`: JSON lines, page by page, so that millions need no memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::admin::letters::ExportView;
use crate::cli::letters::ExportArgs;
use crate::cli::{AdminArgs, Output};
use crate::commands::api::ask;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::table::many;

/// Writes them.
pub(super) fn run(args: &ExportArgs) -> Result<(), Failure> {
    let admin = AdminArgs {
        admin_url: args.node.admin_url.clone(),
        token_file: args.node.token_file.clone(),
        output: Output::Json,
    };
    let filter = super::query(&args.filter, args.state);
    let mut file = match args.to.as_path() {
        stdout if stdout == Path::new("-") => None,
        path => {
            let file = File::create(path);
            let file = file.map_err(|error| unwritable(path, &error))?;
            Some(BufWriter::new(file))
        }
    };
    let (mut from, mut written) = (0, 0);
    loop {
        let path = format!("/api/v1/dead-letters/export?{filter}limit=100&from={from}");
        let page = ask::<ExportView>(&admin, &path)?.value;
        for item in &page.items {
            let line = serde_json::to_string(item).map_err(Failure::fault)?;
            match &mut file {
                None => out::line(line),
                Some(file) => {
                    writeln!(file, "{line}").map_err(|error| unwritable(&args.to, &error))?
                }
            }
            written += 1;
        }
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    if let Some(mut file) = file {
        file.flush().map_err(|error| unwritable(&args.to, &error))?;
        let letters = many(written, "dead letter", "dead letters");
        out::note(format_args!("{letters} written to {}", args.to.display()));
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::Unwritable,
        format!("{path} can't be written: {error}"),
    )
}
