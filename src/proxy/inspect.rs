//! Looks at what a client sends: which bytes go on, which stop here. No I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::metrics::Metrics;
use crate::sql::cache::{ClassCache, Source};
use crate::sql::classify::{self, Class, Classified, LexicalSettings, Text};
use crate::sql::encoding::ClientEncoding;
use crate::sql::lexer::StatementScanner;
use crate::sql::statement::Statement;
use crate::wire::frame::{BadFrame, HEADER_BYTES, Header, whole_body};
use crate::wire::pipeline::{Pipeline, TransactionStatus};
use crate::wire::{backend, frontend};

/// The longest front of a Bind that is searched for its two names, in bytes.
const MAX_NAMES_BYTES: usize = 8192;
/// Longer texts that aren't known yet are classified on another thread, in bytes.
const OFFLOAD_BYTES: usize = 32 << 10;
/// Names of schema changes that are kept for one session, and the bytes of their texts; beyond that
/// they pass, and are reported.
const MAX_NAMES: usize = 256;
const MAX_KEPT_BYTES: usize = 4 << 20;

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
    /// Nothing goes on before the text is classified, and the outcome [supplied](Inspector::supply).
    Classify(Job),
    /// A schema change stands at the front.
    Stop(Intercept),
}

/// A text that takes a while to classify: on a thread that serves nobody else meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    text: Box<[u8]>,
    settings: Option<LexicalSettings>,
}

impl Job {
    /// Classifies.
    pub fn run(&self) -> Classified {
        classify_as(&self.text, self.settings)
    }
}

/// Classifies a text in the settings, or, where they aren't known, in the worst of all. What is
/// then seen may not be there: it is never repeated in our own words, so it is marked as inexact.
fn classify_as(text: &[u8], settings: Option<LexicalSettings>) -> Classified {
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

/// A schema change that is to be guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intercept {
    /// The message that runs it.
    pub by: By,
    /// Bytes of that message.
    pub frame_bytes: usize,
    /// The text.
    pub text: Arc<Text>,
}

/// The message that runs a schema change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Query.
    Query,
    /// Execute.
    Execute,
}

/// A schema change that went on to the server as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The text.
    pub text: Arc<Text>,
    /// Why it wasn't guarded.
    pub because: &'static str,
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
    fn reason(self) -> Option<&'static str> {
        match self {
            Guarding::Report(because) => Some(because),
            Guarding::Stop | Guarding::Nothing => None,
        }
    }
}

/// What the inspector may use.
#[derive(Debug)]
pub struct Tools<'a> {
    /// Classified texts.
    pub cache: &'a mut ClassCache,
    /// Counters.
    pub metrics: &'a Metrics,
    /// `guard.max_text`, bytes.
    pub max_text: usize,
    /// What is done about schema changes.
    pub guarding: Guarding,
}

/// A Parse that may still fail.
#[derive(Debug)]
struct Unsettled {
    /// Its number among the extended-protocol messages.
    number: u64,
    /// The statement's name.
    name: Box<[u8]>,
    /// What the name was before.
    before: Option<Arc<Text>>,
}

/// Follows one session's client.
#[derive(Debug, Default)]
pub struct Inspector {
    /// Bytes of the current frame that still go on.
    rest: usize,
    /// Bytes of the current frame that are still thrown away.
    drop_rest: usize,
    /// The current frame is a text too long to be held.
    long: Option<Box<StatementScanner>>,
    /// What the server still owes.
    pub pipeline: Pipeline,
    /// How the server reads texts.
    pub lexical: LexicalSettings,
    /// Something was sent that may change that.
    uncertain: bool,
    /// After an error of ours in the extended protocol: everything up to the next Sync is thrown
    /// away.
    discarding: bool,
    /// The message at the front passes, whatever it is.
    pass_next: bool,
    /// What the text at the front was found to be.
    supplied: Option<Classified>,
    statements: HashMap<Box<[u8]>, Arc<Text>>,
    /// What to put back should a Parse fail: its number among the extended messages, its name, what
    /// the name was before.
    unsettled: VecDeque<Unsettled>,
    portals: HashMap<Box<[u8]>, Arc<Text>>,
    /// Schema changes that went on since last asked.
    pub passed: Vec<Passed>,
    /// Schema changes sent whose CommandComplete hasn't come.
    announced: u32,
    /// The client said goodbye.
    pub terminated: bool,
}

