//! Every other schema change, until its family has a rule: the danger common to all is the lock
//! queue. A request for a strong lock that waits behind one long reader makes everybody wait behind
//! it.
//!
//! Recipe: the statement itself in a transaction of its own under a short `lock_timeout`, tried
//! again. <https://www.postgresql.org/docs/current/explicit-locking.html>

use super::{Judgement, Rule, Verdict};
use crate::plan::{Check, Context, Plan, Step, Undo};
use crate::sql::statement::{OtherDdl, Scope};

/// SQLSTATE of a statement that a rule refuses.
pub const REFUSED: &str = "LK001";

/// Everybody waits behind a lock request that waits.
pub const LOCK_QUEUE: Rule = Rule {
    name: "lock-queue",
    hazard: "A strong lock request that waits for one long transaction makes every other query wait behind it.",
    remedy: "It runs in a transaction of its own under a short lock_timeout, and is tried again until it has its lock.",
    manual: "https://www.postgresql.org/docs/current/explicit-locking.html",
};

/// Judges a schema change without a rule of its own.
pub fn judge(other: &OtherDdl, source: &str) -> Judgement {
    let context = match other.scope {
        Scope::LocksNothing => return Judgement::untouched(),
        Scope::Transactional => Context::Transaction,
        Scope::OwnTransaction => Context::Autocommit,
        Scope::Concurrent => Context::Concurrent { clear: None },
    };
    Judgement {
        rule: Some(&LOCK_QUEUE),
        verdict: Verdict::Pass(as_sent(other.tag, source, context)),
    }
}

/// Judges a statement that can't be read: if it refuses a transaction block, the runner finds out.
pub fn judge_unreadable(words: &str, source: &str) -> Judgement {
    Judgement {
        rule: Some(&LOCK_QUEUE),
        verdict: Verdict::Pass(as_sent(words, source, Context::Transaction)),
    }
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
