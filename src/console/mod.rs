//! The console: a session that lockkeeper answers itself, for people who want to know what it is
//! doing, and may say otherwise. No I/O: messages in, messages out.

mod acts;
pub mod command;
mod protocol;
mod reload;
mod tables;

pub use acts::Hub;
pub use protocol::{Console, Turn};
pub use reload::{ReloadRequest, Reloads};
