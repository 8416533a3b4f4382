//! The unit tests of the bench: `main.rs` has no test harness, so its modules stand here once more.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "only what the tests reach is used")]

mod bare;
mod canary;
mod contender;
mod director;
mod goals;
#[path = "../../tests/harness/lab.rs"]
mod lab;
mod load;
mod measure;
mod options;
mod page;
#[path = "../../tests/harness/process.rs"]
mod process;
mod report;
mod run;
mod serve;
mod usage;
mod world;
