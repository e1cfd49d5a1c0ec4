//! What must hold for any bytes. Each function takes whatever a fuzzer thinks of and panics where something doesn't
//! hold; `targets/` gives them to libFuzzer, `tests/fuzz_corpus.rs` runs them over the kept inputs.

use lockkeeper::metrics::Metrics;
use lockkeeper::proxy::inspect::{Guarding, Inspector, Passed, Span, Tools};
use lockkeeper::proxy::walker::ServerWalker;
use lockkeeper::sql::cache::ClassCache;
use lockkeeper::sql::classify::{self, Class, Classified, LexicalSettings};
use lockkeeper::sql::encoding::{self, ClientEncoding};
use lockkeeper::sql::lexer::{self, Lexer, LexicalMode, StatementScanner, Token, TokenKind};
use lockkeeper::wire::backend::{self, ErrorFields};
use lockkeeper::wire::frame::{HEADER_BYTES, Header, whole_body};
use lockkeeper::wire::{frontend, startup as wire_startup};
use pg_query::NodeEnum;

/// Start-up packets: any eight bytes have a kind or are refused; a cancel request is read as what it was made of.
pub(crate) fn startup(data: &[u8]) {
    let Some((prefix, rest)) = data.split_first_chunk() else {
        return;
    };
    match wire_startup::kind(*prefix) {
        Ok(wire_startup::StartupKind::Startup { rest }) => {
            assert!(rest + wire_startup::PREFIX_BYTES <= wire_startup::MAX_STARTUP_BYTES);
        }
        Ok(wire_startup::StartupKind::Cancel { rest }) => {
            assert!(rest <= 4 + wire_startup::MAX_CANCEL_KEY_BYTES);
        }
        Ok(_) | Err(_) => {}
    }
    let read = wire_startup::parameters(rest);
    assert!(!read.database.is_empty() || read.user.is_empty());
    if (5..=260).contains(&rest.len()) {
        let packet = wire_startup::cancel_request(rest);
        let kind = wire_startup::kind(*packet.first_chunk().unwrap());
        let expected = wire_startup::StartupKind::Cancel { rest: rest.len() };
        assert_eq!(kind, Ok(expected));
    }
}

/// Follows a client, as a session does.
struct Follower {
    inspector: Inspector,
    cache: ClassCache,
    metrics: Metrics,
    guarding: Guarding,
    max_text: usize,
    /// Not yet used.
    input: Vec<u8>,
    /// What went on to the server.
    output: Vec<u8>,
    waiting: bool,
    failed: bool,
    stops: u32,
    passed: Vec<Passed>,
}

impl Follower {
    fn new(guarding: Guarding, max_text: usize) -> Follower {
        Follower {
            inspector: Inspector::default(),
            cache: ClassCache::new(1 << 20),
            metrics: Metrics::new(),
            guarding,
            max_text,
            input: Vec::new(),
            output: Vec::new(),
            waiting: false,
            failed: false,
            stops: 0,
            passed: Vec::new(),
        }
    }

    fn client_sends(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.go_on();
    }

    fn server_sends(&mut self, tag: u8, body: &[u8]) {
        self.inspector.received(tag, body, &self.metrics);
        self.go_on();
    }

    fn go_on(&mut self) {
        for round in 0.. {
            assert!(round < 100_000, "no progress");
            self.waiting &= !self.inspector.pipeline.is_synced();
            if self.failed || self.waiting {
                return;
            }
            let mut tools = Tools {
                cache: &mut self.cache,
                metrics: &self.metrics,
                max_text: self.max_text,
                guarding: self.guarding,
                must_refuse: &|| None,
            };
            let span = self.inspector.next(&self.input, &mut tools);
            self.passed.append(&mut self.inspector.passed);
            match span {
                Ok(Span::Forward(count)) => {
                    assert!(count > 0 && count <= self.input.len());
                    self.output.extend(self.input.drain(..count));
                }
                Ok(Span::Drop(count)) => panic!("{count} bytes thrown away"),
                Ok(Span::Refuse(why)) => panic!("refused: {why}"),
                Ok(Span::NeedMore) => return,
                Ok(Span::Wait) => {
                    assert_eq!(self.guarding, Guarding::Stop);
                    self.waiting = true;
                }
                Ok(Span::Classify(job)) => self.inspector.supply(job.run()),
                Ok(Span::Stop(intercept)) => {
                    assert_eq!(self.guarding, Guarding::Stop);
                    assert!(intercept.frame_bytes <= self.input.len());
                    self.stops += 1;
                    self.inspector.pass_next();
                }
                Err(_) => self.failed = true,
            }
        }
    }
}

