//! What Linux says of a process: CPU time, context switches, memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// What a process has used up to a moment, all threads together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) at: Instant,
    /// On a CPU, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// How often it gave up the CPU to wait.
    pub(crate) switches: u64,
}

impl Used {
    /// Reads it for a process, or only the time without one.
    pub(crate) fn now(process: Option<u32>) -> anyhow::Result<Used> {
        let mut used = Used {
            at: Instant::now(),
            cpu: Duration::ZERO,
            switches: 0,
        };
        let Some(process) = process else {
            return Ok(used);
        };
        let tasks = format!("/proc/{process}/task");
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            let task = task?.path();
            // A thread may end between the listing and the reading. proc(5): schedstat begins with
            // the nanoseconds spent on a CPU.
            let Ok(schedstat) = read(&task.join("schedstat")) else {
                continue;
            };
            let nanoseconds = schedstat.split_whitespace().next().unwrap_or_default();
            used.cpu += Duration::from_nanos(nanoseconds.parse().context("schedstat")?);
            let status = read(&task.join("status")).unwrap_or_default();
            used.switches += field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
        }
        Ok(used)
    }
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    /// RSS with what is shared divided among those who share it.
    pub(crate) pss: u64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> anyhow::Result<Memory> {
        let text = read(Path::new(&format!("/proc/{process}/smaps_rollup")))?;
        let get = |name| field(&text, name).ok_or_else(|| anyhow!("no {name} in smaps_rollup"));
        Ok(Memory {
            rss: get("Rss:")?,
            pss: get("Pss:")?,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// The number after a line's name.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
