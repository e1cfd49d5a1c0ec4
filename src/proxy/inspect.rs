//! Looks at what a client sends: which bytes go on, which stop here. No I/O.

mod intercept;

use std::sync::Arc;

use super::fates::{self, Fates, Position, Stands};
use super::long_text::LongText;
use super::mode::SessionMode;
use super::names::Names;
use super::transaction::Transaction;
use crate::metrics::Metrics;
use crate::sql::cache::Source;
use crate::sql::classify::{self, Class, Classified, LexicalSettings, Text};
use crate::sql::comment::{self, ModeChange};
use crate::sql::encoding::ClientEncoding;
use crate::sql::parse::Parsed;
use crate::sql::parse::ordinary::{Control, Kind, kind};
use crate::sql::statement::Statement;
use crate::wire::backend::ErrorFields;
use crate::wire::frame::{BadFrame, HEADER_BYTES, Header, whole_body};
use crate::wire::pipeline::{Pipeline, TransactionStatus};
use crate::wire::{backend, frontend};

/// Longer texts that aren't known yet are classified on another thread, in bytes.
const OFFLOAD_BYTES: usize = 32 << 10;

pub use self::intercept::{By, Guarding, Intercept, Job, Passed, REPLICATION, Span, Tools};
use self::intercept::{
    IN_TRANSACTION, LOCKS_NOTHING, MAX_NAMES_BYTES, Runs, TOO_LONG, classify_as, ends_with_sync,
    is_commit, plain_text,
};

/// Follows one session's client.
#[derive(Debug, Default)]
pub struct Inspector {
    /// Bytes of the current frame that still go on.
    rest: usize,
    /// Bytes of the current frame that are still thrown away.
    drop_rest: usize,
    /// The current frame is a text too long to be held.
    long: Option<Box<LongText>>,
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
    /// Names that stand for schema changes.
    names: Names,
    /// A prepared statement may change how texts are read: every Execute may run it.
    fickle: bool,
    /// Schema changes that went on since last asked.
    pub passed: Vec<Passed>,
    /// Schema changes sent whose CommandComplete hasn't come.
    announced: u32,
    /// The client said goodbye.
    pub terminated: bool,
    /// `lockkeeper.mode`.
    pub mode: SessionMode,
    /// What it was set to since last asked.
    pub modes_set: Vec<String>,
    /// What becomes of schema changes that went on.
    pub fates: Fates,
    /// What the open transaction has put off.
    pub transaction: Transaction,
    /// Why the message at the front is to be reported.
    report_because: Option<&'static str>,
    /// So many BEGIN have been run since the last Sync.
    begins: u32,
    /// Why lockkeeper has had the open transaction fail: the answer to the next statement.
    pub owed_error: Option<Box<ErrorFields>>,
}

impl Inspector {
    /// A Query was answered without the server having seen it.
    pub fn query_answered(&mut self) {
        self.names.query_sent();
    }

    /// Lets the message at the front pass.
    pub fn pass_next(&mut self) {
        self.pass_next = true;
    }

    /// Lets the message at the front pass, and reports its schema changes.
    pub fn report_next(&mut self, because: &'static str) {
        self.report_because = Some(because);
    }

    /// A statement of a string has been sent by a plan, of which it may be that it is to be reported.
    pub fn sent_by_plan(&mut self, text: &Arc<Text>) {
        if let Some(because) = self.report_because.take() {
            let followed = vec![(0, self.follow())];
            let text = Arc::clone(text);
            self.passed.push(Passed {
                text,
                because,
                followed,
            });
        }
    }

    /// A schema change has its place in the open transaction: the number under which it is followed.
    pub fn follow(&mut self) -> Option<u64> {
        let at = Position {
            round: self.pipeline.rounds_answered(),
            command: 0,
        };
        self.fates.sent(at, Stands::WithOthers)
    }

