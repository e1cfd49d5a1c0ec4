//! The list of the protocol's traps names real tests.

use std::collections::BTreeSet;

use super::{Problems, files, module_path, rust_files};

#[test]
fn every_trap_of_the_protocol_names_a_test_that_exists() {
    let names = test_names();
    let mut problems = Problems::default();
    for file in files(&["docs/protocol.md"]) {
        for (line, text) in file.lines() {
            let cells: Vec<&str> = text.trim_matches('|').split(" | ").collect();
            let [_, _, tests] = cells[..] else { continue };
            if tests.trim_matches(' ').is_empty() {
                problems.add(
                    &file,
                    line,
                    "a trap without a test",
                    "name one, or say why there is none",
                );
            }
            let named = tests.split('`').skip(1).step_by(2);
            for name in named.filter(|name| name.contains("::") && !names.contains(*name)) {
                problems.add(
                    &file,
                    line,
                    &format!("no test `{name}`"),
                    "name one that exists",
                );
            }
        }
    }
    problems.assert_none();
}

/// Every test as `module::test`: of `src` from the crate's root, without a closing `tests`; of `tests/it` and the other
/// suites from their folder.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in rust_files(&["src", "tests"]) {
        let inside = file
            .path
            .trim_start_matches("tests/")
            .trim_start_matches("it/");
        let mut module = module_path(inside);
        if file.path.starts_with("src/") {
            module = module_path(&file.path);
        }
        let mut attribute = false;
        for (_, text) in file.lines() {
            let text = text.trim_start();
            attribute |= text == "#[test]";
            if let Some(name) = text.strip_prefix("fn ").filter(|_| attribute) {
                let name = name.split('(').next().unwrap_or_default();
                names.insert(format!("{}::{name}", module.join("::")));
                attribute = false;
            }
        }
    }
    names
}
