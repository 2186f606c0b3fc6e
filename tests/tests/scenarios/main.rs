//! The whole engine keeps its promises: in process, with paused time, scripted functions and a
//! disk that loses power on demand. A file for each theme.

mod adaptive;
mod age;
mod answers;
mod backoff;
mod breaker;
mod budget;
mod clock;
mod crash;
mod dead_letters;
mod dedup;
mod delete;
mod dlq;
mod fairness;
mod kept;
mod lanes;
mod nack;
mod ordering;
mod outage;
mod outcomes;
mod patience;
mod pause;
mod poison;
mod policies;
mod pushback;
mod quota;
mod redrive;
mod replay;
mod replay_rolled;
mod replies;
mod restart;
mod sidecars;
mod start;
mod storage;
mod versions;
mod warmup;
