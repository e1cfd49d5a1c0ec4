//! Where and with what was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A line of versions and one of the machine, the latter with how busy it is at this moment.
pub(crate) fn describe(versions: &[String]) -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}.\n{cores} × {model}; load average before: {}.\n\n",
        versions.join("; "),
        load_average()
    )
}

/// The first line of what a program says of itself.
pub(crate) fn version(binary: &Path, flag: &str) -> String {
    let output = Command::new(binary).arg(flag).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// How many processes ran or wanted to, over the last minute.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
