//! What a constant means.

use std::iter::Peekable;
use std::str::Chars;

/// The tag and the body of a dollar-quoted string that has an end.
pub(super) fn dollar_body(source: &str) -> (&str, &str) {
    let tag = source
        .get(1..)
        .and_then(|rest| rest.find('$'))
        .map_or(0, |at| at + 2);
    let body = source.get(tag..source.len().saturating_sub(tag));
    (
        source.get(..tag).unwrap_or_default(),
        body.unwrap_or_default(),
    )
}

/// What a `'…'` may mean: with backslash escapes, without, or either.
pub(super) fn meanings(source: &str) -> Vec<String> {
    match source.as_bytes().first() {
        Some(b'E' | b'e') => vec![meaning(source, true)],
        Some(b'\'') if source.contains('\\') => {
            vec![meaning(source, false), meaning(source, true)]
        }
        _ => vec![meaning(source, false)],
    }
}

fn meaning(source: &str, escapes: bool) -> String {
    let mut found = String::with_capacity(source.len());
    let mut letters = source.chars().peekable();
    let _ = letters.by_ref().find(|letter| *letter == '\'');
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if letters.next_if_eq(&'\'').is_some() => found.push('\''),
            '\'' => to_continuation(&mut letters),
            '\\' if escapes => found.extend(escaped(&mut letters)),
            letter => found.push(letter),
        }
    }
    found
}

/// Goes on behind the quote that begins the next piece, or to the end.
fn to_continuation(letters: &mut Peekable<Chars<'_>>) {
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => return,
            '-' => {
                let _ = letters.find(|letter| matches!(letter, '\n' | '\r'));
            }
            _ => {}
        }
    }
}

/// What stands behind a backslash: `src/backend/parser/scan.l`.
fn escaped(letters: &mut Peekable<Chars<'_>>) -> Option<char> {
    let letter = letters.next()?;
    let (base, most, so_far) = match letter {
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'x' => (16, 2, 0),
        'u' => (16, 4, 0),
        'U' => (16, 8, 0),
        '0'..='7' => (8, 2, letter.to_digit(8).unwrap_or(0)),
        letter => return Some(letter),
    };
    let mut code = so_far;
    for _ in 0..most {
        let Some(digit) = letters.peek().and_then(|next| next.to_digit(base)) else {
            break;
        };
        let _ = letters.next();
        code = code.wrapping_mul(base).wrapping_add(digit);
    }
    Some(char::from_u32(code).unwrap_or('\u{fffd}'))
}