impl Inspector {
    /// Lets the message at the front pass.
    pub fn pass_next(&mut self) {
        self.pass_next = true;
    }

    /// Throws everything away up to the next Sync.
    pub fn discard_until_sync(&mut self) {
        self.discarding = true;
    }

    /// Nothing is held or half-way: the session can end here.
    pub fn is_between_messages(&self) -> bool {
        self.rest == 0 && !self.discarding && self.pipeline.is_idle()
    }

    /// What to do with the front of `input`.
    ///
    /// # Errors
    /// [`BadFrame`] when the stream can't be followed any further.
    pub fn next(&mut self, input: &[u8], tools: &mut Tools<'_>) -> Result<Span, BadFrame> {
        if self.rest > 0 {
            return Ok(self.go_on(input));
        }
        if self.drop_rest > 0 {
            let count = self.drop_rest.min(input.len());
            self.drop_rest -= count;
            return Ok(if count == 0 {
                Span::NeedMore
            } else {
                Span::Drop(count)
            });
        }
        let Some(header) = Header::parse(input)? else {
            return Ok(Span::NeedMore);
        };
        if self.discarding && !matches!(header.tag, b'S' | b'X') {
            self.drop_rest = header.frame_bytes().saturating_sub(input.len());
            return Ok(Span::Drop(header.frame_bytes() - self.drop_rest));
        }
        let span = match header.tag {
            b'Q' | b'P' => self.text(header, input, tools),
            b'B' | b'E' | b'C' if !self.statements.is_empty() || !self.portals.is_empty() => {
                self.named(header, input, tools)
            }
            _ => self.forward(header, input),
        };
        if matches!(span, Span::Forward(_)) {
            tools.metrics.client_messages.increment(1);
            self.pass_next = false;
        }
        Ok(span)
    }

    /// More of a frame whose beginning has gone on.
    fn go_on(&mut self, input: &[u8]) -> Span {
        let count = self.rest.min(input.len());
        if let Some(scanner) = &mut self.long {
            scanner.feed(&input[..count]);
        }
        self.rest -= count;
        if self.rest == 0 && self.long.is_some() {
            self.long_text_ended();
        }
        if count == 0 {
            Span::NeedMore
        } else {
            Span::Forward(count)
        }
    }

    /// The frame at the front goes on; the state it changes is noted.
    fn forward(&mut self, header: Header, input: &[u8]) -> Span {
        match header.tag {
            b'Q' | b'F' => {
                self.pipeline.sent_query();
                self.statements.remove(&b""[..]); // a simple query destroys the unnamed statement and portal
                self.portals.remove(&b""[..]);
            }
            b'P' | b'B' | b'D' | b'C' => self.pipeline.sent_extended(false),
            b'E' => self.pipeline.sent_extended(true),
            b'H' => self.pipeline.sent_flush(),
            b'S' => {
                self.discarding = false;
                self.pipeline.sent_sync();
            }
            b'c' | b'f' => self.pipeline.sent_copy_end(),
            b'X' => self.terminated = true,
            _ => {}
        }
        let count = header.frame_bytes().min(input.len());
        self.rest = header.frame_bytes() - count;
        Span::Forward(count)
    }

    /// A Query or Parse.
    fn text(&mut self, header: Header, input: &[u8], tools: &mut Tools<'_>) -> Span {
        let Some(body) = whole_body(input, header) else {
            return if header.body_bytes() > tools.max_text {
                self.long_text(header, input)
            } else {
                Span::NeedMore
            };
        };
        let (name, text) = match header.tag {
            b'Q' => (None, frontend::query_text(body)),
            _ => match frontend::parse_body(body) {
                Some(parse) => (Some(parse.name), Some(parse.text)),
                None => (None, None),
            },
        };
        let Some(text) = text else {
            return self.forward(header, input);
        }; // the server refuses it
        let Some((classified, source)) = self.classify(text, tools) else {
            let settings = (!self.is_reading_uncertain(text)).then_some(self.lexical);
            return Span::Classify(Job {
                text: text.into(),
                settings,
            });
        };
        let class = classified.class();
        let is_first_look = !self.pass_next;
        let changes_settings = match &classified {
            Classified::Plain {
                changes_lexical_settings,
                ..
            } => *changes_lexical_settings,
            Classified::Interesting(text) => text.changes_lexical_settings,
        };
        let span = match (name, classified) {
            (None, Classified::Plain { .. }) => self.forward(header, input),
            (None, Classified::Interesting(text)) => self.query(header, input, text, tools),
            (Some(name), classified) => {
                let before = self.parsed(name, classified);
                let span = self.forward(header, input);
                if let Some(before) = before {
                    let number = self.pipeline.extended_sent();
                    self.unsettled.push_back(Unsettled {
                        number,
                        name: name.into(),
                        before,
                    });
                }
                span
            }
        };
        if is_first_look && matches!(span, Span::Forward(_) | Span::Stop(_)) {
            tools.metrics.classified(class, Some(source));
        }
        if changes_settings && matches!(span, Span::Forward(_)) {
            self.uncertain = true;
        }
        span
    }

