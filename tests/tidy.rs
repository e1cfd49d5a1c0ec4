//! Invariants of the source tree that the compiler doesn't know: who may import whom, what the pure core
//! may touch, how long a file may be.
//!
//! Each violation is reported as `file:line: what is wrong: what to do about it`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/protocol.rs"]
mod protocol;

use self::Kind::{Pure, Shell};
use self::lexer::{Token, lex};

/// Pure modules are functions of their arguments; shell modules own sockets, files, clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Pure,
    Shell,
}

/// A module or part of one, and the modules it may name as `crate::…`:
/// `CORE` stands for every pure one, `BELOW` for all that stand before it in the table.
struct Unit(&'static str, Kind, &'static str);

/// The import order, lowest first. A unit may only use units before it, so the whole can have no cycle.
/// A file belongs to the longest name that fits its path.
const UNITS: &[Unit] = &[
    Unit("lock", Pure, ""),
    Unit("sql::name", Pure, ""),
    Unit("wire", Pure, "lock"),
    Unit("sql", Pure, "lock sql::name"),
    Unit("catalog", Pure, "lock sql::name sql"),
    Unit("plan", Pure, "lock sql::name sql catalog"),
    Unit("rules", Pure, "lock sql::name sql catalog plan"),
    Unit("queue", Pure, "lock sql::name sql catalog plan rules"),
    Unit(
        "audit::event",
        Pure,
        "lock sql::name sql catalog plan rules queue",
    ),
    Unit("audit::chain", Pure, ""),
    Unit("shutdown", Shell, ""),
    Unit("metrics", Shell, "CORE"),
    Unit("error", Shell, "CORE"),
    Unit(
        "exec",
        Shell,
        "lock sql::name sql wire catalog plan queue audit::event error metrics shutdown",
    ),
    Unit("pg", Shell, "CORE error metrics shutdown exec"),
    Unit(
        "queue::coordinator",
        Shell,
        "CORE error metrics shutdown pg",
    ),
    Unit("audit::log", Shell, "CORE error metrics shutdown pg"),
    Unit("audit", Shell, "CORE audit::log"),
    Unit("journal", Shell, "CORE error metrics shutdown pg exec"),
    Unit("config", Shell, "CORE error"),
    Unit("console", Shell, "BELOW"),
    Unit(
        "proxy",
        Shell,
        "CORE error metrics shutdown pg exec queue::coordinator audit::log audit journal config console",
    ),
    Unit("http", Shell, "BELOW"),
    Unit("server", Shell, "BELOW"),
    Unit("cli", Shell, "BELOW"),
];

/// The crate's roots put everything together, so they may name everything.
const ROOTS: &[&str] = &["src/lib.rs", "src/main.rs"];

const MAX_LINES: usize = 800;
const MAX_COLUMNS: usize = 120;

/// Folders of `tests/scripts` that aren't named after a rule file, each with a suite of its own.
const EXTRA_SUITES: &[&str] = &["exec_failures"];

/// Marks of the machine a file was written on. In pieces, so that this file doesn't match itself.
const FOREIGN: &[&[&str]] = &[
    &["/wo", "rk/"],
    &["cl", "aude"],
    &["sandbox", " session"],
    &["..", "/shared"],
];

/// Build products and generated inputs, not ours to keep tidy.
const SKIPPED_DIRS: &[&str] = &["target", "node_modules", "corpus", "artifacts", "coverage"];

#[test]
fn modules_import_only_what_lies_below_them() {
    let mut problems = Problems::default();
    for file in rust_files(&["src"]) {
        if !ROOTS.contains(&file.path.as_str()) {
            check_imports(&file, &mut problems);
        }
    }
    problems.assert_none();
}

#[test]
fn the_import_table_has_no_cycle_and_keeps_its_promises() {
    for (index, unit) in UNITS.iter().enumerate() {
        for used in unit.uses() {
            let at = UNITS.iter().position(|other| other.0 == used);
            assert!(
                at.is_some_and(|at| at < index),
                "{} uses {used}, which isn't below it",
                unit.0
            );
            let downward = unit.1 == Shell || at.is_some_and(|at| UNITS[at].1 == Pure);
            assert!(downward, "{} is pure and uses {used}, which isn't", unit.0);
        }
    }
    for (user, stranger) in [
        ("wire", "sql"),
        ("sql", "wire"),
        ("exec", "rules"),
        ("plan", "rules"),
    ] {
        let unit = UNITS.iter().find(|unit| unit.0 == user);
        assert!(
            unit.is_some_and(|unit| !unit.may_use(stranger)),
            "{user} must not know {stranger}"
        );
    }
    let readers: Vec<&str> = UNITS
        .iter()
        .filter(|unit| unit.may_use("config"))
        .map(|unit| unit.0)
        .collect();
    assert_eq!(
        readers,
        ["config", "console", "proxy", "http", "server", "cli"],
        "who may read config"
    );
}