    /// lockkeeper itself has rolled the open transaction back.
    pub fn rolled_back(&mut self) {
        self.fates.rolled_back();
        self.transaction.ended();
        self.names.transaction_ended(self.pipeline.syncs_answered());
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
            b'B' | b'E' | b'C' if !self.names.is_empty() || self.puts_off() => {
                self.named(header, input, tools)
            }
            b'F' if self.puts_off() => self.hold(header, By::Other, None),
            _ => self.forward(header, input),
        };
        if matches!(span, Span::Forward(_)) {
            tools.metrics.client_messages.increment(1);
            self.pass_next = false;
        }
        Ok(span)
    }

    /// Whether a message of the transaction's could notice that something hasn't run yet.
    fn puts_off(&self) -> bool {
        !self.transaction.is_empty()
            && !self.pass_next
            && self.pipeline.status() == TransactionStatus::InTransaction
    }

    /// Something is put off that a message could notice; it waits for what was sent before.
    fn hold(&self, header: Header, by: By, text: Option<Arc<Text>>) -> Span {
        let is_answered = match by {
            By::Query => self.pipeline.is_idle(),
            By::Execute | By::Other => self.pipeline.is_synced(),
        };
        if !is_answered && !self.pipeline.is_skipping() {
            return Span::Wait;
        }
        Span::Stop(Intercept {
            by,
            frame_bytes: header.frame_bytes(),
            text: text.unwrap_or_default(),
            prepared: None,
            in_transaction: true,
        })
    }

    /// More of a frame whose beginning has gone on.
    fn go_on(&mut self, input: &[u8]) -> Span {
        let count = self.rest.min(input.len());
        if let Some(long) = &mut self.long {
            long.feed(&input[..count]);
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
                self.mode.sent();
                self.pipeline.sent_query();
                self.names.query_sent();
            }
            b'P' | b'B' | b'D' | b'C' => self.pipeline.sent_extended(false),
            b'E' => {
                self.pipeline.sent_extended(true);
                self.uncertain |= self.fickle;
            }
            b'H' => self.pipeline.sent_flush(),
            b'S' => {
                self.discarding = false;
                self.begins = 0;
                self.mode.sent();
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
        if header.body_bytes() > tools.max_text {
            if self.puts_off() {
                return self.hold(header, By::Other, None);
            }
            return self.long_text(header, input);
        }
        let Some(body) = whole_body(input, header) else {
            return Span::NeedMore;
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
        if !self.fates.is_empty() {
            let at = Position {
                round: self.pipeline.rounds_sent() + 1,
                command: u64::from(self.pipeline.batch().executes),
            };
            self.fates.sent_text(text, at, self.lexical.mode);
        }
        let modes = self.mode_changes(text, class);
        let answer = self.mode.next_answer();
        let span = match self.held_text(header, name.is_none(), (text, class), &classified) {
            Some(span) => span,
            None => self.classified_text(header, input, (name, text), classified, tools),
        };
        if is_first_look && matches!(span, Span::Forward(_) | Span::Stop(_)) {
            tools.metrics.classified(class, Some(source));
        }
        if !modes.is_empty() && matches!(span, Span::Forward(_)) {
            self.mode.sending(&modes, answer);
            self.modes_set
                .extend(modes.into_iter().filter_map(|change| change.value));
        }
        if changes_settings && matches!(span, Span::Forward(_)) {
            self.uncertain = true;
            self.fickle |= header.tag == b'P' || classify::mentions_prepare(text);
        }
        span
    }

    /// A text that doesn't go on yet: the client is owed an error, or it could notice what is put off.
    fn held_text(
        &mut self,
        header: Header,
        is_query: bool,
        (text, class): (&[u8], Class),
        classified: &Classified,
    ) -> Option<Span> {
        let by = if is_query { By::Query } else { By::Other };
        let is_plain = matches!(classified, Classified::Plain { .. });
        if self.owed_error.is_some() && !self.pass_next {
            let ends = class == Class::Transaction && !is_commit(text, self.lexical.mode);
            if ends && is_query {
                self.owed_error = None;
            }
            if !ends {
                return Some(self.hold(header, by, Some(plain_text(text, class))));
            }
        }
        (is_plain && self.puts_off()).then(|| self.hold(header, by, Some(plain_text(text, class))))
    }

    /// A text goes on, or is a schema change.
    fn classified_text(
        &mut self,
        header: Header,
        input: &[u8],
        (name, text): (Option<&[u8]>, &[u8]),
        classified: Classified,
        tools: &Tools<'_>,
    ) -> Span {
        let class = classified.class();
        let span = match (name, classified) {
            (None, Classified::Plain { .. }) => self.forward(header, input),
            (None, Classified::Interesting(text)) => self.query(header, input, text, tools),
            (Some(name), classified) => {
                let span = self.forward(header, input);
                self.parsed(name, text, classified);
                span
            }
        };
        let goes_on = matches!(span, Span::Forward(_));
        if goes_on && name.is_none() && self.transaction.follows_savepoints() {
            self.note_control(text, class);
        }
        span
    }

    /// A text goes on that may begin or end a part of the transaction.
    fn note_control(&mut self, text: &[u8], class: Class) -> Option<Control> {
        if class != Class::Transaction {
            return None;
        }
        match kind(&String::from_utf8_lossy(text), self.lexical.mode) {
            Kind::Control(control) => {
                self.transaction.sent(&control);
                Some(control)
            }
            Kind::Ordinary(_) | Kind::Setting(_) | Kind::Other => None,
        }
    }

    /// What a text says of `lockkeeper.mode`.
    fn mode_changes(&self, text: &[u8], class: Class) -> Vec<ModeChange> {
        let is_about_it =
            class >= Class::Settings && (self.mode.touched || comment::mentions_lockkeeper(text));
        if is_about_it {
            comment::mode_changes(&String::from_utf8_lossy(text), self.lexical.mode)
        } else {
            Vec::new()
        }
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
        let body = input.get(HEADER_BYTES..).unwrap_or_default();
        // In front of a Parse's text stands the statement's name, which is no SQL.
        let name = match (header.tag, memchr::memchr(0, body)) {
            (b'P', None) if body.len() < MAX_NAMES_BYTES => return Span::NeedMore,
            (b'P', Some(end)) => body.get(..end),
            _ => None,
        };
        let mut long = LongText::new((!self.uncertain).then_some(self.lexical));
        long.feed(
            body.get(name.map_or(0, |name| name.len() + 1)..)
                .unwrap_or_default(),
        );
        let span = self.forward(header, input);
        if let Some(name) = name {
            self.names.parsed(name, None, self.pipeline.extended_sent());
        }
        self.uncertain = true; // a SET may be in it
        self.fickle |= header.tag == b'P';
        self.long = Some(Box::new(long));
        if self.rest == 0 {
            self.long_text_ended();
        }
        span
    }

    fn long_text_ended(&mut self) {
        if let Some(text) = self.long.take().and_then(|long| long.finish()) {
            self.report(text, TOO_LONG, 0);
        }
    }

    /// A Query that holds a schema change, or an EXECUTE of one.
    fn query(&mut self, header: Header, input: &[u8], text: Arc<Text>, tools: &Tools<'_>) -> Span {
        let Some(runs) = self.resolve(&text) else {
            if self.puts_off() {
                return self.hold(header, By::Query, Some(text));
            }
            return self.go_on_with(header, input, &text);
        };
        let because = match () {
            () if self.pass_next => self.report_because.take(),
            () if !self.mode.is_settled() => return Span::Wait,
            () if tools.guarding == Guarding::Nothing => None,
            () if tools.guarding != Guarding::Stop => tools.guarding.reason(),
            () if self.pipeline.batch().messages > 0 || self.pipeline.is_copying_in() => {
                Some("in a pipeline")
            }
            () if !self.pipeline.is_idle() => return Span::Wait,
            () if self.uncertain => {
                self.uncertain = false; // everything is answered: the settings are known again
                return Span::Wait;
            }
            () if self.pipeline.status() == TransactionStatus::Failed => Some(IN_TRANSACTION),
            () if self.pipeline.status() == TransactionStatus::InTransaction
                && runs.text.exact
                && runs.prepared.is_none() =>
            {
                return self.hold(header, By::Query, Some(runs.text));
            }
            () if self.pipeline.status() != TransactionStatus::Idle => Some(IN_TRANSACTION),
            () if runs.text.statements.len() > 1
                && !(runs.may_hurt() && runs.text.is_one_transaction()) =>
            {
                Some("several statements in one query")
            }
            () if !runs.may_hurt() => Some(LOCKS_NOTHING),
            () => {
                return Span::Stop(Intercept {
                    by: By::Query,
                    frame_bytes: header.frame_bytes(),
                    text: runs.text,
                    prepared: runs.prepared,
                    in_transaction: false,
                });
            }
        };
        if self.puts_off() {
            self.report_because = because;
            return self.hold(header, By::Other, None);
        }
        match because {
            Some(because) => {
                if let Some(why) = (tools.must_refuse)() {
                    return Span::Refuse(why);
                }
                self.report(runs.text, because, 0);
            }
            None => self.announce(&runs.text),
        }
        self.go_on_with(header, input, &text)
    }

    /// A text with names in it goes on.
    fn go_on_with(&mut self, header: Header, input: &[u8], text: &Text) -> Span {
        let span = self.forward(header, input);
        self.names.follow(text);
        let executes = |parsed: &Parsed| matches!(parsed.statement, Statement::Execute { .. });
        self.uncertain |= self.fickle && text.statements.iter().any(executes);
        span
    }

    /// A Bind, Execute or Close, while there are statements or portals of schema changes.
    fn named(&mut self, header: Header, input: &[u8], tools: &Tools<'_>) -> Span {
        let available = input
            .get(HEADER_BYTES..header.frame_bytes().min(input.len()))
            .unwrap_or_default();
        let is_whole = input.len() >= header.frame_bytes();
        let is_enough = is_whole || available.len() >= MAX_NAMES_BYTES;
        match header.tag {
            b'B' => match frontend::bind_names(available) {
                Some((portal, statement)) => {
                    self.names
                        .bound(portal, statement, self.pipeline.syncs_sent());
                    self.forward(header, input)
                }
                None if !is_enough => Span::NeedMore,
                None => self.forward(header, input),
            },
            _ if !is_enough => Span::NeedMore,
            b'C' => {
                let span = self.forward(header, input);
                match frontend::close_target(available) {
                    Some((b'S', name)) => {
                        self.names
                            .closed_statement(name, self.pipeline.extended_sent());
                    }
                    Some((_, name)) => self.names.closed_portal(name),
                    None => {}
                }
                span
            }
            _ => {
                let portal = frontend::execute_portal(available);
                match portal.and_then(|portal| self.names.portal(portal)) {
                    Some(text) if text.class != Class::Ddl && self.puts_off() => {
                        self.hold(header, By::Execute, Some(text))
                    }
                    Some(text) => {
                        let span = self.execute(header, input, &text, tools);
                        if matches!(span, Span::Forward(_)) {
                            let control = self.note_control(text.text.as_bytes(), text.class);
                            self.begins += u32::from(control == Some(Control::Begin));
                        }
                        span
                    }
                    None if self.puts_off() => self.hold(header, By::Other, None),
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
        text: &Arc<Text>,
        tools: &Tools<'_>,
    ) -> Span {
        if self.pipeline.is_skipping() {
            return self.forward(header, input); // thrown away by the server
        }
        let Some(runs) = self.resolve(text) else {
            return self.go_on_with(header, input, text);
        };
        let because = match () {
            () if self.pass_next => self.report_because.take(),
            () if !self.mode.is_settled() => return Span::Wait,
            () if tools.guarding == Guarding::Nothing => None,
            () if tools.guarding != Guarding::Stop => tools.guarding.reason(),
            () if self.pipeline.batch().executes > self.begins => Some("in a pipeline"),
            () if !runs.may_hurt() && self.transaction.is_empty() => Some(LOCKS_NOTHING),
            () if !self.pipeline.is_synced() => return Span::Wait,
            () if self.pipeline.status() == TransactionStatus::Failed => Some(IN_TRANSACTION),
            () if self.pipeline.status() == TransactionStatus::InTransaction
                && !(runs.text.exact && runs.prepared.is_none()) =>
            {
                Some(IN_TRANSACTION)
            }
            () if runs.text.statements.len() > 1 => Some("several statements in one query"),
            () => match ends_with_sync(input.get(header.frame_bytes()..).unwrap_or_default()) {
                None => return Span::NeedMore,
                Some(false) => Some("in a pipeline"),
                Some(true) => {
                    let in_block = self.pipeline.status() == TransactionStatus::InTransaction;
                    return Span::Stop(Intercept {
                        by: By::Execute,
                        frame_bytes: header.frame_bytes(),
                        text: runs.text,
                        prepared: runs.prepared,
                        in_transaction: in_block || self.begins > 0,
                    });
                }
            },
        };
        if self.puts_off() {
            self.report_because = because;
            return self.hold(header, By::Other, None);
        }
        match because {
            Some(because) => {
                if let Some(why) = (tools.must_refuse)() {
                    return Span::Refuse(why);
                }
                let before = u64::from(self.pipeline.batch().executes);
                self.report(runs.text, because, before);
            }
            None => self.announce(&runs.text),
        }
        self.go_on_with(header, input, text)
    }

    /// A Parse was sent: remembers a schema change by its name, forgets the name's former one.
    fn parsed(&mut self, name: &[u8], text: &[u8], classified: Classified) {
        let text = match classified {
            // What ends a transaction may be prepared once and run often.
            Classified::Plain { class, .. }
                if class == Class::Transaction || !self.transaction.is_empty() =>
            {
                let text = plain_text(text, class);
                self.names.has_room_for(&text).then_some(text)
            }
            Classified::Interesting(text) if self.names.has_room_for(&text) => Some(text),
            Classified::Interesting(text) => {
                self.announce(&text);
                let followed = fates::schema_changes(&text).map(|at| (at, None)).collect();
                self.passed.push(Passed {
                    text,
                    because: "too many prepared schema changes",
                    followed,
                });
                None
            }
            Classified::Plain { .. } => None,
        };
        self.names.parsed(name, text, self.pipeline.extended_sent());
    }

    /// The schema change that a text runs: itself, or what it EXECUTEs. `None` when it runs none.
    fn resolve(&self, text: &Arc<Text>) -> Option<Runs> {
        if text.class == Class::Ddl {
            return Some(Runs {
                text: Arc::clone(text),
                prepared: None,
            });
        }
        let (name, explained, executed) =
            text.statements
                .iter()
                .find_map(|parsed| match &parsed.statement {
                    Statement::Execute { name, explained } => {
                        Some((name, *explained, self.names.statement(name.as_bytes())?))
                    }
                    _ => None,
                })?;
        let may_hurt = executed
            .statements
            .iter()
            .any(|parsed| parsed.statement.may_hurt());
        if explained && may_hurt {
            return None; // EXPLAIN ANALYZE runs no utility statement: the server refuses it
        }
        if text.statements.len() == 1 {
            return Some(Runs {
                text: Arc::clone(executed),
                prepared: Some(name.clone()),
            });
        }
        // One of several: what it runs is only recorded.
        let mut statements = executed.statements.clone();
        statements.extend(text.statements.iter().cloned());
        let text = Text {
            class: Class::Ddl,
            statements,
            ..Text::clone(executed)
        };
        Some(Runs {
            text: Arc::new(text),
            prepared: None,
        })
    }

    /// A schema change is about to go on, behind so many commands of its batch.
    fn report(&mut self, text: Arc<Text>, because: &'static str, before: u64) {
        self.announce(&text);
        let is_alone = [LOCKS_NOTHING, TOO_LONG, REPLICATION].contains(&because)
            && self.pipeline.status() == TransactionStatus::Idle
            && text.statements.len() == 1;
        // A long one has gone on by now.
        let round = self.pipeline.rounds_sent() + u64::from(because != TOO_LONG);
        let changes: Vec<usize> = fates::schema_changes(&text).collect();
        let follow = |at: usize| {
            let command = before + u64::try_from(at).unwrap_or(u64::MAX);
            let statement = text.statements.get(at).map(|one| &one.statement);
            let stands = match statement {
                Some(statement) if statement.commits_by_itself() => Stands::ByItself,
                _ if is_alone => Stands::Alone,
                _ => Stands::WithOthers,
            };
            (at, self.fates.sent(Position { round, command }, stands))
        };
        let followed = changes.into_iter().map(follow).collect();
        self.passed.push(Passed {
            text,
            because,
            followed,
        });
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
        self.fates.received(tag, body, self.pipeline.status());
        if tag == b'Z' {
            self.fates.begins_at(self.pipeline.rounds_answered());
        }
        self.mode.received(tag, body, &self.pipeline);
        self.names.settled(self.pipeline.extended_settled(), tag);
        match tag {
            b'Z' => {
                if self.pipeline.is_idle() {
                    self.announced = 0;
                    self.names.all_answered();
                    self.uncertain = false;
                }
                if self.pipeline.status() == TransactionStatus::Idle {
                    self.owed_error = None;
                    self.transaction.ended();
                    self.names.transaction_ended(self.pipeline.syncs_answered());
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
                b"COMMIT" => self.transaction.ended(), // another one may have begun
                b"DEALLOCATE" => self.names.deallocated(),
                b"DEALLOCATE ALL" | b"DISCARD ALL" => self.names.forget_statements(),
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
