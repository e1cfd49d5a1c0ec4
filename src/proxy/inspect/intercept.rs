//! What the relay stops for, and what it is told of the front of a client's bytes. Plain data.

use std::sync::Arc;

use crate::metrics::Metrics;
use crate::sql::cache::ClassCache;
use crate::sql::classify::{self, Class, Classified, LexicalSettings, Text};
use crate::sql::lexer::LexicalMode;
use crate::sql::parse::ordinary::{Control, Kind, kind};
use crate::wire::frame::Header;

/// The longest front of a message that is searched for its names, in bytes.
pub(super) const MAX_NAMES_BYTES: usize = 8192;

/// What is to be done with the front of a client's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// So many bytes go on to the server.
    Forward(usize),
    /// So many bytes are thrown away.
    Drop(usize),
    /// A whole frame is needed, and isn't there yet.
    NeedMore,
    /// Nothing goes on before the server has answered what was sent.
    Wait,
    /// A schema change stands at the front that can't be recorded: the session ends.
    Refuse(String),
    /// Nothing goes on before the text is classified, and the outcome [supplied](super::Inspector::supply).
    Classify(Job),
    /// A schema change stands at the front.
    Stop(Intercept),
}

/// A text that takes a while to classify: on a thread that serves nobody else meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub(super) text: Box<[u8]>,
    pub(super) settings: Option<LexicalSettings>,
}

impl Job {
    /// Classifies.
    pub fn run(&self) -> Classified {
        classify_as(&self.text, self.settings)
    }
}

/// Classifies a text in the settings, or, where they aren't known, in the worst of all. What is
/// then seen may not be there: it is never repeated in our own words, so it is marked as inexact.
pub(super) fn classify_as(text: &[u8], settings: Option<LexicalSettings>) -> Classified {
    match settings {
        Some(settings) => classify::classify(text, settings),
        None => match classify::classify_in_any_settings(text) {
            Classified::Interesting(text) => Classified::Interesting(Arc::new(Text {
                exact: false,
                ..Text::clone(&text)
            })),
            plain @ Classified::Plain { .. } => plain,
        },
    }
}

/// A schema change that is to be guarded, or something that could notice one that is put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intercept {
    /// The message that runs it.
    pub by: By,
    /// Bytes of that message.
    pub frame_bytes: usize,
    /// The text.
    pub text: Arc<Text>,
    /// The prepared statement that is the text, when the message is `EXECUTE` of it.
    pub prepared: Option<String>,
    /// The client has a transaction open.
    pub in_transaction: bool,
}

/// The message that runs a schema change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Query.
    Query,
    /// Execute.
    Execute,
    /// Parse, or anything else that only could notice what is put off.
    Other,
}

/// A schema change that went on to the server as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The text.
    pub text: Arc<Text>,
    /// Why it wasn't guarded.
    pub because: &'static str,
    /// Its schema changes, by their place in the text, with the numbers under which they are followed.
    pub followed: Vec<(usize, Option<u64>)>,
}

/// What is done about schema changes in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarding {
    /// They are stopped.
    Stop,
    /// They pass, and are reported with this reason.
    Report(&'static str),
    /// They pass.
    Nothing,
}

impl Guarding {
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Guarding::Report(because) => Some(because),
            Guarding::Stop | Guarding::Nothing => None,
        }
    }
}

/// Why a statement that takes no strong lock goes on as it came.
pub(super) const LOCKS_NOTHING: &str = "it takes no lock on what exists";
/// Why one does that nobody has seen in whole.
pub(super) const TOO_LONG: &str = "the text is longer than guard.max_text";
/// Why one does whose place is in the client's transaction.
pub(super) const IN_TRANSACTION: &str = "in a transaction";
/// Why one does on a connection that speaks no extended protocol, in which plans run.
pub const REPLICATION: &str = "a replication connection";

/// What a message runs.
pub(super) struct Runs {
    /// The schema change.
    pub(super) text: Arc<Text>,
    /// The prepared statement that it is, when it is run by SQL's EXECUTE.
    pub(super) prepared: Option<String>,
}

impl Runs {
    pub(super) fn may_hurt(&self) -> bool {
        self.text
            .statements
            .iter()
            .any(|parsed| parsed.statement.may_hurt())
    }
}

/// What the inspector may use.
pub struct Tools<'a> {
    /// Classified texts.
    pub cache: &'a mut ClassCache,
    /// Counters.
    pub metrics: &'a Metrics,
    /// `guard.max_text`, bytes.
    pub max_text: usize,
    /// What is done about schema changes.
    pub guarding: Guarding,
    /// Why none may go on unrecorded now, if so.
    pub must_refuse: &'a dyn Fn() -> Option<String>,
}

impl std::fmt::Debug for Tools<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools")
            .field("guarding", &self.guarding)
            .finish_non_exhaustive()
    }
}

/// Whether a text is a COMMIT.
pub(super) fn is_commit(text: &[u8], mode: LexicalMode) -> bool {
    let found = kind(&String::from_utf8_lossy(text), mode);
    matches!(found, Kind::Control(Control::Commit { .. }))
}

/// A text of ordinary traffic.
pub(super) fn plain_text(text: &[u8], class: Class) -> Arc<Text> {
    Arc::new(Text {
        class,
        text: String::from_utf8_lossy(text).into_owned(),
        exact: std::str::from_utf8(text).is_ok(),
        statements: Vec::new(),
        changes_lexical_settings: true,
    })
}

/// Whether the messages after an Execute end its batch: Sync, behind any number of Close. `None`
/// when too little is there.
pub(super) fn ends_with_sync(mut input: &[u8]) -> Option<bool> {
    loop {
        let header = match Header::parse(input) {
            Ok(Some(header)) => header,
            Ok(None) => return None,
            Err(_) => return Some(false),
        };
        match header.tag {
            b'S' => return Some(header.body_bytes() == 0),
            b'C' => {
                if input.len() < header.frame_bytes() {
                    return if header.frame_bytes() < MAX_NAMES_BYTES {
                        None
                    } else {
                        Some(false)
                    };
                }
                input = &input[header.frame_bytes()..];
            }
            _ => return Some(false),
        }
    }
}
