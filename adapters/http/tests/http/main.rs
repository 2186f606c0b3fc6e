//! The HTTP adapter over real sockets: contract §1 and §2 row by row, and the edge's refusals
//! (DESIGN §9). Clients and servers here are raw, so that they may say what no library would.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which the lint does not know as tests"
)]

mod edge;
mod harness;
mod ingress;
mod sink;
mod sink_connections;
