use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::audit::chain::check::{Check, Checked, Joint, Wrong};
use crate::audit::chain::{Hash, hash_in};

/// A directory, and the audit file's path in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    (directory, path)
}

fn event(sql: &str) -> Event {
    Event {
        sql: sql.to_owned(),
        ..Event::default()
    }
}

fn checked(path: &Path) -> Checked {
    let bytes = fs::read(path).unwrap();
    let mut check = Check::new(None);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        check.line(content, content.len() < line.len());
    }
    check.finish()
}

/// What the lines are: `start`, `end`, or their SQL.
fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let word = |line: &str| {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else {
            return "torn".to_owned();
        };
        let word = line["event"].as_str().or(line["sql"].as_str());
        word.unwrap().to_owned()
    };
    text.lines().map(word).collect()
}

fn open_file(path: &Path) -> AuditFile {
    AuditFile::open(path).unwrap()
}

#[track_caller]
fn append(file: &mut AuditFile, sql: &str) {
    let object = serde_json::to_vec(&event(sql)).unwrap();
    let appended = file.append(&[object], &now());
    appended.result.unwrap();
    assert_eq!(appended.objects, 1);
}

#[test]
fn events_are_between_start_and_end() {
    let (_directory, path) = place();
    for run in ["a", "b"] {
        let log = AuditLog::open(&path).unwrap();
        log.record(event(run));
        log.flush();
        assert!(words(&path).ends_with(&[run.to_owned()]));
        log.close();
        log.record(event("too late"));
        assert_eq!(log.failure(), None);
    }
    assert_eq!(words(&path), ["start", "a", "end", "start", "b", "end"]);
    let found = checked(&path);
    assert_eq!((found.problems.len(), found.is_ended), (0, true));
}

#[test]
fn a_moved_file_is_ended_and_the_next_one_continues_it() {
    let (directory, path) = place();
    let moved = directory.path().join("audit.jsonl.1");
    let log = AuditLog::open(&path).unwrap();
    log.reopen(); // it is still there
    log.record(event("a"));
    log.flush();
    fs::rename(&path, &moved).unwrap();
    log.record(event("b"));
    log.reopen();
    log.record(event("c"));
    log.flush();
    assert_eq!(words(&moved), ["start", "a", "b", "end"]);
    assert_eq!(words(&path), ["start", "c"]);
    assert_eq!(checked(&path).follows(&checked(&moved)), Ok(Joint::Whole));
    log.close();
}

/// As in an upgrade: one of them comes to the new file later, or never.
#[test]
fn two_programs_write_one_chain_and_move_on_one_after_the_other() {
    let (directory, path) = place();
    let moved = directory.path().join("audit.jsonl.1");
    let (mut one, mut two) = (open_file(&path), open_file(&path));
    for _ in 0..3 {
        append(&mut one, "one");
        append(&mut two, "two");
        append(&mut two, "two");
    }
    assert_eq!(checked(&path).problems, []);
    fs::rename(&path, &moved).unwrap();
    one.reopen(&now()).unwrap();
    append(&mut one, "one");
    append(&mut two, "two");
    assert_eq!(
        checked(&path).follows(&checked(&moved)),
        Ok(Joint::Overhang)
    );
    two.reopen(&now()).unwrap();
    append(&mut two, "two");
    append(&mut one, "one");
    assert_eq!(words(&path), ["start", "one", "start", "two", "one"]);
    assert_eq!(
        (checked(&path).problems, checked(&moved).problems),
        (vec![], vec![])
    );
    assert_eq!(checked(&path).follows(&checked(&moved)), Ok(Joint::Whole));
}

#[test]
fn a_torn_line_stays_alone() {
    let (_directory, path) = place();
    let mut file = open_file(&path);
    append(&mut file, "a");
    let tear = |text: &str| {
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(text.as_bytes()).unwrap();
    };
    tear("{\"time\":\"2026");
    append(&mut open_file(&path), "b");
    append(&mut file, "c");
    // One that another program leaves while this one is running.
    tear("{\"time\":\"2026-01");
    append(&mut file, "d");
    append(&mut file, "e");
    let expected = [
        "start", "a", "torn", "start", "b", "c", "torn", "start", "d", "e",
    ];
    assert_eq!(words(&path), expected);
    let found = checked(&path);
    assert_eq!(
        (found.problems, found.torn, found.first_torn),
        (vec![], 2, Some(3))
    );
}

#[test]
fn lines_taken_away_from_a_running_program_are_missed() {
    let (_directory, path) = place();
    let mut file = open_file(&path);
    append(&mut file, "a");
    let shorter = fs::metadata(&path).unwrap().len();
    append(&mut file, "b");
    let cut = OpenOptions::new().write(true).open(&path).unwrap();
    cut.set_len(shorter).unwrap();
    append(&mut file, "c");
    let found = checked(&path);
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].line, 3);
    assert!(matches!(
        found.problems[0].wrong,
        Wrong::Continuation { .. }
    ));
    // All of them: what a program that copies and truncates log files does. The copy ends with what is continued.
    let before = checked(&path);
    cut.set_len(0).unwrap();
    append(&mut file, "d");
    assert_eq!(words(&path), ["start", "d"]);
    assert_eq!(checked(&path).follows(&before), Ok(Joint::Whole));
    // The same length, with another last line.
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 10;
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    fs::write(&path, bytes).unwrap();
    append(&mut file, "e");
    assert!(!checked(&path).problems.is_empty());
}

