//! Running a plan through a small [`session::Session`]: a real one in `proxy::guard`, a recording
//! one in the tests.

pub mod acquire;
pub mod ask;
pub mod backfill;
pub mod check;
pub mod failpoint;
pub mod look;
pub mod operator;
pub mod places;
pub mod registry;
pub mod resume;
pub mod runner;
pub mod session;
mod undo;
mod wait;
pub mod wanted;
pub mod watchdog;