#[test]
fn only_the_sql_parser_names_pg_query() {
    let mut problems = Problems::default();
    for file in rust_files(&["src"]) {
        if file.path.starts_with("src/sql/parse/") {
            continue;
        }
        for token in lex(&file.text) {
            if token.text == "pg_query" {
                problems.add(&file, token.line, "names pg_query", "go through sql::parse");
            }
        }
    }
    problems.assert_none();
}

#[test]
fn the_core_is_pure() {
    let mut problems = Problems::default();
    for file in rust_files(&["src"]) {
        let pure = unit_of(&module_path(&file.path)).is_some_and(|unit| unit.1 == Pure);
        if pure && !ROOTS.contains(&file.path.as_str()) && !is_test_file(&file.path) {
            for (line, what) in impurities(&lex(&file.text)) {
                let remedy =
                    "take it as an argument, or move this to the shell (pg, exec, proxy …)";
                problems.add(&file, line, &format!("{what} in the pure core"), remedy);
            }
        }
    }
    problems.assert_none();
}

#[test]
fn nothing_is_left_unfinished() {
    let mut problems = Problems::default();
    for file in rust_files(&["src", "tests", "bench"]) {
        let tokens = lex(&file.text);
        for (at, token) in tokens.iter().enumerate() {
            let next = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
            if matches!(token.text, "todo" | "unimplemented" | "dbg") && next(1) == "!" {
                problems.add(
                    &file,
                    token.line,
                    &format!("{}!", token.text),
                    "finish it or take it out",
                );
            }
            if token.text == "#" && next(1) == "[" && next(2) == "ignore" {
                let remedy = "make it pass, or have it return early unless LOCKKEEPER_SOAK is set";
                problems.add(&file, token.line, "an ignored test", remedy);
            }
        }
        for (line, text) in file.lines() {
            let marks = [["FIX", "ME"].concat(), "X".repeat(3)];
            let comment = text.split_once("//").map_or("", |(_, comment)| comment);
            let mut words = comment.split(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(mark) = words.find(|word| marks.iter().any(|mark| mark == word)) {
                problems.add(
                    &file,
                    line,
                    mark,
                    "do it now, or write down in docs/ why it waits",
                );
            }
        }
    }
    problems.assert_none();
}

#[test]
fn files_and_lines_are_short() {
    let mut problems = Problems::default();
    for file in rust_files(&["src", "tests", "bench"]) {
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            let what = format!("{lines} lines, {MAX_LINES} are allowed");
            problems.add(
                &file,
                MAX_LINES + 1,
                &what,
                "split the module along its responsibilities",
            );
        }
        for (line, text) in file.lines() {
            let columns = text.chars().count();
            if columns > MAX_COLUMNS {
                let what = format!("{columns} columns, {MAX_COLUMNS} are allowed");
                problems.add(
                    &file,
                    line,
                    &what,
                    "break the line (a string: with a backslash)",
                );
            }
        }
    }
    problems.assert_none();
}

#[test]
fn nothing_speaks_of_the_machine_it_was_written_on() {
    let tree = [
        "src",
        "tests",
        "bench",
        "docs",
        "config",
        ".ci",
        ".cargo",
        "Cargo.toml",
        "Dockerfile",
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        ".gitignore",
        ".dockerignore",
    ];
    let mut problems = Problems::default();
    for file in files(&tree) {
        for (line, text) in file.lines() {
            let text = text.to_lowercase();
            for mark in FOREIGN.iter().map(|pieces| pieces.concat()) {
                if text.contains(&mark) {
                    problems.add(&file, line, &format!("mentions `{mark}`"), "say it without");
                }
            }
        }
    }
    problems.assert_none();
}

