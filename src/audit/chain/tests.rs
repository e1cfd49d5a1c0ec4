use proptest::prelude::*;

use super::check::{Check, Checked, Joint, Problem, Wrong};
use super::*;

fn start(continues: Hash, torn_bytes: Option<u64>) -> Vec<u8> {
    serde_json::to_vec(&Start {
        event: START,
        time: "2026-01-02T03:04:05.000Z",
        version: "1",
        pid: 7,
        continues,
        left: None,
        torn_bytes,
    })
    .unwrap()
}

/// A file's lines with their newlines, and its last hash.
fn file(continues: Hash, objects: &[Vec<u8>]) -> (Vec<u8>, Hash) {
    let mut bytes = Vec::new();
    let mut last = seal(&continues, &start(continues, None), &mut bytes);
    for object in objects {
        last = seal(&last, object, &mut bytes);
    }
    (bytes, last)
}

fn object(text: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({ "time": "2026", "sql": text })).unwrap()
}

fn checked(bytes: &[u8]) -> Checked {
    checked_from(bytes, None)
}

fn checked_from(bytes: &[u8], checkpoint: Option<Hash>) -> Checked {
    let mut check = Check::new(checkpoint);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        check.line(content, content.len() < line.len());
    }
    check.finish()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// The line and what is wrong with it, of the first problem.
fn first(checked: &Checked) -> (u64, Wrong) {
    let Problem { line, wrong } = checked.problems[0];
    (line, wrong)
}

#[test]
fn a_hash_is_that_of_the_hash_before_and_the_line_without_it() {
    let mut line = Vec::new();
    let hash = seal(&Hash::NONE, b"{\"a\":1}", &mut line);
    // printf '%064d{"a":1}' 0 | sha256sum
    let expected = "fc6cee09194dd2578bd7664604fcb72a539066fd34544cea0009c43eb6cdc289";
    let text = String::from_utf8(line.clone()).unwrap();
    assert_eq!(text, format!("{{\"a\":1,\"hash\":\"{hash}\"}}\n"));
    assert_eq!(hash_in(&line[..line.len() - 1]), Some(hash));
    assert_eq!(hash.to_string(), expected);
}

#[test]
fn texts_of_statements_are_no_hashes() {
    let fake = format!("x,\"hash\":\"{}\"}}", Hash::NONE);
    let torn = object(&fake);
    for end in 1..=torn.len() {
        assert_eq!(hash_in(&torn[..end]), None);
    }
}

#[test]
fn what_is_whole_was_never_torn() {
    let (whole, last) = file(Hash::NONE, &[object("a")]);
    let mut bytes = [&whole, &b"{\"sql\":\"DROP TABLE forged\"}\n"[..]].concat();
    let tail = Tail::of(&bytes, true).unwrap();
    seal(&last, &start(last, tail.torn_bytes), &mut bytes);
    let problems = checked(&bytes).problems;
    let wrong: Vec<(u64, Wrong)> = problems.iter().map(|one| (one.line, one.wrong)).collect();
    assert_eq!(wrong, [(3, Wrong::NoHash)]);
}

#[test]
fn what_is_torn_is_accounted_for_by_the_next_start() {
    let (whole, last) = file(Hash::NONE, &[object("a")]);
    for torn in ["{\"time\":\"20", "{", "{\"a\":1\n{\"b\":", ""] {
        let mut bytes = [&whole, torn.as_bytes()].concat();
        let tail = Tail::of(&bytes, true).unwrap();
        assert_eq!(tail.last, Some(last));
        assert_eq!(tail.is_ended, torn.is_empty());
        let open = checked(&bytes);
        assert_eq!((open.problems.len(), open.torn > 0), (0, !torn.is_empty()));
        if torn.is_empty() {
            continue;
        }
        bytes.push(b'\n');
        let mut damaged = bytes.clone();
        let last = seal(&last, &start(last, tail.torn_bytes), &mut bytes);
        seal(&last, &object("b"), &mut bytes);
        let found = checked(&bytes);
        assert_eq!(found.problems, []);
        assert_eq!((found.chained, found.first_torn), (4, Some(3)));
        // A line that was cut later has no start event that accounts for it.
        let wrong = tail.torn_bytes.map(|bytes| bytes + 1);
        let last = tail.last.unwrap();
        seal(&last, &start(last, wrong), &mut damaged);
        assert!(matches!(first(&checked(&damaged)), (_, Wrong::Torn { .. })));
    }
}

#[test]
fn a_line_that_lacks_nothing_but_its_newline_is_whole() {
    let (bytes, last) = file(Hash::NONE, &[object("a")]);
    let tail = Tail::of(&bytes[..bytes.len() - 1], true).unwrap();
    let expected = Tail {
        last: Some(last),
        torn_bytes: None,
        is_ended: false,
    };
    assert_eq!(tail, expected);
}

