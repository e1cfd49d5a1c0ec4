//! What the console says when it can't.

use super::{ErrorFields, PREFIX, fields, with_hint};

/// A command that there isn't.
pub fn unknown_command(written: &str, nearest: &str) -> Box<ErrorFields> {
    Box::new(with_hint(
        fields(
            "ERROR",
            "42601",
            format!("the console has no command \"{written}\""),
        ),
        &format!("The nearest one is {nearest}; HELP lists all of them."),
    ))
}

/// A command without the number of a plan.
pub fn number_expected(command: &str) -> Box<ErrorFields> {
    Box::new(with_hint(
        fields(
            "ERROR",
            "42601",
            format!("{command} needs the number of a plan, such as {command} 3"),
        ),
        "SHOW PLANS lists the plans and their numbers.",
    ))
}

/// Several commands where one is due.
pub fn several_commands() -> Box<ErrorFields> {
    Box::new(fields(
        "ERROR",
        "42601",
        "cannot insert multiple commands into a prepared statement",
    ))
}

/// Somebody who may not; `key` is the setting that says who may.
pub fn not_allowed(user: &str, command: &str, key: &str) -> Box<ErrorFields> {
    Box::new(with_hint(
        fields(
            "ERROR",
            "42501",
            format!("user \"{user}\" may not {command}"),
        ),
        &format!("The users who may are listed in {key}."),
    ))
}

/// A plan that there isn't.
pub fn no_such_plan(number: u64) -> Box<ErrorFields> {
    Box::new(with_hint(
        fields("ERROR", "42704", format!("there is no plan {number}")),
        "It may have ended. SHOW PLANS lists the plans and their numbers.",
    ))
}

/// The audit log isn't to be had.
pub fn no_history(why: &str) -> Box<ErrorFields> {
    Box::new(with_hint(
        fields(
            "ERROR",
            "55000",
            format!("the audit log can't be read: {why}"),
        ),
        "`lockkeeper doctor` looks at what is wrong; `lockkeeper audit --file` reads an audit file.",
    ))
}

/// Settings that can't be used.
pub fn not_reloaded(why: &str) -> Box<ErrorFields> {
    Box::new(with_hint(
        fields("ERROR", "F0000", format!("not reloaded: {why}")),
        "The old settings stay in force.",
    ))
}

/// A prepared statement or portal that there isn't.
pub fn no_such_name(kind: &str, name: &str) -> Box<ErrorFields> {
    let sqlstate = if kind == "portal" { "34000" } else { "26000" };
    Box::new(fields(
        "ERROR",
        sqlstate,
        format!("{kind} \"{name}\" does not exist"),
    ))
}

/// A prepared statement or portal whose name is taken.
pub fn name_is_taken(kind: &str, name: &str) -> Box<ErrorFields> {
    let sqlstate = if kind == "portal" { "42P03" } else { "42P05" };
    Box::new(fields(
        "ERROR",
        sqlstate,
        format!("{kind} \"{name}\" already exists"),
    ))
}

/// Parameters for commands that have none.
pub fn no_parameters(given: u16) -> Box<ErrorFields> {
    Box::new(fields(
        "ERROR",
        "08P01",
        format!("{given} parameters are given, and the console's commands have none"),
    ))
}

/// A message that isn't well formed, or one that the console can do nothing with.
pub fn bad_message(tag: u8) -> Box<ErrorFields> {
    Box::new(fields(
        "ERROR",
        "08P01",
        format!("invalid message {:?}", char::from(tag)),
    ))
}

/// More than the console keeps or reads.
pub fn too_much(what: &str) -> Box<ErrorFields> {
    Box::new(fields(
        "ERROR",
        "54000",
        format!("too much for the console: {what}"),
    ))
}

/// A cancelled statement, with who asked for that on the console.
pub fn cancelled_by(mut fields: ErrorFields, user: &str) -> ErrorFields {
    if !fields.detail.is_empty() {
        fields.detail.push('\n');
    }
    let line = format!("{PREFIX}cancelled on lockkeeper's console by user \"{user}\"");
    fields.detail.push_str(&line);
    fields
}

/// All places on the console are taken.
pub fn too_many_consoles(limit: usize) -> ErrorFields {
    with_hint(
        fields(
            "FATAL",
            "53300",
            format!("too many connections to the console: the limit is {limit}"),
        ),
        "Close one of them.",
    )
}