    /// Something sent and not yet answered may change how this text is read.
    fn is_reading_uncertain(&self, text: &[u8]) -> bool {
        self.uncertain && classify::depends_on_settings(text)
    }

    /// What a text is; `None` when finding out would take a while.
    fn classify(&mut self, text: &[u8], tools: &mut Tools<'_>) -> Option<(Classified, Source)> {
        if let Some(classified) = self.supplied.take() {
            return Some((classified, Source::Parsed));
        }
        let is_uncertain = self.is_reading_uncertain(text);
        if !is_uncertain && let Some(found) = tools.cache.lookup(text, self.lexical) {
            return Some(found);
        }
        if text.len() > OFFLOAD_BYTES {
            return None;
        }
        let began = std::time::Instant::now();
        let settings = (!is_uncertain).then_some(self.lexical);
        let classified = classify_as(text, settings);
        tools.metrics.classify_seconds.record(began.elapsed());
        if !is_uncertain {
            tools.cache.remember(text, self.lexical, classified.clone());
        }
        Some((classified, Source::Parsed))
    }

    /// The outcome of the [`Job`] that the inspector stopped for.
    pub fn supply(&mut self, classified: Classified) {
        self.supplied = Some(classified);
    }

    /// A text too long to be held goes on as it comes, past a lexer.
    fn long_text(&mut self, header: Header, input: &[u8]) -> Span {
        let mut scanner = Box::new(StatementScanner::new(self.lexical.mode));
        let body = input.get(HEADER_BYTES..).unwrap_or_default();
        // The statement's name, in front of a Parse's text, is no SQL; it is short and its NUL ends it.
        let skip = match header.tag {
            b'P' => memchr::memchr(0, body).map_or(body.len(), |at| at + 1),
            _ => 0,
        };
        scanner.feed(body.get(skip..).unwrap_or_default());
        self.long = Some(scanner);
        self.forward(header, input)
    }

    fn long_text_ended(&mut self) {
        let Some(scanner) = self.long.take() else {
            return;
        };
        let summary = scanner.finish();
        if !summary.ddl {
            return;
        }
        let words = summary
            .first_ddl
            .iter()
            .take(2)
            .map(|word| word.as_str().to_ascii_uppercase());
        let words = words.collect::<Vec<_>>().join(" ");
        let statement = Statement::Unreadable { words };
        let parsed = crate::sql::parse::Parsed {
            statement,
            span: 0..0,
            sort: crate::sql::parse::Sort::Ddl,
        };
        let text = Text {
            class: Class::Ddl,
            text: String::new(),
            exact: false,
            statements: vec![parsed],
            changes_lexical_settings: false,
        };
        self.report(Arc::new(text), "the text is longer than guard.max_text");
    }

    /// A Query that holds a schema change, or an EXECUTE of one.
    fn query(&mut self, header: Header, input: &[u8], text: Arc<Text>, tools: &Tools<'_>) -> Span {
        self.note_prepared(&text);
        let Some(text) = self.resolve_execute(text) else {
            return self.forward(header, input);
        };
        let because = match () {
            () if self.pass_next || tools.guarding == Guarding::Nothing => None,
            () if tools.guarding != Guarding::Stop => tools.guarding.reason(),
            () if self.pipeline.batch().messages > 0 || self.pipeline.is_copying_in() => {
                Some("in a pipeline")
            }
            () if !self.pipeline.is_idle() => return Span::Wait,
            () if self.uncertain => {
                self.uncertain = false; // everything is answered: the settings are known again
                return Span::Wait;
            }
            () if self.pipeline.status() != TransactionStatus::Idle => Some("in a transaction"),
            () if text.statements.len() > 1 => Some("several statements in one query"),
            () => {
                return Span::Stop(Intercept {
                    by: By::Query,
                    frame_bytes: header.frame_bytes(),
                    text,
                });
            }
        };
        match because {
            Some(because) => self.report(text, because),
            None => self.announce(&text),
        }
        self.forward(header, input)
    }

