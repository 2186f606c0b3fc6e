//! The whole engine keeps its promises: in process, with paused time, scripted functions and a
//! disk that loses power on demand. A file for each theme.

mod answers;
mod backoff;
mod breaker;
mod crash;
mod dead_letters;
mod dedup;
mod delete;
mod fairness;
mod ordering;
mod outcomes;
mod patience;
mod pause;
mod policies;
mod pushback;
mod redrive;
mod replay;
mod replies;
mod restart;
mod start;
mod storage;
mod versions;
