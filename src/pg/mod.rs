//! What lockkeeper asks PostgreSQL for itself.

pub mod introspect;
pub mod login;
pub mod query;
pub mod temporary;