#[test]
fn every_configuration_key_is_explained() {
    let mut problems = Problems::default();
    for file in files(&["config/lockkeeper.toml"]) {
        for (line, key) in unexplained_keys(&file.text) {
            let remedy = "say above or beside it what it does, and in what unit";
            problems.add(&file, line, &format!("`{key}` has no comment"), remedy);
        }
    }
    problems.assert_none();
}

#[test]
fn every_script_belongs_to_a_suite() {
    let rules: BTreeSet<String> = files(&["src/rules"])
        .iter()
        .filter_map(|file| Some(Path::new(&file.path).file_stem()?.to_str()?.to_owned()))
        .collect();
    let mut problems = Problems::default();
    for file in files(&["tests/scripts"]) {
        let inside = file.path.trim_start_matches("tests/scripts/");
        let suite = inside.split_once('/').map_or("", |(folder, _)| folder);
        if !rules.contains(suite) && !EXTRA_SUITES.contains(&suite) {
            let remedy =
                "name its folder after a file of src/rules, or add the folder to EXTRA_SUITES";
            problems.add(&file, 1, "this script belongs to no suite", remedy);
        }
    }
    problems.assert_none();
}

/// What a test found, all of it, so that one run shows everything there is to do.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, file: &File, line: usize, what: &str, remedy: &str) {
        self.0
            .push(format!("{}:{line}: {what}: {remedy}", file.path));
    }

    #[track_caller]
    fn assert_none(&self) {
        assert!(
            self.0.is_empty(),
            "{} untidy:\n{}",
            self.0.len(),
            self.0.join("\n")
        );
    }
}

impl Unit {
    fn uses(&self) -> Vec<&'static str> {
        let core = UNITS.iter().filter(|unit| unit.1 == Pure);
        let below = UNITS.iter().take_while(|unit| unit.0 != self.0);
        let expand = |name| match name {
            "CORE" => core.clone().map(|unit| unit.0).collect(),
            "BELOW" => below.clone().map(|unit| unit.0).collect(),
            _ => vec![name],
        };
        self.2.split_whitespace().flat_map(expand).collect()
    }

    fn may_use(&self, name: &str) -> bool {
        self.0 == name || self.uses().contains(&name)
    }
}

/// The unit a path such as `["sql", "name", "Name"]` lies in.
fn unit_of(path: &[String]) -> Option<&'static Unit> {
    let fits = |unit: &&Unit| {
        let name: Vec<&str> = unit.0.split("::").collect();
        path.len() >= name.len()
            && path
                .iter()
                .zip(&name)
                .all(|(segment, part)| segment == part)
    };
    UNITS.iter().filter(fits).max_by_key(|unit| unit.0.len())
}

