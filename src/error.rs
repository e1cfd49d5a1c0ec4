//! The one door from what went wrong inside to what a client sees.

use std::time::Duration;

pub mod console;

use crate::audit::event::ErrorEntry;
use crate::plan::words::seconds;
use crate::plan::{Limits, Violation};
use crate::rules::Refusal;
use crate::wire::backend::ErrorFields;

/// What stands before every message of lockkeeper's own.
pub const PREFIX: &str = "lockkeeper: ";

/// What ends a plan from outside; the later ones end more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interrupt {
    /// The client asked to cancel.
    Cancelled,
    /// The client's own `statement_timeout` is spent.
    TimedOut,
    /// The client is gone.
    ClientGone,
    /// lockkeeper is ending.
    Shutdown,
}

fn fields(severity: &str, sqlstate: &str, message: impl Into<String>) -> ErrorFields {
    ErrorFields {
        severity: severity.to_owned(),
        sqlstate: sqlstate.to_owned(),
        message: format!("{PREFIX}{}", message.into()),
        ..ErrorFields::default()
    }
}

fn with_hint(mut fields: ErrorFields, hint: &str) -> ErrorFields {
    hint.clone_into(&mut fields.hint);
    fields
}

/// A NOTICE.
pub fn notice(message: &str, detail: &str) -> ErrorFields {
    ErrorFields {
        detail: detail.to_owned(),
        ..fields("NOTICE", "00000", message)
    }
}

/// A NOTICE that the server would give, in its own words.
pub fn servers_notice(sqlstate: &str, message: &str) -> ErrorFields {
    ErrorFields {
        message: message.to_owned(),
        ..fields("NOTICE", sqlstate, "")
    }
}

/// A statement that a rule refuses.
pub fn refused(refusal: &Refusal, rule: &str) -> ErrorFields {
    ErrorFields {
        detail: format!("{} (rule {rule})", refusal.detail),
        hint: refusal.hint.clone(),
        ..fields("ERROR", refusal.sqlstate, &refusal.message)
    }
}

/// An error about one of a string's statements, before any of them has run: which one, and at which
/// character of the string it begins, from 1.
pub fn in_string(mut fields: ErrorFields, number: usize, of: usize, at: usize) -> ErrorFields {
    let place = format!("It is statement {number} of {of} of the query; none of them has run.");
    if !fields.detail.is_empty() {
        fields.detail.push('\n');
    }
    fields.detail.push_str(&place);
    fields.others.push((b'P', at.to_string()));
    fields
}

/// A statement of a string that needs transactions of its own.
pub fn not_in_this_transaction(tag: &str, plan: &str) -> ErrorFields {
    let message = format!(
        "{tag} is not possible in this transaction: the safe way needs transactions of its own"
    );
    ErrorFields {
        detail: plan.trim_end().to_owned(),
        ..with_hint(
            fields("ERROR", "LK004", message),
            "Send that statement alone, in a Query of its own, outside a transaction block.",
        )
    }
}

/// A statement that would hold its lock for too long in the client's transaction, and has a safe form outside.
pub fn too_long_for_transaction(tag: &str, plan: &str, time: Duration) -> ErrorFields {
    let message = format!(
        "{tag} is not possible in this transaction: it would hold its lock for about {}, and then to the end",
        seconds(time)
    );
    ErrorFields {
        detail: format!(
            "Outside a transaction this is done in its place. {}",
            plan.trim_end()
        ),
        ..with_hint(
            fields("ERROR", "LK004", message),
            "Take the statement out of the transaction: disable_ddl_transaction! (Rails), atomic = False (Django), \
             autocommit_block() (Alembic), transaction: false (Knex, dbmate), pgm.noTransaction() (node-pg-migrate), \
             $withinTransaction = false (Laravel), -- no-transaction (sqlx).",
        )
    }
}

/// What is put off to the COMMIT of a transaction has failed there.
pub fn at_commit(mut failure: ErrorFields) -> ErrorFields {
    let told = "The transaction is rolled back: its schema changes were to run at its COMMIT, and one of them failed.";
    failure.detail = match failure.detail.is_empty() {
        true => told.to_owned(),
        false => format!("{told}\n{}", failure.detail),
    };
    failure
}

/// A statement of a string that the policy queues.
pub fn queued_in_string(sqlstate: &str, tag: &str) -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            sqlstate,
            format!(
                "{tag} may run in a window of time only, for which several statements in one query don't wait"
            ),
        ),
        "Send that statement alone, in a Query of its own: it waits for the next window, or for an approval.",
    )
}

/// A plan that was interrupted while no statement of it ran: what the server says when one runs.
pub fn interrupted(interrupt: Interrupt) -> ErrorFields {
    match interrupt {
        Interrupt::Cancelled => ErrorFields {
            message: "canceling statement due to user request".to_owned(),
            ..fields("ERROR", "57014", "")
        },
        Interrupt::TimedOut => statement_timeout(),
        Interrupt::ClientGone => fields("ERROR", "57014", "the client is gone"),
        Interrupt::Shutdown => fields("FATAL", "57P01", "shutting down"),
    }
}

