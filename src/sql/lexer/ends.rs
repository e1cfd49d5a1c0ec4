//! What a text is in the midst of.

use super::{Lexer, State};

impl Lexer {
    /// Whether what was read so far ends within a `/* */` comment.
    pub fn is_in_comment(&self) -> bool {
        matches!(self.state, State::BlockComment { .. })
    }

    /// Whether what was read so far ends within something that has an end mark of its own: a literal, a
    /// quoted identifier, a `/* */` comment.
    pub fn is_within(&self) -> bool {
        match self.state {
            State::Literal(_)
            | State::LiteralEscape
            | State::Quoted
            | State::BlockComment { .. }
            | State::DollarBody
            | State::DollarCandidate => true,
            State::Start
            | State::Identifier
            | State::UnicodePrefix
            | State::LiteralQuote(_)
            | State::Gap { .. }
            | State::GapDash { .. }
            | State::GapComment { .. }
            | State::QuotedQuote
            | State::LineComment
            | State::Dollar
            | State::DollarTag
            | State::Parameter
            | State::Operator
            | State::Dot
            | State::Colon
            | State::Number(_)
            | State::Radix { .. } => false,
        }
    }
}
