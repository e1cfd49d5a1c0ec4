//! How two texts differ, for people.

use std::fmt::Write as _;

/// Lines shown around what differs.
const AROUND: usize = 3;
/// Beyond so many pairs of lines, all of one text is shown before all of the other.
const MOST_PAIRS: usize = 4_000_000;

/// The lines that differ, with some around them; `None` where none does.
pub(crate) fn difference(direct: &str, through: &str) -> Option<String> {
    if direct == through {
        return None;
    }
    let (one, other): (Vec<&str>, Vec<&str>) =
        (direct.lines().collect(), through.lines().collect());
    let front = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let (one_rest, other_rest) = (&one[front..], &other[front..]);
    let back = one_rest
        .iter()
        .rev()
        .zip(other_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let one_middle = &one_rest[..one_rest.len() - back];
    let other_middle = &other_rest[..other_rest.len() - back];
    let mut text = format!(
        "from line {} (- direct, + through lockkeeper):\n",
        front + 1
    );
    for line in &one[front.saturating_sub(AROUND)..front] {
        let _ = writeln!(text, "  {line}");
    }
    middle(&mut text, one_middle, other_middle);
    for line in one_rest[one_rest.len() - back..].iter().take(AROUND) {
        let _ = writeln!(text, "  {line}");
    }
    Some(text)
}

/// The shortest way from one list of lines to another.
fn middle(text: &mut String, one: &[&str], other: &[&str]) {
    let is_too_much = one.len() * other.len() > MOST_PAIRS;
    let width = other.len() + 1;
    // The longest common part of what follows each pair of places.
    let mut common = vec![
        0_u32;
        if is_too_much {
            0
        } else {
            (one.len() + 1) * width
        }
    ];
    if !is_too_much {
        for a in (0..one.len()).rev() {
            for b in (0..other.len()).rev() {
                common[a * width + b] = if one[a] == other[b] {
                    common[(a + 1) * width + b + 1] + 1
                } else {
                    common[(a + 1) * width + b].max(common[a * width + b + 1])
                };
            }
        }
    }
    let mut equal = Vec::new();
    let (mut a, mut b) = (0, 0);
    while a < one.len() || b < other.len() {
        let both = a < one.len() && b < other.len();
        if both && !is_too_much && one[a] == other[b] {
            equal.push(one[a]);
            (a, b) = (a + 1, b + 1);
            continue;
        }
        show_equal(text, &mut equal);
        let is_longer_without =
            both && !is_too_much && common[(a + 1) * width + b] < common[a * width + b + 1];
        if a < one.len() && !is_longer_without {
            let _ = writeln!(text, "- {}", one[a]);
            a += 1;
        } else {
            let _ = writeln!(text, "+ {}", other[b]);
            b += 1;
        }
    }
    show_equal(text, &mut equal);
}

/// Lines between two that differ; of many only the first and the last.
fn show_equal(text: &mut String, equal: &mut Vec<&str>) {
    let hidden = AROUND..equal.len().saturating_sub(AROUND).max(AROUND);
    for (at, line) in equal.drain(..).enumerate() {
        if !hidden.contains(&at) {
            let _ = writeln!(text, "  {line}");
        } else if at == hidden.start {
            let _ = writeln!(text, "  … {} lines", hidden.len());
        }
    }
}

#[test]
fn the_lines_that_differ_are_shown() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    let shown = difference("a\nb\nc\nd\n", "a\nc\nx\nd\n").unwrap();
    assert!(shown.ends_with("\n  a\n- b\n  c\n+ x\n  d\n"), "{shown}");
}
