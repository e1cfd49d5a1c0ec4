//! What becomes of the schema changes that go on as they came, by what the server answers: those in a
//! client's transaction stand or fall with it. No I/O.

use std::sync::Arc;

use crate::sql::classify::Text;
use crate::sql::lexer::{Lexer, LexicalMode, Token, TokenKind};
use crate::wire::backend;
use crate::wire::pipeline::TransactionStatus;

/// Schema changes of one session that are followed at once; further ones are given up.
const MAX_FOLLOWED: usize = 10_000;
/// Longer texts hold no savepoints for us, in bytes.
const MAX_CONTROL_BYTES: usize = 64 << 10;

/// What became of a schema change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done, alone in its transaction.
    Done,
    /// The server refused it.
    Failed,
    /// Its transaction was committed.
    Committed,
    /// Its transaction was rolled back, or it was alone.
    RolledBack,
    /// It can't be told.
    Unknown,
}

impl Fate {
    /// The word in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Done => "done",
            Fate::Failed => "failed",
            Fate::Committed => "committed",
            Fate::RolledBack => "rolled back",
            Fate::Unknown => "unknown",
        }
    }
}

/// A schema change that is followed.
#[derive(Debug)]
pub struct Followed {
    /// Its number among those of the session.
    pub number: u64,
    /// What became of it.
    pub fate: Fate,
    /// What the server said of it, when it refused it.
    pub error: Option<(String, String)>,
}

/// A place in what a client sends: which ReadyForQuery ends it, and how many commands are completed
/// before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// From 1.
    pub round: u64,
    /// From 0.
    pub command: u64,
}

/// How a schema change stands to its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It is all that there is in it.
    Alone,
    /// There is more.
    WithOthers,
    /// It commits by itself, whatever follows: `CREATE INDEX CONCURRENTLY` at the front of a batch.
    ByItself,
}

#[derive(Debug)]
struct Open {
    number: u64,
    at: Position,
    stands: Stands,
}

#[derive(Debug)]
enum Control {
    Savepoint(String),
    RollbackTo(String),
}

/// Follows the schema changes of one session.
#[derive(Debug, Default)]
pub struct Fates {
    last: u64,
    open: Vec<Open>,
    /// Savepoints, and how many schema changes were before each.
    savepoints: Vec<(String, u64)>,
    controls: Vec<(Position, Control)>,
    /// Where the server is.
    now: Position,
    in_block: bool,
    settled: Vec<Followed>,
}

impl Fates {
    /// Nothing is followed.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Those of which is known what became of them, since last asked.
    pub fn settled(&mut self) -> Vec<Followed> {
        std::mem::take(&mut self.settled)
    }

    /// A schema change is sent on; its number, or `None` when there are too many.
    pub fn sent(&mut self, at: Position, stands: Stands) -> Option<u64> {
        if self.open.len() >= MAX_FOLLOWED {
            return None;
        }
        self.last += 1;
        self.open.push(Open {
            number: self.last,
            at,
            stands,
        });
        Some(self.last)
    }

    /// A text is sent on, whose first command is completed there.
    pub fn sent_text(&mut self, text: &[u8], at: Position, mode: LexicalMode) {
        if self.open.is_empty() || text.len() > MAX_CONTROL_BYTES {
            return;
        }
        for (command, control) in controls(text, mode) {
            let position = Position {
                command: at.command + command,
                ..at
            };
            self.controls.push((position, control));
        }
    }

    /// A frame came from the server.
    pub fn received(&mut self, tag: u8, body: &[u8], status: TransactionStatus) {
        match tag {
            b'C' => self.completed(backend::command_tag(body)),
            b'I' | b's' => self.completed(b""),
            b'E' if !self.open.is_empty() => self.failed(body),
            b'Z' => self.ready(status),
            _ => {}
        }
    }

    /// The server is where it was when so many rounds were answered.
    pub fn begins_at(&mut self, answered: u64) {
        self.now = Position {
            round: answered + 1,
            command: 0,
        };
    }

