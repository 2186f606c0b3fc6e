//! The commands that change how a running node goes on: pause, resume, delete.

use clap::{Args, ValueEnum};

use super::AdminArgs;

#[derive(Debug, Args)]
#[command(
    about = "Hold back what a trigger or a destination is owed",
    long_about = "Sends nothing more for a trigger, or to a destination, until it is resumed. What is in \
                  the air may finish; events go on being matched and owed; no attempt is burnt and no \
                  event grows older meanwhile. A pause survives a restart.",
    after_help = "Examples:
  weft pause trigger shop/billing
  weft pause trigger billing
  weft pause destination http://127.0.0.1:8081/
  weft pause destination shop/billing-function     a Sink, by its name"
)]
pub(crate) struct PauseArgs {
    /// What it is
    #[arg(value_name = "KIND")]
    pub(crate) kind: Pausable,
    /// A trigger's NAME or NAMESPACE/NAME; a destination's address, or its Sink's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(
    about = "Let a paused trigger or destination go on",
    long_about = "Lets what `weft pause` held back go on. By default all that is owed is delivered. With \
                  --from, what is older than that is cancelled instead (counted as dropped); the count is \
                  shown and asked about first. What the YAML pauses, the YAML must resume: the command \
                  says which file and line.",
    after_help = "Examples:
  weft resume trigger shop/billing
  weft resume destination http://127.0.0.1:8081/
  weft resume trigger billing --from latest                   drop the backlog
  weft resume trigger billing --from 2026-11-21T09:00:00Z     drop what is older
  weft resume trigger billing --from latest --yes"
)]
pub(crate) struct ResumeArgs {
    /// What it is
    #[arg(value_name = "KIND")]
    pub(crate) kind: Pausable,
    /// A trigger's NAME or NAMESPACE/NAME; a destination's address, or its Sink's name
    pub(crate) name: String,
    /// Where it goes on: backlog, latest, or a time (RFC 3339)
    #[arg(long, value_name = "WHERE", default_value = "backlog")]
    pub(crate) from: String,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// What can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pausable {
    /// A trigger
    Trigger,
    /// Everything that goes to one address or Sink, whoever's it is
    #[value(alias = "sink")]
    Destination,
}

#[derive(Debug, Args)]
#[command(
    about = "Delete a trigger, or another resource, whose file is gone",
    long_about = "Deletes a resource whose file is gone at once, instead of ten minutes after it went. What \
                  a trigger is owed ends as cancelled (deleted); the count is shown and asked about first. \
                  Its dead letters stay. What a file still declares is not deleted: the command says which \
                  file and line.",
    after_help = "Examples:
  weft delete trigger shop/billing
  weft delete trigger billing --yes
  weft delete broker shop/default"
)]
pub(crate) struct DeleteArgs {
    /// What it is
    #[arg(value_name = "KIND")]
    pub(crate) kind: Deletable,
    /// Its NAME or NAMESPACE/NAME
    pub(crate) name: String,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// What can be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deletable {
    /// A trigger, with what it is owed
    Trigger,
    /// A broker
    Broker,
    /// A DeliveryPolicy
    #[value(alias = "delivery-policy")]
    Policy,
    /// A Sink
    Sink,
}

impl Deletable {
    /// The kind as YAML and the admin API write it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Trigger => "Trigger",
            Self::Broker => "Broker",
            Self::Policy => "DeliveryPolicy",
            Self::Sink => "Sink",
        }
    }
}
