//! A server session that is only a record: it answers from what it is told, fails where it is told, and its clock is
//! virtual. It keeps the rules of a real one that matter to a plan: a failed transaction takes nothing but ROLLBACK,
//! a batch without BEGIN is one implicit transaction, `CONCURRENTLY` refuses to share a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use lockkeeper::catalog::SessionFacts;
use lockkeeper::error::Interrupt;
use lockkeeper::exec::session::{Command, Reply, RunError, Session};
use lockkeeper::wire::backend::ErrorFields;

/// How a command fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 55P03, after the lock timeout in force.
    LockTimeout,
    /// 40P01, after a second.
    Deadlock,
    /// 57014: the client asked.
    Cancelled,
    /// 57014: `statement_timeout`.
    StatementTimeout,
    /// 23505.
    Duplicate,
    /// 53200.
    OutOfMemory,
    /// The connection ends.
    Gone,
}

impl Fault {
    /// Those that are tried at every step.
    pub(crate) const ALL: [Fault; 6] = [
        Fault::LockTimeout,
        Fault::Deadlock,
        Fault::Cancelled,
        Fault::StatementTimeout,
        Fault::Duplicate,
        Fault::Gone,
    ];

    /// The name in the golden text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::LockTimeout => "55P03",
            Fault::Deadlock => "40P01",
            Fault::Cancelled => "57014 (asked for)",
            Fault::StatementTimeout => "57014 (timeout)",
            Fault::Duplicate => "23505",
            Fault::OutOfMemory => "53200",
            Fault::Gone => "gone",
        }
    }

    /// The SQLSTATE, empty for [`Fault::Gone`].
    pub(crate) fn sqlstate(self) -> &'static str {
        match self {
            Fault::Gone => "",
            other => other.name().get(..5).unwrap_or_default(),
        }
    }
}

/// Which commands fail, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// The number of the command, from 1.
    pub(crate) at: usize,
    /// How.
    pub(crate) fault: Fault,
    /// Not only that command, but each later one of the same text.
    pub(crate) always: bool,
}

/// A value and whether SET gave it.
type Value = (u64, bool);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Open,
    Failed,
}

/// The session.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Every command, shortened, with `!` and the fault where it failed; and every sleep.
    pub(crate) log: Vec<String>,
    /// What each try that failed took, and how long the sleep after it was.
    pub(crate) sleeps: Vec<(Duration, Duration)>,
    /// What the client was told.
    pub(crate) notices: Vec<String>,
    failures: Vec<Failure>,
    failing_sql: Vec<String>,
    leftovers: Vec<String>,
    commands: usize,
    clock: Duration,
    failed_try: Duration,
    block: Block,
    settings: BTreeMap<String, Value>,
    at_begin: BTreeMap<String, Value>,
    defaults: BTreeMap<String, Value>,
    local_lock_timeout: Option<u64>,
    interrupt: Option<Interrupt>,
    gone: bool,
    rollback_refused: bool,
}

impl Recording {
    /// A session with these settings; `leftovers` are what a failed build leaves.
    pub(crate) fn new(
        settings: &SessionFacts,
        failures: &[Failure],
        leftovers: &[String],
    ) -> Recording {
        let named = named_settings(settings);
        let defaults = named.iter().map(|(name, (ms, set))| {
            let reset = if *set { 0 } else { *ms };
            (name.clone(), (reset, false))
        });
        Recording {
            log: Vec::new(),
            sleeps: Vec::new(),
            notices: Vec::new(),
            failures: failures.to_vec(),
            failing_sql: Vec::new(),
            leftovers: leftovers.to_vec(),
            commands: 0,
            clock: Duration::ZERO,
            failed_try: Duration::ZERO,
            block: Block::None,
            defaults: defaults.collect(),
            at_begin: named.clone(),
            settings: named,
            local_lock_timeout: None,
            interrupt: None,
            gone: false,
            rollback_refused: false,
        }
    }

    /// What isn't as it was found.
    pub(crate) fn traces(&self, settings: &SessionFacts) -> Vec<String> {
        let mut traces = Vec::new();
        if self.block != Block::None && !self.gone {
            traces.push(format!("the transaction block is {:?}", self.block));
        }
        for (name, before) in named_settings(settings) {
            let after = self.settings.get(&name).copied();
            if after != Some(before) && !self.gone {
                traces.push(format!("{name} was {before:?} and is {after:?}"));
            }
        }
        traces
    }

    fn fault(&mut self, sql: &str) -> Option<Fault> {
        if self.gone {
            return Some(Fault::Gone);
        }
        let at = self.commands;
        for failure in &self.failures {
            let again = failure.always && self.failing_sql.iter().any(|failed| failed == sql);
            if failure.at == at || again {
                self.failing_sql.push(sql.to_owned());
                return Some(failure.fault);
            }
        }
        None
    }

