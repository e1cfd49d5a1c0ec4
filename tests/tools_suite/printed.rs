//! What a tool printed, without what two runs never have in common, and without what lockkeeper adds.

use crate::harness::Said;
use crate::side::Side;
use crate::snapshot::Rows;

/// Is in every line that begins a NOTICE of lockkeeper's, where a tool shows NOTICEs at all.
const OWN_NOTICE: &str = "NOTICE:  lockkeeper: ";
/// Begin lines that may follow it.
const ITS_FIELDS: [&str; 2] = ["DETAIL:  ", "HINT:  "];

/// What rows of the traffic's have a part in, between two words: how many there were, and which of many names that are
/// there twice PostgreSQL came across first; node-postgres tells how long such a message is.
const OF_TRAFFIC: &[(&str, &str)] = &[
    ("INSERT 0 ", "\n"),
    ("Key (name)=(Name ", ") is duplicated."),
    ("  length: ", ",\n"),
];

/// What was printed, to be compared.
pub(crate) struct Printed {
    /// How it ended, and both outputs.
    pub(crate) text: String,
    /// How many NOTICEs of lockkeeper's were taken out.
    pub(crate) notices: usize,
}

impl Printed {
    /// Of a run on a side.
    pub(crate) fn new(side: &Side, said: &Said, which: Rows) -> Printed {
        let (mut text, mut notices) = (format!("{}\n", said.status), 0);
        for (name, output) in [("stdout", &said.out), ("stderr", &said.err)] {
            let (without, count) = without_notices(output);
            let mut output = alike(side, &without);
            if which == Rows::OfFill {
                for (front, back) in OF_TRAFFIC {
                    output = without_numbers(&output, front, back);
                }
            }
            text += &format!("--- {name}\n{output}\n");
            notices += count;
        }
        Printed { text, notices }
    }
}

/// An output without lockkeeper's own NOTICEs, and how many there were.
fn without_notices(output: &str) -> (String, usize) {
    let (mut left, mut count, mut is_own) = (String::new(), 0, false);
    for line in output.split_inclusive('\n') {
        let begins = line.contains(OWN_NOTICE);
        is_own = begins || is_own && ITS_FIELDS.iter().any(|field| line.starts_with(field));
        count += usize::from(begins);
        if !is_own {
            left.push_str(line);
        }
    }
    (left, count)
}

/// An output with the same words for what differs by nature: the tool's folder, the port, and times.
fn alike(side: &Side, output: &str) -> String {
    let work = side.work.path().to_str().unwrap();
    let output = output.replace(work, "$WORK");
    let output = output.replace(&side.place.port().to_string(), "$PGPORT");
    without_times(&output)
}

/// A text with `n` for each number between two words.
fn without_numbers(text: &str, front: &str, back: &str) -> String {
    let mut parts = text.split(front);
    let mut left = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_between = rest.len() < part.len() && rest.starts_with(back);
        left.push_str(front);
        left.push_str(if is_between { "n" } else { "" });
        left.push_str(if is_between { rest } else { part });
    }
    left
}

/// Durations, in seconds or milliseconds, as `0 ms`. What fills a line up to them goes too: Laravel's dots.
fn without_times(output: &str) -> String {
    let mut text = String::new();
    let mut rest = output;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        text.push_str(before);
        let end = number.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ','));
        let (number, after) = number.split_at(end.unwrap_or(number.len()));
        let is_part = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        match unit(after).filter(|_| !is_part) {
            Some(after) => {
                let filled = text.trim_end_matches([' ', '.']).len();
                if text.ends_with(". ") {
                    text.truncate(filled);
                    text.push(' ');
                }
                text.push_str("0 ms");
                rest = after;
            }
            None => {
                text.push_str(number);
                rest = after;
            }
        }
    }
    text + rest
}

/// What follows the unit of a duration; `None` where there is none.
fn unit(text: &str) -> Option<&str> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let units = ["ms", "µs", "s", "seconds"].iter();
    let mut after = units.filter_map(|unit| text.strip_prefix(unit));
    after.find(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn times_and_own_notices_are_taken_out_and_nothing_else() {
    for (printed, left) in [
        (
            "took 1,012.5ms, 3 s and 1 seconds\n",
            "took 0 ms, 0 ms and 0 ms\n",
        ),
        (
            "0001_create ........ 12ms DONE\n",
            "0001_create 0 ms DONE\n",
        ),
        (
            "5 rows, v1.2s3, users_1 s, 7 sites\n",
            "5 rows, v1.2s3, users_1 s, 7 sites\n",
        ),
    ] {
        assert_eq!(without_times(printed), left);
    }
    let printed = "INSERT 0 12\nINSERT 0 3 rows\n";
    assert_eq!(
        without_numbers(printed, "INSERT 0 ", "\n"),
        "INSERT 0 n\nINSERT 0 3 rows\n"
    );
    let printed = "NOTICE:  one\nDETAIL:  a\nf.sql:1: NOTICE:  lockkeeper: two\nDETAIL:  b\nHINT:  c\nDETAIL: d\n";
    let left = "NOTICE:  one\nDETAIL:  a\nDETAIL: d\n";
    assert_eq!(without_notices(printed), (left.to_owned(), 1));
}
