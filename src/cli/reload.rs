//! SIGHUP and the console's RELOAD: settings, certificates and the audit file are read or opened again.

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::serve::{self, SetLevel};
use super::service;
use crate::config::changes::Change;
use crate::config::{Config, ConfigError};
use crate::console::ReloadRequest;
use crate::server::Reloader;

/// Reloads with each signal and each request, until dropped.
pub async fn follow(
    mut hangup: Signal,
    mut requests: mpsc::Receiver<ReloadRequest>,
    load: impl Fn() -> Result<Config, ConfigError>,
    reloader: Reloader,
    set_level: SetLevel,
) {
    loop {
        let request = tokio::select! {
            heard = hangup.recv() => match heard {
                Some(()) => None,
                None => return,
            },
            Some(request) = requests.recv() => Some(request),
        };
        service::reloading();
        let result = reload(&load, &reloader, &set_level);
        let outcome = match &result {
            Ok(_) => "done",
            Err(why) => {
                tracing::error!("not reloaded, the old settings stay: {why}");
                "refused"
            }
        };
        metrics::counter!("lockkeeper_reloads_total", "outcome" => outcome).increment(1);
        service::reloaded();
        if let Some(request) = request {
            request.answer(result);
        }
    }
}

fn reload(
    load: impl Fn() -> Result<Config, ConfigError>,
    reloader: &Reloader,
    set_level: &SetLevel,
) -> Result<Vec<Change>, String> {
    let config = load().map_err(|error| error.to_string())?;
    serve::filter(&config.log.level)?; // nothing is changed before all of it is known to be good
    let level = config.log.level.clone();
    let changes = reloader.reload(config).map_err(|error| error.to_string())?;
    set_level(&level)?;
    if changes.is_empty() {
        tracing::info!("reloaded: nothing has changed");
    }
    for change in &changes {
        let (before, now) = (&change.before, &change.now);
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
    Ok(changes)
}
