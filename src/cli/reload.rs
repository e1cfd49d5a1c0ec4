//! SIGHUP: settings, certificates and the audit file are read or opened again.

use tokio::signal::unix::Signal;

use super::serve::{self, SetLevel};
use super::service;
use crate::config::{Config, ConfigError};
use crate::server::Reloader;

/// Reloads with each signal, until dropped.
pub async fn follow(
    mut hangup: Signal,
    load: impl Fn() -> Result<Config, ConfigError>,
    reloader: Reloader,
    set_level: SetLevel,
) {
    while hangup.recv().await.is_some() {
        service::reloading();
        let outcome = match reload(&load, &reloader, &set_level) {
            Ok(()) => "done",
            Err(why) => {
                tracing::error!("not reloaded, the old settings stay: {why}");
                "refused"
            }
        };
        metrics::counter!("lockkeeper_reloads_total", "outcome" => outcome).increment(1);
        service::reloaded();
    }
}

fn reload(
    load: impl Fn() -> Result<Config, ConfigError>,
    reloader: &Reloader,
    set_level: &SetLevel,
) -> Result<(), String> {
    let config = load().map_err(|error| error.to_string())?;
    serve::filter(&config.log.level)?; // nothing is changed before all of it is known to be good
    let level = config.log.level.clone();
    let changes = reloader.reload(config).map_err(|error| error.to_string())?;
    set_level(&level)?;
    if changes.is_empty() {
        tracing::info!("reloaded: nothing has changed");
    }
    for change in changes {
        let (before, now) = (change.before, change.now);
        if change.needs_restart {
            tracing::warn!(
                before,
                now,
                "reloaded: {} takes effect with a restart only",
                change.what
            );
        } else {
            tracing::info!(before, now, "reloaded: {} has changed", change.what);
        }
    }
    Ok(())
}