    fn completed(&mut self, tag: &[u8]) {
        let at = self.now;
        self.now.command += 1;
        self.settle(at, |one| {
            (one.at == at && one.stands == Stands::ByItself).then_some(Fate::Committed)
        });
        match tag {
            b"BEGIN" | b"START TRANSACTION" => self.in_block = true,
            b"COMMIT" => {
                self.settle_until(at, |_| Fate::Committed);
                self.block_ends();
            }
            // Whoever ends it may do that from anywhere, at any time.
            b"PREPARE TRANSACTION" => {
                self.settle_until(at, |_| Fate::Unknown);
                self.block_ends();
            }
            b"ROLLBACK" if self.open.is_empty() => {}
            b"ROLLBACK" => match self.control(at) {
                Some(Control::RollbackTo(name)) => self.rolled_back_to(&name, at),
                Some(Control::Savepoint(_)) | None => {
                    self.settle_until(at, |_| Fate::RolledBack);
                    self.block_ends();
                }
            },
            b"SAVEPOINT" => {
                if let Some(Control::Savepoint(name)) = self.control(at) {
                    let before = self.open.iter().filter(|one| one.at < at);
                    let last = before.map(|one| one.number).max().unwrap_or(0);
                    self.savepoints.push((name, last));
                }
            }
            _ => {}
        }
    }

    fn block_ends(&mut self) {
        self.in_block = false;
        self.savepoints.clear();
    }

    fn control(&mut self, at: Position) -> Option<Control> {
        let found = self
            .controls
            .iter()
            .position(|(position, _)| *position == at);
        found.map(|found| self.controls.swap_remove(found).1)
    }

    /// Those behind a savepoint are undone; behind one that was set before all of them, all are.
    fn rolled_back_to(&mut self, name: &str, at: Position) {
        let found = self.savepoints.iter().rposition(|(set, _)| set == name);
        let last = match found {
            Some(found) => {
                self.savepoints.truncate(found + 1);
                self.savepoints.get(found).map_or(0, |(_, last)| *last)
            }
            None => {
                self.savepoints.clear();
                0
            }
        };
        self.settle(at, |one| (one.number > last).then_some(Fate::RolledBack));
    }

    /// The command at work is refused; what follows in its round isn't done.
    fn failed(&mut self, body: &[u8]) {
        let fields = backend::ErrorFields::parse(body);
        let (now, in_block) = (self.now, self.in_block);
        let refused = self.settled.len();
        self.settle_all(|one| {
            let is_here = one.at.round == now.round;
            match one.at.command >= now.command {
                true if is_here => Some(Fate::Failed),
                // What was before it in the same implicit transaction falls with it.
                false if is_here && !in_block => Some(Fate::RolledBack),
                true | false => None,
            }
        });
        for one in self.settled.iter_mut().skip(refused) {
            if one.fate == Fate::Failed {
                one.error = Some((fields.sqlstate.clone(), fields.message.clone()));
            }
        }
    }

    fn ready(&mut self, status: TransactionStatus) {
        let round = self.now.round;
        // Its end would have been told by a COMMIT or ROLLBACK: the COMMIT has failed.
        let is_lost = self.in_block && status == TransactionStatus::Idle;
        self.in_block = status != TransactionStatus::Idle;
        if status == TransactionStatus::Idle {
            self.savepoints.clear();
            self.settle_all(|one| {
                let is_over = one.at.round <= round;
                is_over.then_some(match one.stands {
                    _ if is_lost => Fate::RolledBack,
                    Stands::Alone => Fate::Done,
                    Stands::WithOthers | Stands::ByItself => Fate::Committed,
                })
            });
        }
        self.controls.retain(|(position, _)| position.round > round);
        self.now = Position {
            round: round + 1,
            command: 0,
        };
    }

    /// Something has been settled since last asked.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// The open transaction was rolled back by lockkeeper itself.
    pub fn rolled_back(&mut self) {
        self.settle_all(|_| Some(Fate::RolledBack));
        self.block_ends();
    }

    /// The session ends: what was open is rolled back, unless its end was under way.
    pub fn ended(&mut self, is_idle: bool) {
        let fate = if is_idle {
            Fate::RolledBack
        } else {
            Fate::Unknown
        };
        self.settle_all(|_| Some(fate));
    }

    fn settle_until(&mut self, at: Position, fate: impl Fn(&Open) -> Fate) {
        self.settle(at, |one| Some(fate(one)));
    }

    fn settle(&mut self, until: Position, fate: impl Fn(&Open) -> Option<Fate>) {
        self.settle_all(|one| if one.at <= until { fate(one) } else { None });
    }

