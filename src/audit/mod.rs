//! The record of schema changes: what an event is, and where it is written.

pub mod chain;
pub mod event;
pub mod log;
