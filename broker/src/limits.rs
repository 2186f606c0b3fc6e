//! The engine's bounds, by name, and what happens at each.

/// Bounds of one node's engine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one event. A larger one is refused at the door; a larger reply ends its delivery
    /// as a dead letter, cause `reply`.
    pub event_bytes_max: usize,
    /// Requests in the air per worker. At the bound ready lanes wait their turn; each gets one
    /// place before any gets its second.
    pub in_flight_max: usize,
    /// Bytes of events in the air and of replies waiting to be stored, per worker. Ready lanes
    /// wait. Where it is replies that take the bytes, a lane with nothing in the air still sends one
    /// delivery at a time: what makes room for replies is that deliveries end.
    pub in_flight_bytes_max: usize,
    /// Requests in the air to one destination (GUARANTEES 11). Its lanes wait; others don't.
    pub destination_in_flight_max: u32,
    /// Deliveries waiting for a retry per worker, shared by the lanes that have any. A lane at
    /// its share only retries, and takes new events as places become free; they stay owed.
    pub parked_max: u32,
    /// Events that ordered lanes hold back behind busy keys, per worker, shared by the lanes that
    /// hold any; 8 bytes each. A lane at its share takes no new events until a key goes on; they
    /// stay owed.
    pub held_max: u32,
    /// Keys of one ordered lane that dead letters may block (`blockedKey: deadLetter`). At the bound
    /// it takes no new events until one of those letters is redriven or discarded, and its trigger's
    /// state is `keys full`. What is redriven or replayed may add as many again.
    pub blocked_keys_max: u32,
    /// How long a chain of replies may grow (contract §7). Beyond, a delivery ends as a dead
    /// letter, cause `loop`, holding the reply.
    pub hops_max: u8,
    /// How long a trigger or broker whose file vanished stays in force (DESIGN §3). Then what
    /// is owed to it is cancelled.
    pub detached_for: std::time::Duration,
    /// Events that deduplication remembers, of all brokers together (GUARANTEES 2). Beyond, the
    /// oldest of the broker with the most are forgotten, and counted: they are delivered if they
    /// come again.
    pub dedup_entries_max: u32,
    /// After so many ends of the process in a row that weren't in order, with no delivery landed
    /// between them, what may have been in the air goes one at a time; what ends the process so
    /// often alone is set aside (GUARANTEES 19, `broker/src/poison.rs`). 0: never.
    pub quarantine_after: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes_max: 1 << 20,
            in_flight_max: 4096,
            in_flight_bytes_max: 64 << 20,
            destination_in_flight_max: 256,
            parked_max: 100_000,
            held_max: 1_000_000,
            blocked_keys_max: 100_000,
            hops_max: 32,
            detached_for: std::time::Duration::from_secs(600),
            dedup_entries_max: 1_000_000,
            quarantine_after: 2,
        }
    }
}
