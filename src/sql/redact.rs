//! SQL texts as they may be recorded and shown: [`redacted`] puts `'***'` in the place of secrets.
//!
//! When in doubt it hides: a value behind a word that sounds like a secret, an option that isn't known to be
//! harmless, everything from where the text can be read in two ways or ends within a literal.

mod constant;
mod suspicion;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::lexer::{Lexer, LexicalMode, Token, TokenKind};

use self::constant::{dollar_body, meanings};
use self::suspicion::{
    is_harmless_option, is_one_word, is_secret_command, is_suspicious, mentions_secret,
};

pub use self::suspicion::shows_credentials;

/// What stands in the place of a secret.
pub const REDACTED: &str = "'***'";

/// Bodies within bodies are read so deep; deeper ones are hidden.
const MOST_DEPTH: u32 = 3;

/// A text without the secrets in it, as far as they can be known from their places: behind words such as
/// `PASSWORD`, in OPTIONS, in connection strings and URLs, in settings, in the bodies of routines. With
/// `holds_secret`, no string constant, no setting's value and no comment is left. Comments are left out
/// too where anything is hidden: they may repeat it. Memory and time grow with the text; it need not be
/// valid SQL.
pub fn redacted(text: &str, holds_secret: bool) -> Cow<'_, str> {
    let (shown, _) = redacted_at(text, holds_secret, 0);
    if shown == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(shown)
    }
}

/// Whether [`redacted`] finds anything to hide in it, but comments that speak of secrets and show none.
pub fn has_secret(text: &str) -> bool {
    redacted_at(text, false, 0).1
}

fn redacted_at(text: &str, holds_secret: bool, depth: u32) -> (String, bool) {
    let read = Read::of(text);
    let holds_secret = holds_secret || is_secret_command(&read.tokens);
    let shown = Walk::new(text, holds_secret, depth).over(&read);
    match shown {
        shown @ (_, false) => shown,
        (_, true) => {
            let mut walk = Walk::new(text, holds_secret, depth);
            walk.drops_comments = true;
            (walk.over(&read).0, true)
        }
    }
}

/// A text's tokens, as far as there is only one way to read it.
struct Read {
    tokens: Vec<Token>,
    /// From there on it can be read in two ways, or it ends within something.
    unsure: Option<usize>,
}

impl Read {
    fn of(text: &str) -> Read {
        let (mut tokens, is_within) = tokens_of(text, true);
        let mut unsure = None;
        if text.contains('\\') {
            let (others, is_other_within) = tokens_of(text, false);
            let same = tokens
                .iter()
                .zip(&others)
                .take_while(|(one, two)| one == two);
            let same = same.count();
            let starts = [tokens.get(same), others.get(same)];
            let first = starts.into_iter().flatten().map(start).min();
            let open = (is_within || is_other_within).then_some(text.len());
            unsure = first.or(open);
            tokens.truncate(same);
        }
        if is_within {
            let last = tokens.last().filter(|last| end(last) == text.len());
            let behind = tokens.last().map_or(0, end);
            let from = last.map_or(behind, start);
            unsure = Some(unsure.map_or(from, |other: usize| other.min(from)));
        }
        if let Some(unsure) = unsure {
            tokens.retain(|token| start(token) < unsure);
        }
        Read { tokens, unsure }
    }
}

fn tokens_of(text: &str, standard_conforming_strings: bool) -> (Vec<Token>, bool) {
    let mut tokens = Vec::new();
    let mut lexer = Lexer::new(LexicalMode {
        standard_conforming_strings,
    });
    lexer.feed(text.as_bytes(), &mut |token| tokens.push(token));
    let is_within = lexer.is_within();
    lexer.finish(&mut |token| tokens.push(token));
    (tokens, is_within)
}

fn start(token: &Token) -> usize {
    usize::try_from(token.start).unwrap_or(usize::MAX)
}

fn end(token: &Token) -> usize {
    usize::try_from(token.end).unwrap_or(usize::MAX)
}

fn slice<'a>(text: &'a str, token: &Token) -> &'a str {
    text.get(start(token)..end(token)).unwrap_or_default()
}

/// How far a `SET name =` is read.
#[derive(Clone, Copy, Default)]
enum Setting {
    #[default]
    None,
    Name {
        parts: u32,
        /// The last token is a dot.
        goes_on: bool,
        is_secret: bool,
        is_own: bool,
    },
}

/// What is known of a statement so far.
#[derive(Clone, Copy, Default)]
struct Statement {
    /// Behind a word that sounds like a secret, with so many brackets open around it.
    clause: Option<u32>,
    /// A constant has spoken of a secret: it may be in any other.
    is_tainted: bool,
    /// DO or CREATE of a routine: its constants are bodies.
    is_routine: bool,
    /// OPTIONS, and the brackets open around its list once that has begun.
    options: Option<Option<u32>>,
    /// The option's name is harmless.
    is_harmless: bool,
    setting: Setting,
    /// The last token gives a value to what stands before it.
    assigns: bool,
    /// The rest of it is hidden.
    is_over: bool,
    /// It begins with CREATE.
    creates: bool,
    /// UPDATE was seen: SET gives values to columns.
    updates: bool,
}