/// The client's own `statement_timeout` is spent: as the server says it.
pub fn statement_timeout() -> ErrorFields {
    ErrorFields {
        message: "canceling statement due to statement timeout".to_owned(),
        ..fields("ERROR", "57014", "")
    }
}

/// The deadline has passed, and the lock was not to be had.
pub fn lock_not_had(
    sqlstate: &str,
    so_far: &str,
    waited: Duration,
    limits: Limits,
    holders: &str,
) -> ErrorFields {
    let message = format!(
        "could not get the lock in {}: {so_far}; a try takes {} at most",
        seconds(waited),
        seconds(limits.budget),
    );
    let hint = format!(
        "Nothing was changed by this step. End the transactions that hold the lock, or raise locks.deadline, now {} \
         (or the session's lock_timeout, which is the deadline when it is set).",
        seconds(limits.deadline)
    );
    ErrorFields {
        detail: holders.to_owned(),
        ..with_hint(fields("ERROR", sqlstate, message), &hint)
    }
}

/// The deadline has passed, and others are still at work on the same relations.
pub fn turn_did_not_come(sqlstate: &str, waited: Duration, ahead: &[String]) -> ErrorFields {
    let message = format!(
        "other schema changes of the same tables were still at work after {}",
        seconds(waited)
    );
    ErrorFields {
        detail: ahead.join("\n"),
        ..with_hint(
            fields("ERROR", sqlstate, message),
            "Nothing was changed. Send the statement again when they are done, or raise locks.deadline.",
        )
    }
}

/// A step that held its strong lock for as long as it may.
pub fn held_too_long(title: &str, max_hold: Duration) -> ErrorFields {
    let message = format!(
        "{title} was not done after {} under its lock, and was rolled back",
        seconds(max_hold)
    );
    with_hint(
        fields("ERROR", "57014", message),
        "Whoever needs the table waits meanwhile. If it must hold the lock for longer, raise locks.max_hold.",
    )
}

/// What the violation of a CHECK of lockkeeper's own means, in the server's words (`ATRewriteTable` of
/// `src/backend/commands/tablecmds.c`).
pub fn violated(violation: &Violation, mut fields: ErrorFields) -> ErrorFields {
    let table = fields.others.iter().find(|(code, _)| *code == b't');
    let relation = table.map_or("", |(_, name)| name.as_str());
    fields.message = match violation {
        Violation::NullValues { column } => {
            format!("column \"{column}\" of relation \"{relation}\" contains null values")
        }
        Violation::PartitionBound => {
            format!("partition constraint of relation \"{relation}\" is violated by some row")
        }
        Violation::DefaultPartition => format!(
            "updated partition constraint for default partition \"{relation}\" would be violated by some row"
        ),
    };
    fields.others.retain(|(code, _)| *code != b'n');
    if let Violation::NullValues { column } = violation {
        "23502".clone_into(&mut fields.sqlstate);
        fields.others.push((b'c', column.clone()));
    }
    fields
}

/// A string of statements that others have waited for, for as long as they may.
pub fn others_waited(max_hold: Duration) -> ErrorFields {
    let message = format!(
        "the statements were not done after others had waited {} for a table that they lock, and were rolled back",
        seconds(max_hold)
    );
    with_hint(
        fields("ERROR", "57014", message),
        "Send what takes long apart from the schema changes. If they must hold their locks for longer, raise \
         locks.max_hold.",
    )
}

/// A transaction whose schema changes others have waited for, for as long as they may.
pub fn others_waited_for_transaction(max_hold: Duration) -> ErrorFields {
    let message = format!(
        "the transaction has failed: others had waited {} for a table that its schema changes have locked",
        seconds(max_hold)
    );
    with_hint(
        fields("ERROR", "55P03", message),
        "Commit soon after the schema changes, and do what takes long in another transaction. If they must hold their \
         locks for longer, raise locks.max_hold.",
    )
}

/// The same where the session ends with it.
pub fn others_waited_fatally(max_hold: Duration) -> ErrorFields {
    ErrorFields {
        severity: "FATAL".to_owned(),
        ..others_waited_for_transaction(max_hold)
    }
}

/// Old transactions that a build doesn't start beside.
pub fn snapshot_stays(waited: Duration, look_age: Duration, lines: &str) -> ErrorFields {
    let message = format!(
        "the build was not begun: transactions older than {} were still open after {}",
        seconds(look_age),
        seconds(waited)
    );
    ErrorFields {
        detail: lines.to_owned(),
        ..with_hint(
            fields("ERROR", "55P03", message),
            "Nothing was changed. A concurrent build waits for every older transaction of the database before it ends: \
             end them, or raise builds.look_age.",
        )
    }
}

/// A concurrent build that took longer than it may.
pub fn build_took_too_long(limit: Duration) -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            "57014",
            format!(
                "the build was not done after {}, and was cancelled",
                seconds(limit)
            ),
        ),
        "See builds.deadline.",
    )
}

