//! What a relayed transaction costs in system calls, as strace sees the program: one read and one write on each leg,
//! and at most one look at epoll before each read.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::{clean_command, eventually, limited, shared};
use crate::program::{PROGRAM, Program};
use crate::wire::{Wire, b, commands, d, e, p, q, s};

/// Transactions of each kind.
const COUNT: usize = 300;
/// What may come on top in all: a thread that is woken late, a timer.
const STRAY: usize = 10;

/// Fails unless strace can do its work here.
fn need_strace() {
    let said = match Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output()
    {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!(
        "strace can't trace here: {}\n`make test` installs it; ptrace must be allowed (in a container: \
         `--cap-add SYS_PTRACE`; else `sysctl kernel.yama.ptrace_scope=1` or lower)",
        said.trim()
    );
}

/// The names of the system calls between two lines, with how often each came.
fn calls<'a>(trace: &'a str, from: &str, to: &str) -> BTreeMap<&'a str, usize> {
    let is_mark = |line: &&str, mark: &str| line.contains("recvfrom(") && line.contains(mark);
    let mut counts = BTreeMap::new();
    let between = trace
        .lines()
        .skip_while(|line| !is_mark(line, from))
        .skip(1)
        .take_while(|line| !is_mark(line, to));
    for line in between {
        let call = line
            .split_once(' ')
            .map_or("", |(_pid, call)| call.trim_start());
        if let Some((name, _)) = call.split_once('(')
            && !call.starts_with("<...")
        // the rest of a call that was counted
        {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

/// Marks a place in the trace.
fn mark(wire: &mut Wire, text: &str) {
    wire.run(&format!("SELECT '{text}'"));
}

#[test]
fn a_relayed_transaction_costs_two_reads_and_two_writes() {
    need_strace();
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("trace");
        let mut command = clean_command("strace");
        // As a grandchild: the process that is started is the program itself.
        command
            .args(["-D", "-f", "-q", "-s", "64", "-o"])
            .arg(&file);
        command.args([PROGRAM, "serve"]);
        // What the operator asks now and then isn't the sessions' cost.
        let settings = [("RUNTIME__THREADS", "1"), ("OPERATOR__URL", "")];
        let mut program = Program::start_as(command, shared(), &settings);
        let mut wire = program.session();
        wire.run("SELECT 1");
        wire.ask(&[p("prepared", "SELECT 1"), s()].concat());
        let bind = |statement: &str| [b("", statement, &[]), d(b'P', ""), e("", 0), s()].concat();
        let kinds = [
            ("simple", q("SELECT 1")),
            ("extended", [p("", "SELECT 1"), bind("")].concat()),
            ("prepared", bind("prepared")),
        ];
        for (kind, messages) in &kinds {
            wire.ask(messages);
            mark(&mut wire, &format!("{kind} begins"));
            for _ in 0..COUNT {
                assert_eq!(commands(&wire.ask(messages)), ["SELECT 1"]);
            }
            mark(&mut wire, &format!("{kind} ends"));
        }
        drop(wire);
        program.signal("TERM");
        program.ends_with();
        let read = || std::fs::read_to_string(&file).unwrap();
        eventually("the trace is written", || {
            let trace = read();
            let mut last = trace.lines().rev();
            last.next().is_some_and(|line| line.contains("+++ exited"))
        });
        let trace = read();
        for (kind, _) in &kinds {
            let counts = calls(&trace, &format!("{kind} begins"), &format!("{kind} ends"));
            println!("{kind}, {COUNT} times: {counts:?}");
            assert_cost(kind, &counts);
        }
    });
}

fn assert_cost(kind: &str, counts: &BTreeMap<&str, usize>) {
    let count = |name: &str| counts.get(name).copied().unwrap_or_default();
    // The marks' own answer falls between the marks.
    let twice = 2 * COUNT..=2 * COUNT + STRAY;
    assert!(
        twice.contains(&count("recvfrom")),
        "{kind}: reads: {counts:?}"
    );
    assert!(
        twice.contains(&count("sendto")),
        "{kind}: writes: {counts:?}"
    );
    assert!(
        count("epoll_wait") <= 2 * COUNT + STRAY,
        "{kind}: waits: {counts:?}"
    );
    let known = count("recvfrom") + count("sendto") + count("epoll_wait");
    let others = counts.values().sum::<usize>() - known;
    assert!(others <= STRAY, "{kind}: others: {counts:?}");
}
