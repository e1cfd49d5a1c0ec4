//! What a tool printed, without what two runs never have in common, and without what lockkeeper adds.

use crate::harness::Said;
use crate::side::Side;

/// Is in every line that begins a NOTICE of lockkeeper's, where a tool shows NOTICEs at all.
const OWN_NOTICE: &str = "NOTICE:  lockkeeper: ";
/// Begin lines that may follow it.
const ITS_FIELDS: [&str; 2] = ["DETAIL:  ", "HINT:  "];

/// What was printed, to be compared.
pub(crate) struct Printed {
    /// How it ended, and both outputs.
    pub(crate) text: String,
    /// How many NOTICEs of lockkeeper's were taken out.
    pub(crate) notices: usize,
}

impl Printed {
    /// Of a run on a side.
    pub(crate) fn new(side: &Side, said: &Said) -> Printed {
        let (mut text, mut notices) = (format!("{}\n", said.status), 0);
        for (name, output) in [("stdout", &said.out), ("stderr", &said.err)] {
            let (without, count) = without_notices(output);
            text += &format!("--- {name}\n{}\n", alike(side, &without));
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

/// Durations, in seconds or milliseconds, as `0 ms`. What fills a line up to them goes too: Laravel's dots.
fn without_times(output: &str) -> String {
    let mut text = String::new();
    let mut rest = output;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        text.push_str(before);
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.');
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