/// A frame with the length that it should have.
fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

/// One step of a session: its kind, a length and so many bytes at the front of `data`.
fn step<'a>(data: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let ([kind, length], rest) = data.split_first_chunk()?;
    let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
    *data = rest;
    Some((*kind, payload))
}

/// A session: what a client sends goes on byte for byte, and what is made of it is the same however it is cut.
///
/// Three bytes of settings, then steps: raw bytes of the client's, messages of the client's and of the server's.
pub(crate) fn client(data: &[u8]) {
    let Some(([guarding, long, pieces], mut rest)) = data.split_first_chunk() else {
        return;
    };
    let guarding = match guarding % 3 {
        0 => Guarding::Nothing,
        1 => Guarding::Report("a test"),
        _ => Guarding::Stop,
    };
    let max_text = if long % 2 == 0 { 8 << 20 } else { 64 };
    let piece = 1 + usize::from(pieces % 16);
    let mut whole = Follower::new(guarding, max_text);
    let mut cut = Follower::new(guarding, max_text);
    let mut sent = Vec::new();
    while let Some((kind, payload)) = step(&mut rest) {
        let bytes = match (kind % 3, payload.split_first()) {
            (0, _) => payload.to_vec(),
            (1, Some((tag, body))) => frame(*tag, body),
            (2, Some((tag, body))) => {
                whole.server_sends(*tag, body);
                cut.server_sends(*tag, body);
                continue;
            }
            _ => continue,
        };
        whole.client_sends(&bytes);
        bytes
            .chunks(piece)
            .for_each(|piece| cut.client_sends(piece));
        sent.extend_from_slice(&bytes);
        assert!(
            [&whole.output[..], &whole.input].concat() == sent,
            "not what was sent"
        );
    }
    assert!(cut.output == whole.output && cut.input == whole.input);
    assert_eq!((cut.waiting, cut.failed), (whole.waiting, whole.failed));
    assert_eq!((cut.stops, &cut.passed), (whole.stops, &whole.passed));
    let state = |follower: &Follower| {
        let Inspector {
            pipeline,
            lexical,
            terminated,
            ..
        } = &follower.inspector;
        format!("{pipeline:?} {lexical:?} {terminated}")
    };
    assert_eq!(state(&cut), state(&whole));
}

/// A server's stream: what is made of it is the same however it is cut. A byte of pieces, one of what was sent before.
pub(crate) fn server(data: &[u8]) {
    let Some(([pieces, before], rest)) = data.split_first_chunk() else {
        return;
    };
    let metrics = Metrics::new();
    let follow = |piece: usize| {
        let (mut walker, mut inspector) = (ServerWalker::default(), Inspector::default());
        for bit in 0..4 {
            match (before >> (2 * bit)) % 4 {
                0 => {}
                1 => inspector.pipeline.sent_query(),
                2 => inspector.pipeline.sent_extended(true),
                _ => inspector.pipeline.sent_sync(),
            }
        }
        let failed = rest
            .chunks(piece)
            .any(|piece| walker.walk(piece, &mut inspector, &metrics).is_err());
        let Inspector {
            pipeline, lexical, ..
        } = inspector;
        // Past a bad frame nothing is followed.
        let state = if failed {
            String::new()
        } else {
            format!("{walker:?}")
        };
        (failed, state, format!("{pipeline:?} {lexical:?}"))
    };
    let whole = follow(rest.len().max(1));
    assert_eq!(follow(1 + usize::from(pieces % 16)), whole);
    assert_eq!(follow(1), whole);
}

