//! The rows of the table: which server, with what set-up, measured how.

use std::time::Duration;

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Server {
    Hello,
    Durable,
    Relay,
    Weft,
}

/// Who gets the events, beyond the server's own answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Functions {
    /// Nobody: the row measures the door.
    None,
    /// So many functions, each of which wants every event.
    Every(usize),
    /// So many functions that each want one type; events go to them in turn. When not all are
    /// `well`, the last but one is dead and the last takes 10 s.
    Turns { functions: usize, well: bool },
    /// One function that is dead, so that all stays owed.
    Dead,
}

/// What is done with the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// Closed loop for the rate, then open loop for the latency.
    Speed,
    /// Nothing is sent; memory and idle CPU are what counts.
    Rest,
    /// So many events are sent that stay owed; memory is what counts.
    Owe { events: u64 },
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) server: Server,
    pub(crate) functions: Functions,
    /// Triggers that want none of the events, besides.
    pub(crate) idle_triggers: usize,
    pub(crate) measure: Measure,
    /// Added to each sync.
    pub(crate) sync_delay: Duration,
}

impl Functions {
    /// Ports of the sink that are prompt.
    pub(crate) fn prompt(self) -> usize {
        match self {
            Self::None | Self::Dead => 0,
            Self::Every(functions)
            | Self::Turns {
                functions,
                well: true,
            } => functions,
            Self::Turns {
                functions,
                well: false,
            } => functions - 2,
        }
    }

    /// Deliveries at prompt ports that an event leads to, in hundredths.
    pub(crate) fn deliveries_percent(self) -> u64 {
        match self {
            Self::None | Self::Dead => 0,
            Self::Every(functions) => functions as u64 * 100,
            Self::Turns { functions, .. } => (self.prompt() * 100 / functions) as u64,
        }
    }

    /// Types that events take in turn.
    pub(crate) fn types(self) -> usize {
        match self {
            Self::Turns { functions, .. } => functions,
            _ => 1,
        }
    }
}

/// How long a slow function takes.
pub(crate) const SLOW: Duration = Duration::from_secs(10);

const PLAIN: Recipe = Recipe {
    name: "",
    about: "",
    server: Server::Weft,
    functions: Functions::None,
    idle_triggers: 0,
    measure: Measure::Speed,
    sync_delay: Duration::ZERO,
};

/// The rows on the disk as it is, in the order of the table. `owed` events stay owed in the last.
pub(crate) fn rows(owed: u64) -> Vec<Recipe> {
    let weft = PLAIN;
    vec![
        Recipe {
            name: "hello",
            about: "bare hyper, 200",
            server: Server::Hello,
            ..PLAIN
        },
        Recipe {
            name: "durable",
            about: "hyper, on disk, 202",
            server: Server::Durable,
            ..PLAIN
        },
        Recipe {
            name: "relay",
            about: "hyper, on disk, 202, sent on",
            server: Server::Relay,
            functions: Functions::Every(1),
            ..PLAIN
        },
        Recipe {
            name: "weft-durable",
            about: "no trigger",
            ..weft
        },
        Recipe {
            name: "weft-out",
            about: "1 trigger",
            functions: Functions::Every(1),
            ..weft
        },
        Recipe {
            name: "weft-3",
            about: "3 triggers, all match",
            functions: Functions::Every(3),
            ..weft
        },
        Recipe {
            name: "weft-3-of-10000",
            about: "10,000 triggers, 3 match",
            functions: Functions::Every(3),
            idle_triggers: 9_997,
            ..weft
        },
        Recipe {
            name: "weft-100",
            about: "100 functions, all well",
            functions: Functions::Turns {
                functions: 100,
                well: true,
            },
            ..weft
        },
        Recipe {
            name: "weft-100-ill",
            about: "1 of 100 dead, 1 takes 10 s",
            functions: Functions::Turns {
                functions: 100,
                well: false,
            },
            ..weft
        },
        Recipe {
            name: "weft-idle-10000",
            about: "10,000 idle triggers",
            idle_triggers: 10_000,
            measure: Measure::Rest,
            ..weft
        },
        Recipe {
            name: "weft-owed",
            about: "all owed to a dead function",
            functions: Functions::Dead,
            measure: Measure::Owe { events: owed },
            ..weft
        },
    ]
}

/// The rows again whose speed hangs on the disk, with `millis` added to each sync.
pub(crate) fn delayed_rows(millis: u64) -> Vec<Recipe> {
    let names: [(&str, &'static str); 4] = match millis {
        1 => [
            ("durable", "durable+1ms"),
            ("relay", "relay+1ms"),
            ("weft-durable", "weft-durable+1ms"),
            ("weft-out", "weft-out+1ms"),
        ],
        _ => [
            ("durable", "durable+5ms"),
            ("relay", "relay+5ms"),
            ("weft-durable", "weft-durable+5ms"),
            ("weft-out", "weft-out+5ms"),
        ],
    };
    let sync_delay = Duration::from_millis(millis);
    let all = rows(0);
    let delayed = |recipe: &Recipe| {
        let (_, name) = names.iter().find(|(plain, _)| *plain == recipe.name)?;
        Some(Recipe {
            name,
            sync_delay,
            ..*recipe
        })
    };
    all.iter().filter_map(delayed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_own_name() {
        let mut all = rows(1);
        all.extend(delayed_rows(1));
        all.extend(delayed_rows(5));
        let mut names: Vec<&str> = all.iter().map(|recipe| recipe.name).collect();
        let rows = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), rows), (19, 19));
    }

    #[test]
    fn deliveries_follow_from_the_functions() {
        let percent = |functions: Functions| functions.deliveries_percent();
        assert_eq!(percent(Functions::None), 0);
        assert_eq!(percent(Functions::Every(3)), 300);
        assert_eq!(
            percent(Functions::Turns {
                functions: 100,
                well: true
            }),
            100
        );
        assert_eq!(
            percent(Functions::Turns {
                functions: 100,
                well: false
            }),
            98
        );
    }
}
