//! `lockkeeper audit verify`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::lines::Lines;
use super::show;
use crate::audit::chain::Hash;
use crate::audit::chain::check::{Check, Checked, Joint, Problem};
use crate::cli::unusable;

/// Flags of `lockkeeper audit verify`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Audit files, oldest first; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A checkpoint, the last hash printed earlier: the first file must continue it, or have the line that ends with it
    #[arg(long, value_name = "HASH")]
    from: Option<Hash>,
}

/// Checks files: exit 0 when all is well, 1 when a chain is broken, 2 when something can't be read.
pub(super) fn main(flags: &Flags) -> ExitCode {
    match verify(flags) {
        Ok((report, is_whole)) => match show::put(&report) {
            Ok(()) if is_whole => ExitCode::SUCCESS,
            Ok(()) => ExitCode::FAILURE,
            Err(why) => unusable(why),
        },
        Err(why) => unusable(why),
    }
}

/// The report, and whether all is well.
fn verify(flags: &Flags) -> Result<(String, bool), String> {
    let mut report = String::new();
    let mut is_whole = true;
    let mut before: Vec<Checked> = Vec::new();
    let mut previous: Option<&Path> = None;
    for (at, path) in flags.files.iter().enumerate() {
        let checkpoint = flags.from.filter(|_| at == 0);
        let checked = check(path, checkpoint)?;
        say(&mut report, path, &checked);
        is_whole &= checked.problems.is_empty();
        if let Some(checkpoint) = checkpoint.filter(|_| !checked.has_checkpoint) {
            is_whole = false;
            let name = path.display();
            let why = format!(
                "{name}:1: neither continues the checkpoint {checkpoint} nor has a line that ends with it"
            );
            broken(&mut report, &why);
        }
        if let (Some(previous), Some(before)) = (previous, before.last()) {
            is_whole &= join(&mut report, (previous, before), (path, &checked));
        }
        for (line, left) in checked.strays(&before) {
            is_whole = false;
            let name = path.display();
            let why = format!(
                "{name}:{line}: a program goes on here that had left a file with the line of hash {left}, which is in \
                 none of these: it was taken away, or the file before this one is to be named too"
            );
            broken(&mut report, &why);
        }
        if checked.last.is_some() {
            previous = Some(path);
            before.push(checked);
        }
    }
    Ok((report, is_whole))
}

fn check(path: &Path, checkpoint: Option<Hash>) -> Result<Checked, String> {
    let mut lines = Lines::of(path)?;
    let mut check = Check::new(checkpoint);
    while let Some((line, is_ended)) = lines.next()? {
        check.line(line, is_ended);
    }
    let checked = check.finish();
    if checked.lines > 0 && checked.chained == 0 {
        return Err(format!(
            "{}: no line of it has a hash: it isn't an audit file, or of a version that wrote none",
            path.display()
        ));
    }
    Ok(checked)
}

fn say(report: &mut String, path: &Path, checked: &Checked) {
    let name = path.display();
    let times = match (&checked.first_time, &checked.last_time) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    line(report, &format!("{name}: {} lines{times}", checked.lines));
    if let Some(last) = checked.last {
        line(report, &format!("  last hash {last}"));
    }
    if checked.unchained > 0 {
        let count = checked.unchained;
        line(
            report,
            &format!("  {count} lines before the chain begins, of a version that wrote no hashes"),
        );
    }
    if let Some(first) = checked.first_torn {
        let count = checked.torn;
        line(
            report,
            &format!("  {count} torn (a crash, a full disk), the first at {name}:{first}"),
        );
    }
    if checked.last.is_some() && !checked.is_ended {
        line(
            report,
            "  no end event: the program was killed, or still writes this file",
        );
    }
    for Problem { line, wrong } in &checked.problems {
        broken(report, &format!("{name}:{line}: {wrong}"));
    }
    if checked.more_problems > 0 {
        broken(
            report,
            &format!("{name}: {} more lines are wrong", checked.more_problems),
        );
    }
}

/// Says how a file follows the one before; whether it does.
fn join(
    report: &mut String,
    (previous, before): (&Path, &Checked),
    (path, checked): (&Path, &Checked),
) -> bool {
    let (name, previous) = (path.display(), previous.display());
    match checked.follows(before) {
        Ok(Joint::Whole) => true,
        Ok(Joint::Overhang) => {
            let what = format!(
                "  another program wrote on in {previous} after {name} was begun: nothing here vouches for those lines"
            );
            line(report, &what);
            true
        }
        Err(wrong) => {
            let at = checked.unchained + 1;
            broken(report, &format!("{name}:{at}: {wrong} ({previous})"));
            false
        }
    }
}

fn broken(report: &mut String, what: &str) {
    line(report, &format!("broken: {what}"));
}

fn line(report: &mut String, what: &str) {
    let _ = writeln!(report, "{what}"); // a String takes everything
}