/// `src/sql/name.rs` is `["sql", "name"]`, `src/sql/mod.rs` is `["sql"]`.
fn module_path(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut segments: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if matches!(
        segments.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        segments.pop();
    }
    segments
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn check_imports(file: &File, problems: &mut Problems) {
    let module = module_path(&file.path);
    let Some(unit) = unit_of(&module) else {
        let what = format!("module `{}` isn't in the import order", module.join("::"));
        problems.add(
            file,
            1,
            &what,
            "give it a line in UNITS of tests/tidy.rs, and a place in the architecture",
        );
        return;
    };
    let mut seen = BTreeSet::new();
    for (path, line) in crate_paths(&lex(&file.text), &module) {
        let name = path.join("::");
        let complaint = match unit_of(&path) {
            Some(used) if unit.may_use(used.0) => continue,
            Some(used) => format!("`{}` uses `{}`", unit.0, used.0),
            None => format!(
                "`{}` uses `crate::{name}`, which is no module of the import order",
                unit.0
            ),
        };
        if seen.insert((line, complaint.clone())) {
            let remedy = "move the code to the layer that may, pass it in as data or a trait, or change UNITS";
            problems.add(file, line, &complaint, remedy);
        }
    }
}

/// Every path of the crate named in the code, from the crate's root, with its line.
fn crate_paths(tokens: &[Token<'_>], module: &[String]) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    let mut inline = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at].text);
        match token.text {
            "{" => {
                depth += 1;
                if before(2) == "mod" {
                    inline.push((before(1).to_owned(), depth));
                }
            }
            "}" => {
                inline.retain(|(_, opened)| *opened < depth);
                depth -= 1;
            }
            "crate" | "super" if !matches!(before(1), "::" | "in") => {
                let here = module
                    .iter()
                    .cloned()
                    .chain(inline.iter().map(|(name, _)| name.clone()));
                let mut paths = Vec::new();
                use_tree(tokens, at, Vec::new(), &mut paths);
                found.extend(
                    paths
                        .into_iter()
                        .filter_map(|path| Some((rooted(&path, here.clone())?, token.line))),
                );
            }
            _ => {}
        }
    }
    found
}

/// A path from the crate's root; none for `pub(crate)`, `super` alone and the like, which name no item.
fn rooted(path: &[String], here: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let supers = path
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    let (mut root, rest) = if supers == 0 {
        (Vec::new(), path.get(1..)?)
    } else {
        let here: Vec<String> = here.collect();
        (
            here[..here.len().checked_sub(supers)?].to_vec(),
            path.get(supers..)?,
        )
    };
    if rest.is_empty() {
        return None;
    }
    root.extend(rest.iter().cloned());
    Some(root)
}

/// Reads the path or use tree that starts at `at`: `a::{b, c::{self, d}}` is `a::b`, `a::c::self`, `a::c::d`.
/// Returns the place after it.
fn use_tree(
    tokens: &[Token<'_>],
    mut at: usize,
    mut path: Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, path.clone(), found).max(at + 1);
                    while tokens
                        .get(at)
                        .is_some_and(|token| !matches!(token.text, "," | "}"))
                    {
                        at += 1;
                    }
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            text if token.is_word() || text == "*" => path.push(text.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    found.push(path);
    at
}

/// What makes code depend on more than its arguments, outside `#[cfg(test)] mod … { … }`.
fn impurities(tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(end) = test_module(tokens, at) {
            at = end;
            continue;
        }
        match token.text {
            "async" | "Instant" | "SystemTime" => {
                found.push((token.line, format!("`{}`", token.text)))
            }
            text if text.starts_with("tokio") => found.push((token.line, format!("`{text}`"))),
            "std" => {
                let mut paths = Vec::new();
                use_tree(tokens, at, Vec::new(), &mut paths);
                for path in paths {
                    if matches!(
                        path.get(1).map(String::as_str),
                        Some("net" | "fs" | "env" | "process" | "thread")
                    ) {
                        found.push((token.line, format!("`{}`", path[..2].join("::"))));
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// If a `#[cfg(test)] mod … { … }` starts at `at`, the place after it.
fn test_module(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let starts = ["#", "[", "cfg", "(", "test", ")", "]"];
    let matches = starts
        .iter()
        .enumerate()
        .all(|(i, text)| tokens.get(at + i).is_some_and(|t| t.text == *text));
    let head = tokens.get(at + starts.len()..).filter(|_| matches)?;
    let open = head
        .iter()
        .position(|token| matches!(token.text, "{" | ";"))?;
    if head[open].text == ";" || !head[..open].iter().any(|token| token.text == "mod") {
        return None;
    }
    let mut depth = 0;
    for (i, token) in head.iter().enumerate().skip(open) {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + starts.len() + i + 1);
        }
    }
    None
}

/// Keys, commented-out ones included (`# key = value`), with a comment neither beside nor right above.
fn unexplained_keys(toml: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut above_is_comment = false;
    let mut brackets = 0;
    for (index, line) in toml.lines().enumerate() {
        let line = line.trim();
        let code = line.strip_prefix('#').unwrap_or(line).trim_start();
        let is_comment = line.starts_with('#');
        if let Some(key) = key_of(code).filter(|_| brackets == 0) {
            if !above_is_comment && !without_strings(code).contains('#') {
                found.push((index + 1, key.to_owned()));
            }
            above_is_comment = false;
        } else {
            above_is_comment = is_comment;
        }
        if !is_comment {
            let code = without_strings(line);
            let code = code.split('#').next().unwrap_or_default();
            let value = if brackets == 0 {
                code.split_once('=').map_or("", |(_, value)| value)
            } else {
                code
            };
            brackets += value.matches(['[', '{']).count();
            brackets = brackets.saturating_sub(value.matches([']', '}']).count());
        }
    }
    found
}

fn key_of(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim_end();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"');
    (!key.is_empty() && key.chars().all(plain)).then_some(key)
}

/// The line without what stands between quotes, so that a `#` left over starts a comment.
fn without_strings(line: &str) -> String {
    let mut quote = None;
    let mut kept = String::new();
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == '#' => return kept + "#",
            None => kept.push(c),
        }
    }
    kept
}

/// A text file of the tree, its path relative to the top.
struct File {
    path: String,
    text: String,
}

impl File {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, text)| (index + 1, text))
    }
}