#[test]
fn a_deleted_file_is_begun_anew() {
    let (_directory, path) = place();
    let mut file = open_file(&path);
    append(&mut file, "a");
    let before = checked(&path);
    fs::remove_file(&path).unwrap();
    append(&mut file, "b");
    assert_eq!(words(&path), ["start", "b"]);
    assert_eq!(checked(&path).follows(&before), Ok(Joint::Whole));
}

#[test]
fn lines_of_a_version_without_hashes_stay_and_a_file_that_is_none_is_refused() {
    let (_directory, path) = place();
    fs::write(&path, "{\"sql\":\"old\"}\n").unwrap();
    append(&mut open_file(&path), "a");
    assert_eq!(words(&path), ["old", "start", "a"]);
    let found = checked(&path);
    assert_eq!((found.problems, found.unchained), (vec![], 1));
    let file = fs::File::create(&path).unwrap();
    file.set_len(65 << 20).unwrap(); // a hole
    let error = AuditLog::open(&path).unwrap_err();
    assert!(error.to_string().contains("isn't an audit file"), "{error}");
}

#[test]
fn the_last_line_is_found_behind_long_ones() {
    let (_directory, path) = place();
    let mut file = open_file(&path);
    append(&mut file, &"x".repeat(3 << 20));
    append(&mut open_file(&path), "a");
    assert_eq!(checked(&path).problems, []);
}

#[test]
fn what_cannot_be_written_waits_and_is_told() {
    let (directory, path) = place();
    let log = AuditLog::open(&path).unwrap();
    let holder = OpenOptions::new().append(true).open(&path).unwrap();
    holder.lock().unwrap();
    for sql in ["a", "b", "c"] {
        log.record(event(sql));
    }
    until(|| log.failure().is_some_and(|why| why.contains("locked")));
    assert_eq!(words(&path), ["start"]);
    drop(holder);
    until(|| log.failure().is_none());
    log.flush();
    assert_eq!(words(&path), ["start", "a", "b", "c"]);
    // A directory that is gone: the old file is written on, until there is a new one.
    let moved = tempfile::tempdir().unwrap();
    let old = moved.path().join("old");
    fs::rename(directory.path(), &old).unwrap();
    log.reopen();
    until(|| {
        log.failure()
            .is_some_and(|why| why.contains("opened again"))
    });
    log.record(event("d"));
    log.flush();
    assert!(words(&old.join("audit.jsonl")).ends_with(&["d".to_owned()]));
    fs::create_dir(directory.path()).unwrap();
    until(|| log.failure().is_none());
    log.record(event("e"));
    log.close();
    assert_eq!(words(&path), ["start", "e", "end"]);
}

#[test]
fn devices_are_written_as_far_as_they_let_it() {
    let full = AuditLog::open(Path::new("/dev/full")).unwrap();
    full.record(event("a"));
    let why = full.failure().unwrap();
    assert!(why.contains("No space left"), "{why}");
    let log = AuditLog::open(Path::new("/dev/null")).unwrap();
    log.record(event("a"));
    log.flush();
    assert_eq!(log.failure(), None);
    log.close();
    let pipe = place().1;
    assert!(AuditLog::open(&pipe).is_err(), "its directory is gone");
}

#[test]
fn events_are_sent_on_and_those_recorded_here_are_not() {
    let (_directory, path) = place();
    let (sender, mut receiver) = mpsc::channel(1);
    let log = AuditLog::open(&path).unwrap().and_to(sender);
    log.record_here(event("here"));
    log.record(event("a"));
    log.record(event("b")); // no place: lost there, written here
    log.close();
    assert_eq!(receiver.try_recv().unwrap().sql, "a");
    assert!(receiver.try_recv().is_err());
    assert_eq!(words(&path), ["start", "here", "a", "b", "end"]);
    let (sender, mut receiver) = mpsc::channel(1);
    AuditLog::default().and_to(sender).record(event("c"));
    assert_eq!(receiver.try_recv().unwrap().sql, "c");
}

#[test]
fn threads_that_record_at_once_make_one_chain() {
    let (_directory, path) = place();
    let logs = [(); 3].map(|()| AuditLog::open(&path).unwrap());
    let threads: Vec<_> = logs
        .iter()
        .cloned()
        .map(|log| thread::spawn(move || (0..200).for_each(|n| log.record(event(&n.to_string())))))
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    logs.iter().for_each(AuditLog::close);
    let found = checked(&path);
    assert_eq!((found.problems, found.lines), (vec![], 3 + 3 + 600));
    let text = fs::read_to_string(&path).unwrap();
    let hashes: std::collections::HashSet<Hash> = text
        .lines()
        .filter_map(|line| hash_in(line.as_bytes()))
        .collect();
    assert_eq!(hashes.len(), 606);
}

#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "never");
        thread::sleep(Duration::from_millis(5));
    }
}
