//! SQL texts: what a text is (its class), and what a schema change says (our own small AST).
//!
//! Pure: no I/O, no clock. [`parse`] is the only module that names `pg_query`.

pub mod alter_table;
pub mod cache;
pub mod classify;
pub mod comment;
pub mod create_table;
pub mod encoding;
pub mod lexer;
pub mod name;
pub mod parse;
pub mod redact;
pub mod statement;
mod tag;
