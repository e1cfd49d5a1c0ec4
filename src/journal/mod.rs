//! The journal: which plans are under way, on whose behalf, how far each is, and who is before whom.
//! It lives in a database of lockkeeper's own, so that whatever happens to this process, another one
//! knows what is half done. Beside it stands the audit log.

pub mod history;
pub mod record;
pub mod statements;
pub mod store;