    fn fail(&mut self, fault: Fault) -> RunError {
        let lock_timeout = self
            .local_lock_timeout
            .unwrap_or(self.settings["lock_timeout"].0);
        self.clock += match fault {
            Fault::LockTimeout => Duration::from_millis(lock_timeout),
            Fault::Deadlock => Duration::from_secs(1),
            _ => Duration::ZERO,
        };
        if fault == Fault::Cancelled {
            self.interrupt = Some(Interrupt::Cancelled);
        }
        if fault == Fault::Gone {
            self.gone = true;
            return RunError::Gone;
        }
        match self.block {
            Block::None => self.settings.clone_from(&self.at_begin), // the implicit transaction's
            Block::Open | Block::Failed => self.block = Block::Failed,
        }
        RunError::Sql(Box::new(ErrorFields {
            severity: "ERROR".to_owned(),
            sqlstate: fault.sqlstate().to_owned(),
            message: format!("told to fail with {}", fault.sqlstate()),
            ..ErrorFields::default()
        }))
    }

    fn execute(&mut self, command: &Command) -> Reply {
        let sql = command.sql.as_str();
        match sql.split_whitespace().next().unwrap_or_default() {
            "BEGIN" => {
                assert_eq!(self.block, Block::None, "BEGIN in a transaction block");
                self.block = Block::Open;
            }
            "COMMIT" => self.end(false),
            "ROLLBACK" => self.end(true),
            "SET" | "RESET" => self.set(sql),
            _ => {}
        }
        Reply {
            tag: tag(sql),
            rows: self.rows(command),
        }
    }

    fn end(&mut self, rollback: bool) {
        if rollback || self.block == Block::Failed {
            self.settings.clone_from(&self.at_begin);
        }
        self.block = Block::None;
        self.local_lock_timeout = None;
    }

    fn set(&mut self, sql: &str) {
        if let Some(local) = sql.strip_prefix("SET LOCAL ") {
            assert_eq!(self.block, Block::Open, "{sql} outside a transaction block");
            if let Some(value) = local.strip_prefix("lock_timeout = ") {
                self.local_lock_timeout = value.parse().ok();
            }
        } else if let Some(name) = sql.strip_prefix("RESET ") {
            self.settings.insert(name.to_owned(), self.defaults[name]);
        } else {
            let (name, value) = sql["SET ".len()..]
                .split_once(" = ")
                .expect("SET name = value");
            let value = value.parse().expect("milliseconds");
            self.settings.insert(name.to_owned(), (value, true));
        }
    }

    fn rows(&self, command: &Command) -> Vec<Vec<Option<String>>> {
        let row = |text: &str| vec![Some(text.to_owned())];
        let several = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect();
        // Of 900 rows, in batches of 500.
        let parameters: Vec<&str> = command.parameters.iter().map(String::as_str).collect();
        match short(&command.sql).as_str() {
            "list the relations" => relations(command),
            "survey the table" => vec![several(&["f", "900", "8", "8192"])],
            "find the last key" => vec![row("900")],
            "find the next key" => match parameters.as_slice() {
                [_] => vec![several(&["500", "500"])],
                ["500", _] => vec![several(&["400", "900"])],
                _ => Vec::new(),
            },
            "ask who holds locks" => vec![row("process 42 (app) holds the lock")],
            "ask what was left" => self.leftovers.iter().map(|name| row(name)).collect(),
            question if question.starts_with("ask ") => vec![row("t")],
            _ => Vec::new(),
        }
    }
}

impl Session for Recording {
    async fn run(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        let mut replies = Vec::new();
        let began = self.clock;
        if self.block == Block::None {
            self.at_begin.clone_from(&self.settings);
        }
        for command in batch {
            self.commands += 1;
            self.clock += Duration::from_millis(1);
            let text = short(&command.sql);
            let concurrent = text.contains(" CONCURRENTLY ");
            assert!(
                !concurrent || (batch.len() == 1 && self.block == Block::None),
                "{text}"
            );
            let may_run = self.block != Block::Failed
                || matches!(tag(&command.sql).as_str(), "ROLLBACK" | "COMMIT");
            if !may_run && self.rollback_refused {
                return Err(in_failed_transaction());
            }
            assert!(may_run, "{text} in a failed transaction");
            if let Some(fault) = self.fault(&command.sql) {
                self.log.push(format!("{text} !{}", fault.name()));
                self.rollback_refused |= text == "ROLLBACK";
                let error = self.fail(fault);
                self.failed_try = self.failed_try.max(self.clock - began);
                return Err(error);
            }
            self.log.push(text);
            replies.push(self.execute(command));
        }
        if batch.len() > 1 {
            self.failed_try = Duration::ZERO; // it was tried again at once, and no lock was asked for
        }
        Ok(replies)
    }

