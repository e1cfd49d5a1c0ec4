//! Every other schema change, until its family has a rule: the danger common to all is the lock
//! queue. A request for a strong lock that waits behind one long reader makes everybody wait behind
//! it.
//!
//! Recipe: the statement itself in a transaction of its own under a short `lock_timeout`, tried
//! again. <https://www.postgresql.org/docs/current/explicit-locking.html>

use super::{Action, Judgement, Rule, Verdict};
use crate::plan::{Check, Context, Plan, Step, Undo};
use crate::sql::statement::Scope;

/// SQLSTATE of a statement that a rule refuses.
pub const REFUSED: &str = "LK001";

/// Everybody waits behind a lock request that waits.
pub const LOCK_QUEUE: Rule = Rule {
    name: "lock-queue",
    hazard: "A strong lock request that waits for one long transaction makes every other query wait behind it.",
    remedy: "It runs in a transaction of its own under a short lock_timeout, and is tried again until it has its lock.",
    manual: "https://www.postgresql.org/docs/current/explicit-locking.html",
    action: Action::Allow,
    versions: "alike",
    example: "ALTER TABLE users ADD COLUMN note text",
};

/// Judges a schema change without a rule of its own. One that can't be read, and that refuses a
/// transaction block, is for the runner to find out.
pub fn judge(tag: &str, scope: Scope, source: &str) -> Judgement {
    let context = match scope {
        Scope::LocksNothing => return Judgement::untouched(),
        Scope::Transactional => Context::Transaction,
        Scope::OwnTransaction => Context::Autocommit,
        Scope::Concurrent => Context::Concurrent { clear: None },
    };
    Judgement::by(&LOCK_QUEUE, Verdict::Pass(as_sent(tag, source, context)))
}

fn as_sent(title: &str, source: &str, context: Context) -> Plan {
    Plan::as_sent(Step {
        title: title.to_ascii_lowercase(),
        sql: source.to_owned(),
        locks: Vec::new(),
        context,
        undo: Undo::NothingToUndo,
        check: Check::Nothing,
        only_while_invalid: None,
        hides_warnings: false,
    })
}