    /// A Bind, Execute or Close, while there are statements or portals of schema changes.
    fn named(&mut self, header: Header, input: &[u8], tools: &Tools<'_>) -> Span {
        let available = input
            .get(HEADER_BYTES..header.frame_bytes().min(input.len()))
            .unwrap_or_default();
        let is_whole = input.len() >= header.frame_bytes();
        match header.tag {
            b'B' => match frontend::bind_names(available) {
                Some((portal, statement)) => {
                    match self.statements.get(statement) {
                        Some(text) if self.portals.len() < MAX_NAMES => {
                            self.portals.insert(portal.into(), Arc::clone(text));
                        }
                        _ => {
                            self.portals.remove(portal);
                        }
                    }
                    self.forward(header, input)
                }
                None if !is_whole && available.len() < MAX_NAMES_BYTES => Span::NeedMore,
                None => self.forward(header, input),
            },
            b'C' if !is_whole && available.len() < MAX_NAMES_BYTES => Span::NeedMore,
            b'C' => {
                match frontend::close_target(available) {
                    Some((b'S', name)) => drop(self.statements.remove(name)),
                    Some((_, name)) => drop(self.portals.remove(name)),
                    None => {}
                }
                self.forward(header, input)
            }
            _ if !is_whole && available.len() < MAX_NAMES_BYTES => Span::NeedMore,
            _ => {
                let portal = frontend::execute_portal(available).unwrap_or_default();
                match self.portals.get(portal).map(Arc::clone) {
                    Some(text) => self.execute(header, input, text, tools),
                    None => self.forward(header, input),
                }
            }
        }
    }

    /// An Execute of a schema change: guarded when it is all that its batch runs, which the next
    /// message tells.
    fn execute(
        &mut self,
        header: Header,
        input: &[u8],
        text: Arc<Text>,
        tools: &Tools<'_>,
    ) -> Span {
        let Some(text) = self.resolve_execute(text) else {
            return self.forward(header, input);
        };
        let because = match () {
            () if self.pass_next || tools.guarding == Guarding::Nothing => None,
            () if tools.guarding != Guarding::Stop => tools.guarding.reason(),
            () if self.pipeline.batch().executes > 0 => Some("in a pipeline"),
            () if !self.pipeline.is_synced() => return Span::Wait,
            () if self.pipeline.status() != TransactionStatus::Idle => Some("in a transaction"),
            () if text.only_statement().is_none() => Some("several statements in one query"),
            () => match ends_with_sync(input.get(header.frame_bytes()..).unwrap_or_default()) {
                None => return Span::NeedMore,
                Some(false) => Some("in a pipeline"),
                Some(true) => {
                    return Span::Stop(Intercept {
                        by: By::Execute,
                        frame_bytes: header.frame_bytes(),
                        text,
                    });
                }
            },
        };
        match because {
            Some(because) => self.report(text, because),
            None => self.announce(&text),
        }
        self.forward(header, input)
    }

    /// A Parse: remembers a schema change by its name, forgets the name's former one. What the name
    /// was before, when it changed.
    #[allow(clippy::option_option)]
    fn parsed(&mut self, name: &[u8], classified: Classified) -> Option<Option<Arc<Text>>> {
        match classified {
            Classified::Interesting(text) if self.has_room_for(&text) => {
                Some(self.statements.insert(name.into(), text))
            }
            Classified::Interesting(text) => {
                self.report(text, "too many prepared schema changes");
                self.statements.remove(name).map(Some)
            }
            Classified::Plain { .. } if self.statements.is_empty() => None,
            Classified::Plain { .. } => self.statements.remove(name).map(Some),
        }
    }

    fn has_room_for(&self, text: &Text) -> bool {
        let kept: usize = self.statements.values().map(|text| text.text.len()).sum();
        self.statements.len() < MAX_NAMES && kept + text.text.len() <= MAX_KEPT_BYTES
    }