fn rust_files(places: &[&str]) -> Vec<File> {
    files(places)
        .into_iter()
        .filter(|file| file.path.ends_with(".rs"))
        .collect()
}

/// The text files at or below these places, sorted; what doesn't exist is left out.
fn files(places: &[&str]) -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in places {
        walk(&top.join(place), top, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(place: &Path, top: &Path, found: &mut Vec<File>) {
    if place.is_dir() {
        let name = place
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if SKIPPED_DIRS.contains(&name) {
            return;
        }
        let entries =
            fs::read_dir(place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        for entry in entries.flatten() {
            walk(&entry.path(), top, found);
        }
    } else if let Ok(text) = fs::read_to_string(place) {
        let path = place
            .strip_prefix(top)
            .unwrap_or(place)
            .display()
            .to_string();
        found.push(File { path, text });
    }
}

/// The checks themselves: each finds what it should, and nothing else.
mod checks {
    use super::*;

    fn paths(text: &str, module: &str) -> Vec<String> {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        crate_paths(&lex(text), &module)
            .into_iter()
            .map(|(path, _)| path.join("::"))
            .collect()
    }

    fn impure(text: &str) -> Vec<String> {
        impurities(&lex(text))
            .into_iter()
            .map(|(_, what)| what)
            .collect()
    }

    #[test]
    fn paths_are_found_in_trees_expressions_and_through_super() {
        let tree = "use crate::{lock::Mode, sql::{self, name::Name as N}, wire::*}; fn f() { crate::pg::g() }";
        assert_eq!(
            paths(tree, "plan"),
            [
                "lock::Mode",
                "sql::self",
                "sql::name::Name",
                "wire::*",
                "pg::g"
            ]
        );
        assert_eq!(
            paths(
                "pub(crate) mod a { use super::b; use super::super::c; } use super::d;",
                "x::y"
            ),
            ["x::y::b", "x::c", "x::d"]
        );
        assert_eq!(paths("pub(in crate::sql) fn f() {}", "sql::name"), [""; 0]);
    }

    #[test]
    fn a_file_belongs_to_the_longest_unit_that_fits() {
        let unit = |path: &str| unit_of(&module_path(path)).map(|unit| unit.0);
        assert_eq!(unit("src/sql/name.rs"), Some("sql::name"));
        assert_eq!(unit("src/sql/mod.rs"), Some("sql"));
        assert_eq!(unit("src/audit/event.rs"), Some("audit::event"));
        assert_eq!(unit("src/lock.rs"), Some("lock"));
        assert_eq!(unit("src/locksmith.rs"), None);
    }

    #[test]
    fn a_wrong_import_is_reported_with_its_place() {
        let file = File {
            path: "src/exec/runner.rs".into(),
            text: "//! x\nuse crate::rules::judge;\n".into(),
        };
        let mut problems = Problems::default();
        check_imports(&file, &mut problems);
        assert_eq!(problems.0.len(), 1);
        assert!(
            problems.0[0].starts_with("src/exec/runner.rs:2: `exec` uses `rules`: "),
            "{}",
            problems.0[0]
        );
    }

    #[test]
    fn clocks_sockets_and_files_are_impure_outside_tests() {
        assert_eq!(
            impure("use std::{fmt, fs::File}; let x = std::env::var(y);"),
            ["`std::fs`", "`std::env`"]
        );
        assert_eq!(
            impure("async fn f(t: Instant) { tokio_util::x() }").len(),
            3
        );
        assert_eq!(
            impure("#[cfg(test)] mod tests { use std::fs; } use std::net;"),
            ["`std::net`"]
        );
        assert_eq!(impure("#[cfg(test)] use std::fs;"), ["`std::fs`"]);
        assert_eq!(impure("use std::time::Duration; // Instant"), [""; 0]);
    }

    #[test]
    fn keys_need_a_comment_above_or_beside() {
        let toml = "# the budget\nbudget = \"1s # no\"\nage = 1\n\nkeep = 2 # days\nlist = [\n  \"a = b\",\n]\n";
        let keys: Vec<String> = unexplained_keys(toml)
            .into_iter()
            .map(|(_, key)| key)
            .collect();
        assert_eq!(keys, ["age", "list"]);
    }
}
