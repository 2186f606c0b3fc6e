//! `weft run`: a node.

use crate::cli::RunArgs;
use crate::exit::Failure;
use crate::node::files::{Loaded, load};
use crate::node::open_files;
use crate::node::serve::serve;
use crate::node::settings::Settings;

/// Runs a node until it is told to stop.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let loaded = load(&args.dirs)?;
    loaded.node_is_known()?;
    let Loaded { files, lowered, .. } = loaded;
    open_files::raise_limit();
    let settings = Settings::new(args, lowered.node)?;
    super::block_on(serve(settings, files))
}