    /// Puts names back whose Parse failed.
    fn settle_names(&mut self, tag: u8) {
        let settled = self.pipeline.extended_settled();
        while self
            .unsettled
            .front()
            .is_some_and(|unsettled| unsettled.number <= settled)
        {
            let Some(Unsettled {
                number,
                name,
                before,
            }) = self.unsettled.pop_front()
            else {
                return;
            };
            if number == settled && tag == b'1' {
                continue; // ParseComplete
            }
            match before {
                Some(text) => self.statements.insert(name, text),
                None => self.statements.remove(&name),
            };
        }
    }

    /// `PREPARE name AS …`: SQL and protocol share one space of names.
    fn note_prepared(&mut self, text: &Arc<Text>) {
        for parsed in &text.statements {
            if let Statement::Prepare { name, inner } = &parsed.statement
                && self.has_room_for(text)
            {
                let inner = crate::sql::parse::Parsed {
                    statement: (**inner).clone(),
                    ..parsed.clone()
                };
                let text = Text {
                    statements: vec![inner],
                    class: Class::Ddl,
                    ..(**text).clone()
                };
                self.statements
                    .insert(name.as_bytes().into(), Arc::new(text));
            }
        }
    }

    /// The schema change that a text runs: itself, or what its only EXECUTE names. `None` when it
    /// runs none.
    fn resolve_execute(&self, text: Arc<Text>) -> Option<Arc<Text>> {
        if text.class == Class::Ddl {
            return Some(text);
        }
        let executed = text
            .statements
            .iter()
            .find_map(|parsed| match &parsed.statement {
                Statement::Execute { name } => self.statements.get(name.as_bytes()),
                _ => None,
            })?;
        if text.statements.len() == 1 {
            return Some(Arc::clone(executed));
        }
        // One of several: what it runs is only recorded.
        let mut statements = executed.statements.clone();
        statements.extend(text.statements.iter().cloned());
        Some(Arc::new(Text {
            class: Class::Ddl,
            statements,
            ..Text::clone(executed)
        }))
    }

    fn report(&mut self, text: Arc<Text>, because: &'static str) {
        self.announce(&text);
        self.passed.push(Passed { text, because });
    }

    fn announce(&mut self, text: &Text) {
        let ddl = text
            .statements
            .iter()
            .filter(|parsed| parsed.statement.is_ddl())
            .count();
        self.announced = self
            .announced
            .saturating_add(u32::try_from(ddl).unwrap_or(u32::MAX));
    }

    /// A frame came from the server: its type and the front of its body.
    pub fn received(&mut self, tag: u8, body: &[u8], metrics: &Metrics) {
        self.pipeline
            .received(tag, body.first().copied().unwrap_or(0));
        if !self.unsettled.is_empty() {
            self.settle_names(tag);
        }
        match tag {
            b'Z' if self.pipeline.is_synced() => {
                self.announced = 0;
                self.uncertain = false;
                if self.pipeline.status() == TransactionStatus::Idle {
                    self.portals.clear(); // a transaction's end closes its portals
                }
            }
            b'S' => self.parameter_status(body),
            b'C' if backend::is_ddl_tag(backend::command_tag(body)) => {
                if self.announced == 0 {
                    metrics.unannounced.increment(1);
                    let tag = String::from_utf8_lossy(backend::command_tag(body)).into_owned();
                    tracing::warn!(tag, "a schema change that the classifier did not see");
                }
                self.announced = self.announced.saturating_sub(1);
            }
            b'C' => match backend::command_tag(body) {
                b"DEALLOCATE ALL" | b"DISCARD ALL" => self.statements.clear(),
                _ => {}
            },
            _ => {}
        }
    }

    /// The server reports a setting.
    pub fn parameter_status(&mut self, body: &[u8]) {
        match backend::parameter_status(body) {
            Some((b"standard_conforming_strings", value)) => {
                self.lexical.mode.standard_conforming_strings = value != b"off";
            }
            Some((b"client_encoding", value)) => {
                // An encoding that isn't known is taken for one of the harmless kind: the server knows no others.
                let name = String::from_utf8_lossy(value);
                self.lexical.encoding =
                    ClientEncoding::from_name(&name).unwrap_or(ClientEncoding::SingleByteSafe);
            }
            _ => {}
        }
    }
}

/// Whether the messages after an Execute end its batch: Sync, behind any number of Close. `None`
/// when too little is there.
fn ends_with_sync(mut input: &[u8]) -> Option<bool> {
    loop {
        let header = match Header::parse(input) {
            Ok(Some(header)) => header,
            Ok(None) => return None,
            Err(_) => return Some(false),
        };
        match header.tag {
            b'S' => return Some(true),
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
