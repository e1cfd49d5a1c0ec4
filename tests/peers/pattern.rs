//! Patterns of statements: `DROP {VIEW, SEQUENCE} …`, where `…` is any text and `{…}` one of a list. A capital `X` that
//! stands alone is a name, the same one wherever it stands.

/// A pattern.
pub(crate) struct Pattern {
    /// As written.
    pub(crate) text: String,
    /// Each choice that the lists leave.
    choices: Vec<String>,
    /// What must not occur.
    excluded: Vec<String>,
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn new(text: &str) -> Pattern {
        Pattern {
            text: text.to_owned(),
            choices: expand(text),
            excluded: Vec::new(),
        }
    }

    /// For each word of its lists, the pattern with that word alone.
    pub(crate) fn words(&self) -> Vec<Pattern> {
        let mut words = Vec::new();
        for (open, _) in self.text.match_indices('{') {
            let (before, rest) = self.text.split_at(open);
            let (list, after) = rest[1..].split_once('}').expect("a closed list");
            words.extend(list.split(", ").map(|word| Pattern {
                text: format!("{before}{word}{after}"),
                choices: expand(&format!("{before}{word}{after}")),
                excluded: self.excluded.clone(),
            }));
        }
        words
    }

    /// Leaves out statements with some text.
    pub(crate) fn exclude(&mut self, text: &str) {
        self.excluded.push(text.to_owned());
    }

    /// Whether a statement is meant.
    pub(crate) fn is_met(&self, statement: &str) -> bool {
        let is_excluded = self
            .excluded
            .iter()
            .any(|text| statement.contains(text.as_str()));
        !is_excluded && self.choices.iter().any(|choice| is_like(choice, statement))
    }
}

/// The patterns without lists.
fn expand(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else {
        return vec![text.to_owned()];
    };
    let (list, after) = rest.split_once('}').expect("a closed list");
    let after = expand(after);
    let choices = list.split(", ");
    choices
        .flat_map(|choice| {
            after
                .iter()
                .map(move |after| format!("{before}{choice}{after}"))
        })
        .collect()
}

/// Whether a statement is like a pattern without lists.
fn is_like(pattern: &str, statement: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut words = pattern.split(|c: char| !is_name(c));
    if !words.any(|word| word == "X") {
        return globs(pattern, statement);
    }
    let mut names = statement
        .split(|c: char| !is_name(c))
        .filter(|name| !name.is_empty());
    names.any(|name| {
        let pieces: Vec<&str> = pattern.split_inclusive(|c: char| !is_name(c)).collect();
        let with_name = pieces.iter().map(|piece| match piece.strip_prefix('X') {
            Some(mark) if !mark.starts_with(is_name) => format!("{name}{mark}"),
            _ => (*piece).to_owned(),
        });
        globs(&with_name.collect::<String>(), statement)
    })
}

/// Whether a statement has the pieces of a pattern in their order, the first at its beginning, the last at its end.
fn globs(pattern: &str, statement: &str) -> bool {
    let pieces: Vec<&str> = pattern.split('…').collect();
    let [first, between @ .., last] = pieces.as_slice() else {
        return pattern == statement;
    };
    let mut rest = statement.strip_prefix(first);
    for piece in between {
        rest = rest.and_then(|rest| Some(rest.split_once(piece)?.1));
    }
    rest.is_some_and(|rest| rest.ends_with(last))
}

#[test]
fn patterns_are_met() {
    for (pattern, statement, expected) in [
        ("DROP VIEW …", "DROP VIEW v", true),
        ("DROP VIEW …", "DROP VIEWS", false),
        ("VACUUM", "VACUUM t", false),
        ("DROP {VIEW, SEQUENCE} …", "DROP SEQUENCE s", true),
        ("A … B … C", "A x B C y", false),
        ("A … B… C", "A x B C", true),
        (
            "CREATE TABLE X … REFERENCES X…",
            "CREATE TABLE t (a int REFERENCES t)",
            true,
        ),
        (
            "CREATE TABLE X … REFERENCES X…",
            "CREATE TABLE t (a int REFERENCES u)",
            false,
        ),
    ] {
        assert_eq!(
            Pattern::new(pattern).is_met(statement),
            expected,
            "{pattern}: {statement}"
        );
    }
    let words = Pattern::new("A {B, C} {D, E}").words();
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(
        words,
        ["A B {D, E}", "A C {D, E}", "A {B, C} D", "A {B, C} E"]
    );
    let mut pattern = Pattern::new("ADD COLUMN …");
    pattern.exclude("DEFAULT");
    assert!(pattern.is_met("ADD COLUMN a int") && !pattern.is_met("ADD COLUMN a int DEFAULT 1"));
}