    async fn sleep(&mut self, duration: Duration) {
        // A sleep is broken off when the client is to be told who is in the way.
        let is_told = matches!(self.log.as_slice(), [.., slept, asked]
            if slept.starts_with("sleep ") && asked.starts_with("ask who holds locks"));
        match self.sleeps.last_mut().filter(|_| is_told) {
            Some((_, slept)) => {
                *slept += duration;
                self.failed_try = Duration::ZERO;
            }
            None => self
                .sleeps
                .push((std::mem::take(&mut self.failed_try), duration)),
        }
        self.clock += duration;
        self.log.push(format!("sleep {} ms", duration.as_millis()));
    }

    fn forgive(&mut self) {
        self.interrupt = None;
    }

    fn interrupt(&self) -> Option<Interrupt> {
        self.interrupt
    }

    fn notice(&mut self, message: &str, detail: &str) {
        self.notices.push(format!("{message} [{detail}]"));
    }

    fn elapsed(&self) -> Duration {
        self.clock
    }
}

/// What a server says to anything but ROLLBACK then.
fn in_failed_transaction() -> RunError {
    RunError::Sql(Box::new(ErrorFields {
        severity: "ERROR".to_owned(),
        sqlstate: "25P02".to_owned(),
        message: "current transaction is aborted".to_owned(),
        ..ErrorFields::default()
    }))
}

fn named_settings(settings: &SessionFacts) -> BTreeMap<String, Value> {
    let mut named = vec![
        ("lock_timeout", &settings.lock_timeout),
        ("statement_timeout", &settings.statement_timeout),
    ];
    named.extend(
        settings
            .transaction_timeout
            .iter()
            .map(|setting| ("transaction_timeout", setting)),
    );
    let value = |(name, setting): (&str, &lockkeeper::catalog::Setting)| {
        (name.to_owned(), (setting.ms, setting.in_session))
    };
    named.into_iter().map(value).collect()
}

/// The relations that are to be locked, each a table of the role's own without partitions: as many as
/// there are names in the question.
fn relations(question: &Command) -> Vec<Vec<Option<String>>> {
    let names = question.parameters[0].trim_matches(['{', '}']).split(',');
    let names = names
        .map(|name| name.trim_matches('"'))
        .filter(|name| !name.is_empty());
    let row = |(at, name): (usize, &str)| {
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        let (at, oid) = ((at + 1).to_string(), (at + 1000).to_string());
        let found = [
            "1", "5", "1000", "f", "somebody", "public", &at, &oid, schema, name, "t", "f", "t",
        ];
        found.map(|text| Some(text.to_owned())).to_vec()
    };
    names.enumerate().map(row).collect()
}

/// A command for the log: the runner's own questions by what they ask.
pub(crate) fn short(sql: &str) -> String {
    let questions = [
        ("WITH RECURSIVE named (at, oid", "list the relations"),
        (
            "'another relation'",
            "ask whether they are the same relations",
        ),
        ("bool_and(i.indisvalid)", "ask whether the index is valid"),
        (
            "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class",
            "ask whether the index is gone",
        ),
        (
            "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_index",
            "ask whether an index is INVALID",
        ),
        (
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index",
            "ask whether it is still INVALID",
        ),
        (
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute",
            "ask whether the column is there",
        ),
        ("pg_stat_progress_create_index", "ask what was left"),
        ("pg_current_xact_id_if_assigned", "count who waits for it"),
        ("pg_catalog.pg_locks", "ask who holds locks"),
        ("row_security_active", "survey the table"),
        ("SELECT k.n,", "find the next key"),
        (" DESC LIMIT 1) AS k", "find the last key"),
        ("'enable_bitmapscan'", "prefer the key's index"),
        ("'enable_seqscan'", "prefer ranges"),
        (".>) ROW(", "fill keys behind one up to another"),
        (".<=) ROW(", "fill keys up to one"),
        ("t.ctid", "fill blocks"),
    ];
    let question = questions.iter().find(|(part, _)| sql.contains(part));
    question.map_or_else(|| sql.to_owned(), |(_, question)| (*question).to_owned())
}

fn tag(sql: &str) -> String {
    let mut words = sql.split_whitespace();
    match words.next() {
        Some("CREATE") => "CREATE INDEX".to_owned(),
        Some("DROP") => "DROP INDEX".to_owned(),
        Some(first) => first.to_owned(),
        None => String::new(),
    }
}
