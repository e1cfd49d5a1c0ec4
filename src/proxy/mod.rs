//! Clients in front, one server session behind each.

pub mod address;
pub mod cancel;
pub mod connect_log;
pub mod console;
pub mod fates;
pub mod guard;
pub mod inspect;
pub mod leg;
pub mod listener;
pub mod long_text;
pub mod mode;
pub mod names;
pub mod operator;
pub mod overrides;
mod planned;
pub mod server_session;
pub mod session;
pub mod setup;
pub mod startup;
pub mod tls;
mod transaction;
mod turn;
pub mod walker;
pub mod worker;
