//! Programs that run beside a benchmark, and end with it.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a program may take to listen.
const LISTEN_LIMIT: Duration = Duration::from_secs(20);

/// A program under way; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Background {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts it; what it prints goes to the file `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let file = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("run {command:?}"))?;
        Ok(Self { child, log })
    }

    /// Waits until it accepts connections; `name` is what an error calls it.
    pub(crate) fn until_it_listens(&mut self, name: &str, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + LISTEN_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait()?.is_some();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(&self.log)?;
                bail!("{name} doesn't listen:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that is killed when this process ends, however that comes about.
pub(crate) fn bound_command(program: &Path) -> Command {
    let mut command = clean_command("setpriv");
    command.args(["--pdeathsig=KILL", "--"]).arg(program);
    command
}

/// A program without the settings of whoever runs this.
pub(crate) fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("LOCKKEEPER__") {
            command.env_remove(&name);
        }
    }
    command
}