struct Walk<'a> {
    text: &'a str,
    shown: String,
    holds_secret: bool,
    drops_comments: bool,
    depth: u32,
    hides: bool,
    statement: Statement,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, holds_secret: bool, depth: u32) -> Walk<'a> {
        Walk {
            text,
            shown: String::with_capacity(text.len()),
            holds_secret,
            drops_comments: holds_secret,
            depth,
            hides: false,
            statement: Statement::default(),
        }
    }

    /// The text, and whether anything in it is hidden.
    fn over(mut self, read: &Read) -> (String, bool) {
        let mut at = 0;
        for token in &read.tokens {
            if token.kind == TokenKind::Semicolon || token.index == 0 {
                self.statement = Statement {
                    is_routine: self.depth > 0,
                    ..Statement::default()
                };
            }
            if !self.statement.is_over {
                self.gap(self.text.get(at..start(token)).unwrap_or_default());
                self.token(token);
            }
            at = end(token);
        }
        match read.unsure {
            Some(unsure) => {
                if !self.statement.is_over {
                    self.gap(self.text.get(at..unsure).unwrap_or_default());
                    self.hide();
                }
            }
            None => self.gap(self.text.get(at..).unwrap_or_default()),
        }
        (self.shown, self.hides)
    }

    /// White space and comments.
    fn gap(&mut self, gap: &str) {
        if gap.trim().is_empty() {
            self.shown.push_str(gap);
        } else if self.drops_comments {
            self.shown.push(' ');
        } else if is_suspicious(gap) {
            self.hides |= shows_credentials(gap);
            self.shown.push(' ');
        } else {
            self.shown.push_str(gap);
        }
    }

    fn hide(&mut self) {
        self.hides = true;
        self.shown.push_str(REDACTED);
    }

    fn token(&mut self, token: &Token) {
        let source = slice(self.text, token);
        let is_hidden = match token.kind {
            TokenKind::Word(_) => {
                self.word(token, source);
                false
            }
            TokenKind::QuotedIdentifier => {
                let is_value = self.statement.clause.is_some() && self.statement.assigns;
                self.name(token, source);
                is_value
            }
            TokenKind::String => self.hides_constant(source, meanings(source)),
            TokenKind::DollarString => {
                let (tag, body) = dollar_body(source);
                let bodies = vec![body.to_owned()];
                if !self.statement.is_routine {
                    self.hides_constant(source, bodies)
                } else if self.is_hiding_all() || self.depth >= MOST_DEPTH {
                    true
                } else {
                    return self.body(tag, body);
                }
            }
            TokenKind::Number => self.statement.clause.is_some() && self.statement.assigns,
            TokenKind::Parameter | TokenKind::Semicolon => false,
            TokenKind::Operator => {
                self.ends_name(source == "=");
                self.statement.assigns = matches!(source, "=" | "=>" | ":=");
                self.shown.push_str(source);
                return self.end_setting();
            }
            TokenKind::Punctuation(byte) => {
                self.punctuation(byte, token.depth);
                false
            }
        };
        let is_to =
            matches!(&token.kind, TokenKind::Word(word) if word.is_any(&["to", "password"]));
        self.statement.assigns = is_to;
        if is_hidden {
            self.hide();
        } else {
            self.shown.push_str(source);
        }
        self.end_setting();
    }

    /// The rest of a statement behind `SET name =` is hidden.
    fn end_setting(&mut self) {
        if self.statement.is_over {
            self.shown.push(' ');
            self.hide();
        }
    }

    /// Behind the name of a setting: whether its value comes now.
    fn ends_name(&mut self, is_assignment: bool) {
        if let Setting::Name {
            parts,
            is_secret,
            is_own,
            ..
        } = self.statement.setting
        {
            let is_custom = parts > 1 || self.holds_secret;
            let hides = is_secret || (is_custom && !is_own);
            self.statement.is_over = is_assignment && parts > 0 && hides;
            self.statement.setting = Setting::None;
        }
    }

    fn word(&mut self, token: &Token, source: &str) {
        let TokenKind::Word(word) = &token.kind else {
            return;
        };
        if token.index == 0 {
            self.statement.is_routine |= word.is("do");
            self.statement.creates = word.is("create");
        }
        if token.index < 4 && self.statement.creates && word.is_any(&["function", "procedure"]) {
            self.statement.is_routine = true;
        }
        match self.statement.setting {
            Setting::Name { parts: 0, .. } if word.is_any(&["session", "local"]) => return,
            Setting::Name { .. } if word.is("to") => self.ends_name(true),
            Setting::Name { .. } | Setting::None => {}
        }
        if word.is("update") && matches!(self.statement.setting, Setting::None) {
            self.statement.updates = true;
        }
        if word.is("set") && !self.statement.updates {
            self.statement.setting = Setting::Name {
                parts: 0,
                goes_on: true,
                is_secret: false,
                is_own: false,
            };
        }
        if word.is("options") && self.statement.options.is_none() {
            self.statement.options = Some(None);
        }
        if !word.is("set") {
            self.name(token, source);
        }
    }

    /// A word or a quoted identifier.
    fn name(&mut self, token: &Token, source: &str) {
        self.statement.is_harmless = is_harmless_option(source);
        let sounds_secret = mentions_secret(source)
            || source.eq_ignore_ascii_case("connection")
            || (source.starts_with(['U', 'u']) && source.ends_with('"'));
        if sounds_secret {
            let clause = self.statement.clause.unwrap_or(token.depth);
            self.statement.clause = Some(clause.min(token.depth));
        }
        if let Setting::Name {
            parts,
            goes_on,
            is_secret,
            is_own,
        } = &mut self.statement.setting
        {
            if !std::mem::take(goes_on) {
                self.statement.setting = Setting::None; // SET DEFAULT x, SET DATA TYPE t
                return;
            }
            *parts += 1;
            *is_secret |= sounds_secret || source.contains('.');
            *is_own |= *parts == 1 && source.eq_ignore_ascii_case("lockkeeper");
        }
    }

    fn punctuation(&mut self, byte: u8, depth: u32) {
        let statement = &mut self.statement;
        let ends = |clause: u32| match byte {
            b',' => depth <= clause,
            b')' | b']' => depth < clause,
            b';' => true,
            _ => false,
        };
        statement.clause = statement.clause.filter(|clause| !ends(*clause));
        match (byte, statement.options) {
            (b'(', Some(None)) => statement.options = Some(Some(depth)),
            (b')', Some(Some(list))) if depth <= list => statement.options = None,
            _ => {}
        }
        if byte == b';' {
            statement.is_tainted = false;
        }
        match &mut statement.setting {
            Setting::Name { goes_on, .. } if byte == b'.' => *goes_on = true,
            setting => *setting = Setting::None,
        }
    }

    /// Every constant here is hidden.
    fn is_hiding_all(&self) -> bool {
        let statement = &self.statement;
        let is_option = matches!(statement.options, Some(Some(_))) && !statement.is_harmless;
        self.holds_secret || statement.is_tainted || statement.clause.is_some() || is_option
    }

    /// Whether a constant of these meanings is hidden.
    fn hides_constant(&mut self, source: &str, meanings: Vec<String>) -> bool {
        self.statement.setting = Setting::None;
        let is_coded = source.starts_with(['U', 'u']);
        let is_suspect = is_coded || meanings.iter().any(|meaning| is_suspicious(meaning));
        let hides_all = self.is_hiding_all();
        self.statement.is_tainted |= is_suspect;
        if hides_all || is_suspect {
            let is_name = !hides_all && !is_coded;
            return !(is_name && meanings.iter().all(|meaning| is_one_word(meaning)));
        }
        let next = self.depth + 1;
        let is_hidden = |meaning: &String| {
            next > MOST_DEPTH
                || speaks_of_secret(meaning, next)
                || redacted_at(meaning, false, next).0 != *meaning
        };
        self.statement.is_routine && meanings.iter().any(is_hidden)
    }

    /// The body of a routine between dollar quotes.
    fn body(&mut self, tag: &str, body: &str) {
        let holds_secret = speaks_of_secret(body, self.depth + 1);
        let (shown, _) = redacted_at(body, holds_secret, self.depth + 1);
        self.hides |= shown != body;
        self.statement.setting = Setting::None;
        self.statement.assigns = false;
        for part in [tag, &shown, tag] {
            self.shown.push_str(part);
        }
    }
}

/// Whether a routine's body has anything to do with secrets: then any of its constants may be one.
fn speaks_of_secret(body: &str, depth: u32) -> bool {
    let read = Read::of(body);
    if is_secret_command(&read.tokens) {
        return true;
    }
    let speaks = |meaning: &String| {
        is_suspicious(meaning) || (depth < MOST_DEPTH && speaks_of_secret(meaning, depth + 1))
    };
    read.tokens.iter().any(|token| {
        let source = slice(body, token);
        match token.kind {
            TokenKind::Word(_) | TokenKind::QuotedIdentifier => mentions_secret(source),
            TokenKind::String => {
                source.starts_with(['U', 'u']) || meanings(source).iter().any(speaks)
            }
            TokenKind::DollarString => {
                depth >= MOST_DEPTH || speaks(&dollar_body(source).1.to_owned())
            }
            TokenKind::Parameter
            | TokenKind::Number
            | TokenKind::Operator
            | TokenKind::Punctuation(_)
            | TokenKind::Semicolon => false,
        }
    })
}
