//! `weft restore`: makes a data folder of a backup, and says what it holds.

use serde_json::json;

use crate::backup::restore::{manifest, restore};
use crate::cli::{Output, RestoreArgs};
use crate::commands::backup::bar;
use crate::exit::{Exit, Failure};
use crate::format::print;
use crate::out;
use crate::table::{count, many, size};

/// Restores and verifies.
pub(crate) fn run(args: &RestoreArgs) -> Result<(), Failure> {
    let manifest = manifest(&args.dir)?;
    let bar = bar();
    bar.set_length(manifest.bytes());
    restore(&args.dir, &manifest, &args.data, |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let mut folders: Vec<&str> = manifest
        .files
        .iter()
        .filter_map(|file| file.folder_and_name())
        .map(|(folder, _)| folder)
        .collect();
    folders.dedup();
    let (mut records, mut damage) = (0, Vec::new());
    for folder in folders {
        let verified = journal::verify(&args.data.join(folder)).map_err(|error| {
            Failure::new(
                Exit::Log,
                format!("{}/{folder} can't be read: {error}", args.data.display()),
            )
            .cure("every file is what the node had; `weft log verify` says more")
        })?;
        records += verified
            .segments
            .iter()
            .map(|segment| segment.records)
            .sum::<u64>();
        let named = |damage: &journal::Damage| format!("{folder}: {damage}");
        damage.extend(verified.damage.iter().map(named));
    }
    match args.output {
        Output::Table => {
            out::line(format_args!(
                "restored {} to {}: {}, {}, taken {}, offsets {} up to {}, {} read",
                args.dir.display(),
                args.data.display(),
                many(manifest.files.len() as u64, "file", "files"),
                size(manifest.bytes()),
                manifest.taken,
                manifest.start,
                manifest.end,
                many(records, "record", "records"),
            ));
            damage
                .iter()
                .for_each(|damage| out::line(format_args!("damage  {damage}")));
        }
        format => print(
            format,
            &json!({
                "data": args.data.display().to_string(),
                "taken": manifest.taken,
                "start": manifest.start,
                "end": manifest.end,
                "files": manifest.files.len(),
                "bytes": manifest.bytes(),
                "records": records,
                "damage": damage,
            }),
        )?,
    }
    if damage.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Log,
        format!("{} places can't be read", count(damage.len() as u64)),
    )
    .cure("so it was in the node's own log; the data folder can be run all the same"))
}