    fn settle_all(&mut self, fate: impl Fn(&Open) -> Option<Fate>) {
        let settled = &mut self.settled;
        self.open.retain(|one| match fate(one) {
            Some(fate) => {
                settled.push(Followed {
                    number: one.number,
                    fate,
                    error: None,
                });
                false
            }
            None => true,
        });
    }
}

/// The savepoints that the statements of a text set, and those that they go back to, by the number of the
/// statement.
fn controls(text: &[u8], mode: LexicalMode) -> Vec<(u64, Control)> {
    let text = String::from_utf8_lossy(text);
    let mut found: Vec<(u32, Vec<String>)> = Vec::new();
    let mut note = |token: Token| {
        if token.index > 5 || token.kind == TokenKind::Semicolon {
            return;
        }
        let range = usize::try_from(token.start).unwrap_or(usize::MAX)
            ..usize::try_from(token.end).unwrap_or(usize::MAX);
        let written = text.get(range).unwrap_or_default();
        let word = match token.kind {
            TokenKind::QuotedIdentifier => written.trim_matches('"').replace("\"\"", "\""),
            _ => written.to_lowercase(),
        };
        match found.last_mut() {
            Some((statement, words)) if *statement == token.statement => words.push(word),
            _ => found.push((token.statement, vec![word])),
        }
    };
    let mut lexer = Lexer::new(mode);
    lexer.feed(text.as_bytes(), &mut note);
    lexer.finish(&mut note);
    let control = |words: &[String]| -> Option<Control> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["savepoint", name] => Some(Control::Savepoint((*name).to_owned())),
            ["rollback", rest @ ..] => {
                let rest = match rest {
                    ["work" | "transaction", rest @ ..] => rest,
                    rest => rest,
                };
                match rest {
                    ["to", "savepoint", name] | ["to", name] => {
                        Some(Control::RollbackTo((*name).to_owned()))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    };
    found
        .iter()
        .filter_map(|(statement, words)| Some((u64::from(*statement), control(words)?)))
        .collect()
}

/// Where the schema changes of a text stand among its statements, from 0.
pub fn schema_changes(text: &Arc<Text>) -> impl Iterator<Item = usize> + '_ {
    let statements = text.statements.iter().enumerate();
    statements
        .filter(|(_, one)| one.statement.is_ddl())
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session as a list of what is sent and answered: each Query with its statements.
    struct Session {
        fates: Fates,
        round: u64,
    }

    impl Session {
        fn new() -> Session {
            let mut fates = Fates::default();
            fates.begins_at(0);
            Session { fates, round: 0 }
        }

        /// Sends a Query; `answers` are command tags, `!` for an error; then the status.
        fn query(&mut self, text: &str, answers: &[&str], status: TransactionStatus) {
            self.round += 1;
            let round = self.round;
            let statements: Vec<&str> = text.split(';').map(str::trim).collect();
            for (command, statement) in statements.iter().enumerate() {
                let at = Position {
                    round,
                    command: command as u64,
                };
                if statement.starts_with("CREATE") {
                    let stands = if statement.contains("CONCURRENTLY") {
                        Stands::ByItself
                    } else if statements.len() == 1 && !self.fates.in_block {
                        Stands::Alone
                    } else {
                        Stands::WithOthers
                    };
                    self.fates.sent(at, stands);
                }
            }
            let at = Position { round, command: 0 };
            self.fates
                .sent_text(text.as_bytes(), at, LexicalMode::default());
            for answer in answers {
                match *answer {
                    "!" => self.fates.received(b'E', b"C42P07\0Mno\0\0", status),
                    tag => self
                        .fates
                        .received(b'C', format!("{tag}\0").as_bytes(), status),
                }
            }
            self.fates.received(b'Z', b"", status);
        }

        fn settled(&mut self) -> Vec<(u64, &'static str)> {
            let settled = self.fates.settled();
            settled
                .iter()
                .map(|one| (one.number, one.fate.as_str()))
                .collect()
        }
    }

    use TransactionStatus::{Failed, Idle, InTransaction as InBlock};

    #[test]
    fn a_transaction_s_end_is_that_of_its_schema_changes() {
        let mut session = Session::new();
        session.query("BEGIN", &["BEGIN"], InBlock);
        session.query("CREATE a", &["CREATE TABLE"], InBlock);
        session.query("CREATE b", &["CREATE TABLE"], InBlock);
        assert_eq!(session.settled(), []);
        session.query("COMMIT", &["COMMIT"], Idle);
        assert_eq!(session.settled(), [(1, "committed"), (2, "committed")]);
        session.query("BEGIN", &["BEGIN"], InBlock);
        session.query("CREATE a", &["CREATE TABLE"], InBlock);
        session.query("CREATE b", &["!"], Failed);
        assert_eq!(session.settled(), [(4, "failed")]);
        session.query("COMMIT", &["ROLLBACK"], Idle);
        assert_eq!(session.settled(), [(3, "rolled back")]);
    }

    #[test]
    fn a_commit_that_fails_commits_nothing() {
        let mut session = Session::new();
        session.query("BEGIN", &["BEGIN"], InBlock);
        session.query("CREATE a", &["CREATE TABLE"], InBlock);
        session.query("COMMIT", &["!"], Idle);
        assert_eq!(session.settled(), [(1, "rolled back")]);
        let tags = ["BEGIN", "CREATE TABLE", "!"];
        session.query("BEGIN; CREATE a; COMMIT", &tags, Idle);
        assert_eq!(session.settled(), [(2, "rolled back")]);
        session.query("CREATE a", &["CREATE TABLE"], Idle);
        assert_eq!(session.settled(), [(3, "done")]);
    }

    #[test]
    fn what_is_prepared_is_neither_committed_nor_rolled_back() {
        let mut session = Session::new();
        session.query("BEGIN", &["BEGIN"], InBlock);
        session.query("CREATE a", &["CREATE TABLE"], InBlock);
        session.query("PREPARE TRANSACTION 'x'", &["PREPARE TRANSACTION"], Idle);
        assert_eq!(session.settled(), [(1, "unknown")]);
    }

    #[test]
    fn what_is_behind_a_savepoint_may_be_undone_alone() {
        let mut session = Session::new();
        session.query("BEGIN", &["BEGIN"], InBlock);
        session.query("CREATE a", &["CREATE TABLE"], InBlock);
        session.query("SAVEPOINT \"S\"", &["SAVEPOINT"], InBlock);
        session.query("CREATE b", &["CREATE TABLE"], InBlock);
        session.query("ROLLBACK TO SAVEPOINT \"S\"", &["ROLLBACK"], InBlock);
        assert_eq!(session.settled(), [(2, "rolled back")]);
        session.query("CREATE c", &["CREATE TABLE"], InBlock);
        session.query("ROLLBACK TO unseen", &["ROLLBACK"], InBlock);
        assert_eq!(session.settled(), [(1, "rolled back"), (3, "rolled back")]);
        session.query("COMMIT", &["COMMIT"], Idle);
        assert_eq!(session.settled(), []);
    }

    #[test]
    fn a_string_may_hold_several_transactions() {
        let mut session = Session::new();
        let tags = ["CREATE TABLE", "CREATE TABLE"];
        session.query("CREATE a; CREATE b", &tags, Idle);
        assert_eq!(session.settled(), [(1, "committed"), (2, "committed")]);
        session.query("CREATE a; CREATE b", &["CREATE TABLE", "!"], Idle);
        assert_eq!(session.settled(), [(3, "rolled back"), (4, "failed")]);
        let tags = ["CREATE INDEX", "!"];
        session.query("CREATE INDEX CONCURRENTLY; CREATE b", &tags, Idle);
        assert_eq!(session.settled(), [(5, "committed"), (6, "failed")]);
        let tags = ["BEGIN", "CREATE TABLE", "COMMIT", "!"];
        session.query("BEGIN; CREATE a; COMMIT; CREATE b", &tags, Idle);
        assert_eq!(session.settled(), [(7, "committed"), (8, "failed")]);
        let tags = ["BEGIN", "CREATE TABLE", "ROLLBACK", "CREATE TABLE"];
        session.query("BEGIN; CREATE a; ROLLBACK; CREATE b", &tags, Idle);
        assert_eq!(session.settled(), [(9, "rolled back"), (10, "committed")]);
    }

    #[test]
    fn one_alone_is_done_or_fails() {
        let mut session = Session::new();
        session.query("CREATE a", &["SELECT 1"], Idle);
        session.query("CREATE a", &["!"], Idle);
        assert_eq!(session.settled(), [(1, "done"), (2, "failed")]);
        session.query("BEGIN", &["BEGIN"], InBlock);
        session.query("CREATE a", &["CREATE TABLE"], InBlock);
        session.fates.ended(true);
        assert_eq!(session.settled(), [(3, "rolled back")]);
    }
}
