//! The scripts that the command line names: files, directories, patterns, standard input.

use std::cmp::Ordering;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The name of standard input.
pub(super) const STDIN: &str = "-";

/// A script to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    Stdin,
    File(PathBuf),
}

impl Input {
    /// The name in reports.
    pub(super) fn name(&self) -> String {
        match self {
            Input::Stdin => STDIN.to_owned(),
            Input::File(path) => path.display().to_string(),
        }
    }

    /// Its text. Bytes that are no UTF-8 are replaced: names with such bytes are read wrong, nothing
    /// else is.
    pub(super) fn read(&self) -> Result<String, String> {
        let bytes = match self {
            Input::Stdin => {
                let mut bytes = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut bytes)
                    .map_err(|error| format!("standard input: {error}"))?;
                bytes
            }
            Input::File(path) => {
                std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
    }
}

/// The scripts that the arguments name, in order; of a directory or a pattern in the order of their
/// names, numbers by value.
pub(super) fn find(arguments: &[String]) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if argument == STDIN {
            inputs.push(Input::Stdin);
        } else if path.is_dir() {
            let mut found = Vec::new();
            walk(path, &mut found).map_err(|error| format!("{argument}: {error}"))?;
            inputs.extend(sorted(found, argument, "no *.sql file in it")?);
        } else if path.exists() || !argument.contains(['*', '?', '[']) {
            inputs.push(Input::File(path.to_owned()));
        } else {
            let paths = glob::glob(argument).map_err(|error| format!("{argument}: {error}"))?;
            let found = paths.flatten().filter(|path| path.is_file()).collect();
            inputs.extend(sorted(found, argument, "no file fits the pattern")?);
        }
    }
    Ok(inputs)
}

fn sorted(mut found: Vec<PathBuf>, argument: &str, none: &str) -> Result<Vec<Input>, String> {
    if found.is_empty() {
        return Err(format!("{argument}: {none}"));
    }
    found.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(found.into_iter().map(Input::File).collect())
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("sql"))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Compares names so that `V2` comes before `V10`.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left_rest, mut right_rest) = (left, right);
    loop {
        let (a, b) = (chunk(left_rest), chunk(right_rest));
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len()).then_with(|| left.cmp(right));
        }
        let digits = |text: &str| text.starts_with(|letter: char| letter.is_ascii_digit());
        let order = if digits(a) && digits(b) {
            let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            a.cmp(b)
        };
        if order != Ordering::Equal {
            return order;
        }
        left_rest = left_rest.get(a.len()..).unwrap_or_default();
        right_rest = right_rest.get(b.len()..).unwrap_or_default();
    }
}

/// The digits at the front, or one other character.
fn chunk(text: &str) -> &str {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.get(..digits.max(first)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_value() {
        let mut names = [
            "V10__b.sql",
            "V2__a.sql",
            "V1.sql",
            "V002.sql",
            "a/3.sql",
            "a/12.sql",
        ];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            [
                "V1.sql",
                "V002.sql",
                "V2__a.sql",
                "V10__b.sql",
                "a/3.sql",
                "a/12.sql"
            ]
        );
    }

    #[test]
    fn directories_and_patterns_name_scripts() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display().to_string();
        for name in ["10.sql", "9.SQL", "notes.txt", "sub/1.sql"] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "select 1").unwrap();
        }
        let names = |argument: &str| -> Result<Vec<String>, String> {
            let found = find(&[argument.to_owned()])?;
            let relative = |input: &Input| input.name().replace(&format!("{root}/"), "");
            Ok(found.iter().map(relative).collect())
        };
        assert_eq!(names(&root).unwrap(), ["9.SQL", "10.sql", "sub/1.sql"]);
        assert_eq!(names(&format!("{root}/*.sql")).unwrap(), ["10.sql"]);
        assert!(
            names(&format!("{root}/*.psql"))
                .unwrap_err()
                .contains("no file fits")
        );
        assert_eq!(names("-").unwrap(), ["-"]);
        let missing = find(&["missing.sql".to_owned()]).unwrap();
        assert!(missing[0].read().unwrap_err().contains("missing.sql"));
    }
}