/// Bodies of messages, of both sides.
pub(crate) fn bodies(data: &[u8]) {
    if let Ok(Some(header)) = Header::parse(data) {
        assert_eq!(header.frame_bytes(), header.body_bytes() + HEADER_BYTES);
        if let Some(body) = whole_body(data, header) {
            assert_eq!(frame(header.tag, body), data[..header.frame_bytes()]);
        }
    }
    if let Some(text) = frontend::query_text(data) {
        assert_eq!([text, b"\0"].concat(), data);
    }
    if let Some(parse) = frontend::parse_body(data) {
        let front = [parse.name, b"\0", parse.text, b"\0"].concat();
        assert!(data.starts_with(&front));
    }
    if let Some((portal, statement)) = frontend::bind_names(data) {
        assert!(data.starts_with(&[portal, b"\0", statement, b"\0"].concat()));
    }
    if let Some(portal) = frontend::execute_portal(data) {
        assert_eq!(portal.len() + 5, data.len());
    }
    if let Some((kind, name)) = frontend::close_target(data) {
        assert!(data.starts_with(&[&[kind], name, b"\0"].concat()));
    }
    if let Some((name, value)) = backend::parameter_status(data) {
        assert!(data.starts_with(&[name, b"\0", value, b"\0"].concat()));
    }
    assert!(data.starts_with(backend::command_tag(data)));
    let _ = backend::is_ddl_tag(data);
    if let Some(columns) = backend::data_row(data) {
        assert_eq!(
            data[..2],
            u16::try_from(columns.len()).unwrap().to_be_bytes()
        );
    }
    let fields = ErrorFields::parse(data);
    assert!(fields.others.len() <= data.len());
    if let Some(filtered) = backend::without_channel_binding(&frame(b'R', data)) {
        let header = Header::parse(&filtered).unwrap().unwrap();
        assert_eq!(header.frame_bytes(), filtered.len());
        assert!(filtered.len() < data.len() + HEADER_BYTES);
    }
}

/// A byte of settings, one of pieces: tokens lie in the text one behind the other, and are the same however it is cut.
pub(crate) fn lexer(data: &[u8]) {
    let Some(([settings, pieces], text)) = data.split_first_chunk() else {
        return;
    };
    let mode = LexicalMode {
        standard_conforming_strings: settings % 2 == 0,
    };
    let tokens = |piece: usize| {
        let mut tokens: Vec<Token> = Vec::new();
        let (mut lexer, mut scanner) = (Lexer::new(mode), StatementScanner::new(mode));
        for piece in text.chunks(piece) {
            lexer.feed(piece, &mut |token| tokens.push(token));
            scanner.feed(piece);
        }
        lexer.finish(&mut |token| tokens.push(token));
        (tokens, scanner.finish())
    };
    let (whole, summary) = tokens(text.len().max(1));
    assert_eq!(
        tokens(1 + usize::from(pieces % 16)),
        (whole.clone(), summary)
    );
    let mut end = 0;
    for token in &whole {
        assert!(end <= token.start && token.start < token.end, "{token:?}");
        end = token.end;
    }
    assert!(usize::try_from(end).unwrap() <= text.len());
    let is_there = whole.iter().any(|token| token.kind != TokenKind::Semicolon);
    assert_eq!(lexer::has_statement(text, mode), is_there);
    let starts = lexer::statement_starts(text, mode);
    assert_eq!(starts.is_empty(), !is_there);
    for start in &starts {
        assert!(start.offset < start.end && start.end <= text.len());
    }
    if let Some(at) = lexer::find_word(text, mode, "on") {
        assert!(text[at..][..2].eq_ignore_ascii_case(b"on"));
    }
}

/// A message's text ends with a NUL, so it holds none.
fn up_to_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Whether the server's parser sees a schema change in a text, of the kinds that matter most; `None` when it can't
/// read it. Strings must be standard.
fn parser_sees_ddl(text: &str) -> Option<bool> {
    let parsed = pg_query::parse(text, pg_query::ParserOptions::DEFAULT).ok()?;
    let statements = parsed.protobuf.stmts.iter();
    let mut nodes = statements.filter_map(|raw| raw.stmt.as_deref()?.node.as_ref());
    Some(nodes.any(is_schema_change))
}

