//! Running a plan through a small [`session::Session`]: a real one in `proxy::guard`, a recording
//! one in the tests.

pub mod acquire;
pub mod check;
pub mod runner;
pub mod session;
