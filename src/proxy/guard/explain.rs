//! The server's error as the client is to read it.

use crate::error;
use crate::exec::runner::Progress;
use crate::sql::classify::Text;
use crate::sql::redact::redacted;
use crate::wire::backend::ErrorFields;

/// The server's error, with what was done about it; its position is that in the client's own text,
/// or none.
pub(super) fn explain_failure(
    mut fields: ErrorFields,
    progress: &Progress,
    text: &Text,
) -> ErrorFields {
    let position = fields
        .others
        .iter()
        .find(|(code, _)| *code == b'P')
        .and_then(|(_, value)| value.parse().ok());
    fields
        .others
        .retain(|(code, _)| !matches!(code, b'P' | b'p' | b'q'));
    if let Some(position) =
        position.and_then(|at| original_position(&progress.last_sql, &text.text, at))
    {
        fields.others.push((b'P', position.to_string()));
    }
    let mut lines: Vec<String> = Vec::new();
    if !fields.detail.is_empty() {
        lines.push(std::mem::take(&mut fields.detail));
    }
    lines.extend(
        progress
            .undone
            .iter()
            .map(|line| format!("{}{line}", error::PREFIX)),
    );
    if !progress.executed.is_empty() {
        let executed = progress.executed.iter();
        let executed: Vec<_> = executed.map(|sql| redacted(sql, false)).collect();
        lines.push(format!(
            "{}done before that: {}",
            error::PREFIX,
            executed.join("; ")
        ));
    }
    fields.detail = lines.join("\n");
    fields
}

/// Where the character at `position` (from 1) of a step's SQL stands in the client's text: the step
/// is a part of it, or ends as it does.
fn original_position(step: &str, original: &str, position: usize) -> Option<usize> {
    let before = position.checked_sub(1)?;
    let mut ends = step.char_indices().map(|(at, _)| at).chain([step.len()]);
    let rest = &step[ends.nth(before)?..];
    let found = match original.find(step) {
        Some(start) => start + step.len() - rest.len(),
        None if rest.is_empty() => return None,
        None => original.rfind(rest)?,
    };
    Some(original[..found].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_positions_are_those_of_the_clients_text() {
        let step = "CREATE INDEX CONCURRENTLY t_x_idx ON t (x)";
        let original = "/* é */ create index on t (x)";
        let at = step.find("(x)").unwrap() + 2;
        let expected = original.chars().position(|c| c == '(').unwrap() + 2;
        assert_eq!(original_position(step, original, at), Some(expected));
        assert_eq!(
            original_position("create table", " create table ;", 13),
            Some(14)
        );
        assert_eq!(original_position(step, original, 0), None);
        assert_eq!(original_position(step, original, 999), None);
        assert_eq!(original_position("SET lock_timeout = 1", original, 5), None);
    }
}