fn is_schema_change(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::SelectStmt(select) => select.into_clause.is_some(),
        NodeEnum::IndexStmt(_)
        | NodeEnum::CreateStmt(_)
        | NodeEnum::CreateTableAsStmt(_)
        | NodeEnum::AlterTableStmt(_)
        | NodeEnum::AlterObjectSchemaStmt(_)
        | NodeEnum::AlterOwnerStmt(_)
        | NodeEnum::AlterEnumStmt(_)
        | NodeEnum::AlterDomainStmt(_)
        | NodeEnum::RenameStmt(_)
        | NodeEnum::DropStmt(_)
        | NodeEnum::TruncateStmt(_)
        | NodeEnum::ReindexStmt(_)
        | NodeEnum::ClusterStmt(_)
        | NodeEnum::RefreshMatViewStmt(_)
        | NodeEnum::ViewStmt(_)
        | NodeEnum::CreateTrigStmt(_)
        | NodeEnum::CreateSeqStmt(_)
        | NodeEnum::AlterSeqStmt(_)
        | NodeEnum::CreateFunctionStmt(_)
        | NodeEnum::CreateSchemaStmt(_)
        | NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CreatePolicyStmt(_)
        | NodeEnum::CreateForeignTableStmt(_)
        | NodeEnum::RuleStmt(_)
        | NodeEnum::GrantStmt(_)
        | NodeEnum::CommentStmt(_) => true,
        _ => false,
    }
}

/// A byte of settings and a text: it has a class, also when the settings aren't known; and where PostgreSQL's parser
/// sees a schema change, it is one.
pub(crate) fn classify(data: &[u8]) {
    let Some((settings, text)) = data.split_first() else {
        return;
    };
    let text = up_to_nul(text);
    let all: Vec<LexicalSettings> = LexicalSettings::all().collect();
    let classified = classify::classify(text, all[usize::from(*settings) % all.len()]);
    if let Classified::Interesting(found) = &classified {
        for parsed in &found.statements {
            assert!(parsed.span.end <= found.text.len());
            let _ = found.source(parsed);
        }
    }
    let in_any = classify::classify_in_any_settings(text);
    if classified.class() == Class::Ddl {
        assert_eq!(
            in_any.class(),
            Class::Ddl,
            "in no settings: {}",
            text.escape_ascii()
        );
    }
    let standard = classify::classify(text, LexicalSettings::default());
    if let Some(glanced) = classify::glance(text, LexicalSettings::default()) {
        assert_ne!(glanced.class(), Class::Ddl);
    }
    if let Ok(text) = std::str::from_utf8(text)
        && parser_sees_ddl(text) == Some(true)
    {
        assert_eq!(standard.class(), Class::Ddl, "{text}");
        assert!(matches!(standard, Classified::Interesting(_)), "{text}");
    }
}

/// A byte that names an encoding, and a text in it.
pub(crate) fn encoding(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    let text = up_to_nul(text);
    let encoding = ClientEncoding::ALL[usize::from(*kind) % ClientEncoding::ALL.len()];
    let lexable = encoding::to_lexable(text, encoding);
    if text.is_ascii() {
        assert_eq!(lexable.as_bytes(), text);
    }
    if encoding::is_ascii_or_utf8(text, encoding) {
        assert_eq!(lexable.as_bytes(), text, "{encoding:?}");
    }
    if encoding == ClientEncoding::SingleByteSafe {
        assert_eq!(lexable.chars().count(), text.len());
    }
    // No ASCII byte comes from nowhere.
    let count = |bytes: &[u8]| bytes.iter().filter(|byte| byte.is_ascii()).count();
    assert!(count(lexable.as_bytes()) <= count(text));
    let _ = ClientEncoding::from_name(&String::from_utf8_lossy(text));
}
