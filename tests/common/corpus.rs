//! Statements to read and to judge: those of `tests/statements` and, where they were fetched (`make regress`),
//! PostgreSQL's own regression files.

use std::fs;
use std::path::{Path, PathBuf};

use lockkeeper::sql::lexer::{self, LexicalMode};

/// The SQL files at hand.
pub(crate) fn files() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/statements");
    let fetched =
        std::env::var_os("LOCKKEEPER_TEST_REGRESS").map(|suite| Path::new(&suite).join("sql"));
    let mut files = Vec::new();
    for folder in [Some(own), fetched].into_iter().flatten() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    files
}

/// The statements of a file, without the commands of psql and without data.
pub(crate) fn statements(path: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    // Our own files have a statement a paragraph.
    let text = if path.ends_with(Path::new("statements").join(path.file_name().unwrap())) {
        text.replace("\n\n", "\n;\n")
    } else {
        text
    };
    let mut copying = false;
    let mut kept = String::new();
    for line in text.lines() {
        if copying {
            copying = line != "\\.";
            continue;
        }
        if line.trim_start().starts_with('\\') {
            continue;
        }
        let lower = line.to_ascii_lowercase();
        copying = lower.starts_with("copy ") && lower.contains("from stdin");
        kept.push_str(line);
        kept.push('\n');
    }
    lexer::statement_starts(kept.as_bytes(), LexicalMode::default())
        .iter()
        .filter_map(|start| kept.get(start.offset..start.end))
        .map(str::to_owned)
        .collect()
}
