//! lockkeeper as a whole: a real PostgreSQL, a real proxy in front of it, real clients.
//!
//! One server is shared by all tests, each with databases of its own; a test that stops its server, or wants another
//! one, starts its own. No test asserts how long something takes: limits are there so that nothing hangs.

#![allow(clippy::unwrap_used)]

mod attacks;
mod audit_file;
mod auth;
mod cancel;
mod console;
mod differential;
mod drivers;
mod executor;
mod executor_ends;
mod guarded;
mod harness;
mod holders;
mod journal;
mod policy;
mod pressure;
mod production;
mod program;
mod relay;
mod reload;
mod secrets;
mod sessions;
mod shutdown;
mod stream;
mod strings;
mod syscalls;
mod temporary;
mod tls;
mod transactions;
mod traps;
mod two_instances;
mod waits;
mod windows;
mod wire;

/// How long a test may take before it fails instead of hanging.
const TEST_LIMIT: std::time::Duration = std::time::Duration::from_secs(600);
/// Cuts of one stream that is played in two parts; of longer streams so many are tried.
const MAX_CUTS: usize = 300;
