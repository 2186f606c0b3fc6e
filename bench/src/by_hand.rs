//! The driver and the sink on their own, for measuring something that is not a row.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::folder::BROKER_PATH;
use crate::out;
use crate::rig::{Load, Pace, Rig};
use crate::sink::Habit;
use crate::trial::DATA_BYTES;
use crate::wire::Request;

/// What `load` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadOptions {
    /// The server.
    #[arg(long)]
    to: SocketAddr,
    /// Where events are posted.
    #[arg(long, default_value = BROKER_PATH)]
    path: String,
    /// Connections that send.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Events a second, by the clock; without it each connection sends when it was answered.
    #[arg(long)]
    rate: Option<u64>,
    /// Seconds measured, after one of warming up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// No more events than this.
    #[arg(long, default_value_t = u64::MAX)]
    events: u64,
    /// Bytes of data in each event.
    #[arg(long, default_value_t = DATA_BYTES)]
    data_bytes: usize,
}

/// What `sink` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct SinkOptions {
    /// Ports that answer at once.
    #[arg(long, default_value_t = 1)]
    prompt: usize,
    /// Ports that answer after --delay-ms.
    #[arg(long, default_value_t = 0)]
    slow: usize,
    /// Ports that refuse connections.
    #[arg(long, default_value_t = 0)]
    dead: usize,
    /// What a slow port waits.
    #[arg(long, default_value_t = 10_000)]
    delay_ms: u64,
    /// Seconds until it ends by itself.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Sends to a server that is already there, and prints what came of it.
pub(crate) fn load(options: &LoadOptions) -> io::Result<()> {
    let mut rig = Rig::new()?;
    let host = options.to.to_string();
    let run = format!("{:x}", std::process::id());
    let request = Request::event(&host, &options.path, &run, options.data_bytes);
    rig.connect(options.to, options.connections.max(1), 1, &request)?;
    let load = Load {
        pace: match options.rate {
            Some(rate) => Pace::Open {
                per_second: rate.max(1),
            },
            None => Pace::Closed,
        },
        warm: Duration::from_secs(1),
        measured: Duration::from_secs(options.seconds.max(1)),
        events_max: options.events,
        deliveries_percent: 0,
        owed_max: None,
    };
    let seen = rig.run(&load, || Ok(()))?;
    let at = |quantile| seen.waits.value_at_quantile(quantile) as f64 / 1_000.0;
    out::line(&format!(
        "{:.0} answers/s  p50 {:.0} µs  p99 {:.0} µs  p99.9 {:.0} µs  max {:.0} µs",
        seen.answers.taken_in_window as f64 / seen.window.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        seen.waits.max() as f64 / 1_000.0,
    ));
    out::line(&format!(
        "{} sent, {} taken, {} refused, {} connections lost, {} never sent",
        rig.sent(),
        seen.answers.taken,
        seen.answers.refused,
        seen.answers.lost,
        seen.unsent
    ));
    Ok(())
}

/// Receives for a while, and prints what came once a second.
pub(crate) fn sink(options: &SinkOptions) -> io::Result<()> {
    let mut rig = Rig::new()?;
    let slow = Habit::Slow(Duration::from_millis(options.delay_ms));
    let habits = [
        (Habit::Prompt, options.prompt),
        (slow, options.slow),
        (Habit::Dead, options.dead),
    ];
    for (habit, count) in habits {
        for _ in 0..count {
            out::line(&format!("{habit:?}  http://{}/", rig.open(habit)?));
        }
    }
    for _ in 0..options.seconds {
        rig.rest(Duration::from_secs(1))?;
        let arrived: u64 = rig.sink.ports.iter().map(|port| port.arrived).sum();
        let duplicates: u64 = rig.sink.ports.iter().map(|port| port.duplicates).sum();
        out::line(&format!("{arrived} arrived, {duplicates} twice"));
    }
    Ok(())
}
