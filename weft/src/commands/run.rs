//! `weft run`: a node.

use crate::cli::RunArgs;
use crate::exit::Failure;
use crate::node::files::load;
use crate::node::serve::serve;
use crate::node::settings::Settings;

/// Runs a node until it is told to stop.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let loaded = load(&args.dirs)?;
    loaded.node_is_known()?;
    let settings = Settings::new(args, loaded.lowered.node.clone())?;
    super::block_on(serve(settings, loaded))
}
