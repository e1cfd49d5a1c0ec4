//! `lockkeeper doctor`: looks at the settings, this machine and the server as `serve` would meet them, and says what
//! won't work and what to do. It changes nothing.

mod journal;
mod local;
mod login;
mod operator;
mod upstream;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use super::{serve, unusable};
use crate::config::Config;

/// Flags of `lockkeeper doctor`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    #[command(flatten)]
    serve: serve::Flags,
    /// A login for more questions: version, connection limits, pg_hba.conf. User, password and database of
    /// this URL are used, on upstream.address
    #[arg(
        long,
        value_name = "URL",
        env = "LOCKKEEPER_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Lines for people, or an array of objects
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at: a setting's section or name.
    check: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// What was found, in the order in which it was looked at.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn ok(&mut self, check: &'static str, message: impl Display) {
        self.add(Level::Ok, check, message, None);
    }

    fn warn(&mut self, check: &'static str, message: impl Display, remedy: &str) {
        self.add(Level::Warn, check, message, Some(remedy));
    }

    fn fail(&mut self, check: &'static str, message: impl Display, remedy: &str) {
        self.add(Level::Fail, check, message, Some(remedy));
    }

    fn add(
        &mut self,
        level: Level,
        check: &'static str,
        message: impl Display,
        remedy: Option<&str>,
    ) {
        self.findings.push(Finding {
            level,
            check,
            message: message.to_string(),
            remedy: remedy.map(str::to_owned),
        });
    }

    fn has_failed(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.level == Level::Fail)
    }

    fn write(&self, format: Format, out: &mut impl Write) -> std::io::Result<()> {
        if format == Format::Json {
            serde_json::to_writer_pretty(&mut *out, &self.findings)?;
            return writeln!(out);
        }
        for finding in &self.findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "fail",
            };
            write!(out, "{level:<5} {:<12} {}", finding.check, finding.message)?;
            match &finding.remedy {
                Some(remedy) => writeln!(out, " -> {remedy}")?,
                None => writeln!(out)?,
            }
        }
        Ok(())
    }
}

/// Exit 0: nothing fails; 1: something does; 2: the settings can't be used.
pub fn main(flags: Flags) -> ExitCode {
    let config = match serve::settings(&flags.serve) {
        Ok(config) => config,
        Err(error) => return unusable(error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return unusable(error),
    };
    let report = runtime.block_on(examine(&config, flags.database_url.as_deref()));
    if let Err(error) = report.write(flags.format, &mut std::io::stdout()) {
        return unusable(error);
    }
    if report.has_failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn examine(config: &Config, database_url: Option<&str>) -> Report {
    let mut report = Report::default();
    report.ok("settings", "they can be used");
    local::addresses(&mut report, config).await;
    local::descriptors(&mut report, config);
    local::certificate(&mut report, &config.listen);
    local::audit(&mut report, config);
    if let Some(server) = upstream::reach(&mut report, config).await {
        upstream::encryption(&mut report, config, &server).await;
        upstream::trust(&mut report, config, &server).await;
        operator::examine(&mut report, config).await;
        if let Some(url) = database_url {
            login::examine(&mut report, config, &server, url).await;
        }
    }
    report
}