/// A step whose success isn't borne out by the catalog.
pub fn check_failed(what: &str) -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            "XX000",
            format!("the server reported success, but {what}"),
        ),
        "Somebody else changed the same objects at the same time; look, and send the statement again.",
    )
}

/// Rows that a fill must reach are hidden from the role that it runs as.
pub fn rows_hidden(table: &str) -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            "42501",
            format!(
                "row-level security hides rows of {table} from this role: they can't be filled"
            ),
        ),
        "Nothing was filled. Use a role with BYPASSRLS, or have the table's owner ALTER TABLE … NO FORCE ROW LEVEL \
         SECURITY.",
    )
}

/// The server can't be reached; libpq tries its next host for this SQLSTATE alone.
pub fn server_unreachable(why: &str) -> ErrorFields {
    with_hint(
        fields(
            "FATAL",
            "57P03",
            format!("the server can't be reached: {why}"),
        ),
        "See upstream.address in lockkeeper's settings, and whether PostgreSQL runs there.",
    )
}

/// The server went away without a word.
pub fn server_gone() -> ErrorFields {
    fields(
        "FATAL",
        "57P01",
        "the server closed the connection unexpectedly",
    )
}

/// lockkeeper ends.
pub fn shutting_down() -> ErrorFields {
    fields(
        "FATAL",
        "57P01",
        "terminating connection: lockkeeper is shutting down",
    )
}

/// Too many clients.
pub fn too_many_connections(limit: usize) -> ErrorFields {
    with_hint(
        fields(
            "FATAL",
            "53300",
            format!("too many connections: the limit is {limit}"),
        ),
        "Raise limits.connections, or close connections that aren't used.",
    )
}

/// TLS is demanded and the client came without.
pub fn tls_required() -> ErrorFields {
    with_hint(
        fields("FATAL", "28000", "TLS is required"),
        "Connect with sslmode=require or stronger (listen.tls = \"require\").",
    )
}

/// The server let a client in without asking for anything, and the client isn't local.
pub fn trust_refused() -> ErrorFields {
    with_hint(
        fields(
            "FATAL",
            "28000",
            "the server asked for no password, and you aren't on this machine",
        ),
        "The server trusts lockkeeper's address or OS user, not yours: demand a password for it in pg_hba.conf, or set \
         auth.allow_trust.",
    )
}

/// A message that breaks the protocol.
pub fn protocol_violation(why: &str) -> ErrorFields {
    fields("FATAL", "08P01", why)
}

/// A client sent something in the clear behind its request for encryption, without waiting for the
/// answer.
pub fn unencrypted_data(what: &str) -> ErrorFields {
    ErrorFields {
        detail: "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."
            .to_owned(),
        ..protocol_violation(&format!("received unencrypted data after {what} request"))
    }
}

/// A client asked for the same encryption twice, or for another one within the first.
pub fn encryption_asked_twice() -> ErrorFields {
    fields("FATAL", "0A000", "encryption was negotiated already")
}

/// A client answered the server's question for a password with something else.
pub fn password_expected(tag: u8) -> ErrorFields {
    protocol_violation(&format!(
        "expected password response, got message type {tag}"
    ))
}

/// The catalog changed each time before the plan could begin.
pub fn stale() -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            "40001",
            "the objects were changed by others each time before it could begin",
        ),
        "Nothing was changed. Send the statement again.",
    )
}

/// A plan that was taken back, for nobody was left who worked on it.
pub fn orphaned() -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            "57P01",
            "the lockkeeper or the session that worked on it has gone; what had been done was taken back",
        ),
        "Send the statement again.",
    )
}

/// A plan whose last transaction's end the server doesn't know any more.
pub fn nobody_knows() -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            "57P01",
            "the lockkeeper or the session that worked on it has gone, and whether its last step was done isn't known \
             any more",
        ),
        "Nothing was taken back. Look at the tables, and finish by hand what is half done.",
    )
}

/// The record that must be written first can't be.
pub fn no_record(why: &str) -> ErrorFields {
    with_hint(
        fields(
            "ERROR",
            "LK003",
            format!("the schema change can't be recorded, so it isn't done: {why}"),
        ),
        "Nothing was changed by this step. `lockkeeper doctor` looks at what is wrong; audit.on_failure = \"continue\" \
         lets schema changes run without a record.",
    )
}

/// Another lockkeeper has taken the plan over.
pub fn taken_over() -> ErrorFields {
    with_hint(
        fields(
            "FATAL",
            "57P01",
            "another lockkeeper has taken this schema change over, for nothing was heard of this one",
        ),
        "Its outcome stands in the audit log.",
    )
}

/// What came of the same statement that was at work before.
pub fn of_twin(entry: ErrorEntry) -> ErrorFields {
    ErrorFields {
        message: entry.message,
        detail: "The same statement was at work already: this is what came of it.".to_owned(),
        ..fields("ERROR", &entry.sqlstate, "")
    }
}

/// The same for one in a transaction of the client's, which ends with the session.
pub fn no_record_of_passed(why: &str) -> ErrorFields {
    ErrorFields {
        severity: "FATAL".to_owned(),
        ..no_record(why)
    }
}