#[test]
fn lines_of_a_version_without_hashes_come_first_or_are_wrong() {
    let old = b"{\"sql\":\"a\"}\n{\"sql\":\"b\"}\n";
    let tail = Tail::of(old, true).unwrap();
    assert_eq!((tail.last, tail.torn_bytes), (None, Some(23)));
    let mut bytes = old.to_vec();
    let last = seal(&Hash::NONE, &start(Hash::NONE, tail.torn_bytes), &mut bytes);
    let found = checked(&bytes);
    assert_eq!((found.problems.len(), found.unchained), (0, 2));
    bytes.extend_from_slice(b"{\"sql\":\"c\"}\n");
    seal(&last, &object("d"), &mut bytes);
    assert_eq!(first(&checked(&bytes)), (4, Wrong::NoHash));
}

#[test]
fn too_few_bytes_tell_nothing() {
    let (bytes, last) = file(Hash::NONE, &[object("a"), object("b")]);
    for from in 0..bytes.len() {
        match Tail::of(&bytes[from..], false) {
            Some(tail) => assert_eq!(tail.last, Some(last)),
            None => assert!(!bytes[from..bytes.len() - 1].contains(&b'\n')),
        }
    }
}

#[test]
fn files_follow_each_other() {
    let none = Hash::NONE;
    let end = serde_json::to_vec(&End {
        event: END,
        time: "2026",
    })
    .unwrap();
    let (before, last) = file(none, &[object("a"), end]);
    let (after, _) = file(last, &[object("b")]);
    let (before, after) = (checked(&before), checked(&after));
    assert!(before.is_ended && !after.is_ended);
    assert_eq!(after.follows(&before), Ok(Joint::Whole));
    assert!(matches!(
        before.follows(&after),
        Err(Wrong::Continuation { .. })
    ));
    // Another program went on in the old file.
    let (mut longer, _) = file(
        none,
        &[
            object("a"),
            serde_json::to_vec(&End {
                event: END,
                time: "2026",
            })
            .unwrap(),
        ],
    );
    let late = seal(&last, &object("late"), &mut longer);
    assert_eq!(after.follows(&checked(&longer)), Ok(Joint::Overhang));
    // It came to the new one later.
    let (mut joined, at) = file(last, &[]);
    let mut second: serde_json::Value = serde_json::from_slice(&start(at, None)).unwrap();
    second["left"] = late.to_string().into();
    seal(&at, &serde_json::to_vec(&second).unwrap(), &mut joined);
    assert_eq!(
        checked(&joined).follows(&checked(&longer)),
        Ok(Joint::Whole)
    );
}

#[test]
fn a_checkpoint_is_continued_or_found() {
    let (old, last) = file(Hash::NONE, &[object("a")]);
    let (new, _) = file(last, &[object("b")]);
    assert!(checked_from(&new, Some(last)).has_checkpoint);
    assert!(checked_from(&old, Some(last)).has_checkpoint);
    let (other, _) = file(Hash::NONE, &[object("c")]);
    assert!(!checked_from(&other, Some(last)).has_checkpoint);
}

proptest! {
    #[test]
    fn any_changed_byte_is_found(
        texts in prop::collection::vec(".{0,20}", 1..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let objects: Vec<Vec<u8>> = texts.iter().map(|text| object(text)).collect();
        let (mut bytes, _) = file(Hash::NONE, &objects);
        prop_assert!(checked(&bytes).problems.is_empty());
        // The last newline's loss is that of a crash.
        let at = at.index(bytes.len() - 1);
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let found = checked(&bytes);
        prop_assert!(!found.problems.is_empty());
    }

    #[test]
    fn any_line_removed_moved_or_doubled_is_found(
        count in 3..12_usize,
        one in any::<prop::sample::Index>(),
        two in any::<prop::sample::Index>(),
    ) {
        let objects: Vec<Vec<u8>> = (0..count).map(|n| object(&n.to_string())).collect();
        let (bytes, _) = file(Hash::NONE, &objects);
        let whole = lines(&bytes);
        let (one, two) = (one.index(whole.len()), two.index(whole.len()));
        let mut doubled = whole.clone();
        doubled.insert(two, whole[one].clone());
        let found = checked(&doubled.concat());
        prop_assert!(!found.problems.is_empty());
        if one != two {
            let mut swapped = whole.clone();
            swapped.swap(one, two);
            prop_assert!(!checked(&swapped.concat()).problems.is_empty());
        }
        if one + 1 < whole.len() {
            let mut removed = whole;
            removed.remove(one);
            prop_assert!(!checked(&removed.concat()).problems.is_empty());
        }
    }

    #[test]
    fn the_tail_of_anything_is_where_its_last_hash_is(
        torn in "[ -~\n]{0,40}",
        is_chained in any::<bool>(),
    ) {
        let (whole, last) = file(Hash::NONE, &[object("a")]);
        let before = if is_chained { whole } else { Vec::new() };
        let bytes = [&before[..], torn.as_bytes()].concat();
        let tail = Tail::of(&bytes, true).unwrap();
        prop_assert_eq!(tail.last, is_chained.then_some(last));
        let mut bytes = bytes;
        if !tail.is_ended {
            bytes.push(b'\n');
        }
        let continues = tail.last.unwrap_or(Hash::NONE);
        seal(&continues, &start(continues, tail.torn_bytes), &mut bytes);
        prop_assert_eq!(checked(&bytes).problems, []);
    }
}
