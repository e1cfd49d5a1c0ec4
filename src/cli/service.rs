//! Talking to systemd (`sd_notify(3)`, `Type=notify`): ready, reloading, stopping, alive. Without
//! `NOTIFY_SOCKET` all of it does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

/// The status after SIGTERM.
pub const DRAINING: &str = "draining: sessions end when they stand idle";

/// How often the status is told when there is no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// What ending may take beyond `shutdown.grace`.
const STOP_RESERVE: Duration = Duration::from_secs(15);

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd (NOTIFY_SOCKET) can't be told");
    }
}

/// Clients can connect.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The settings have been read again, taken or not.
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The settings are being read again; [`reloaded`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "no clock to tell systemd of a reload"),
    }
}

/// No new clients; sessions may take `grace` to end, so systemd must wait for as long.
pub fn stopping(grace: Duration) {
    let longest = (grace + STOP_RESERVE).as_micros();
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status(DRAINING),
        NotifyState::ExtendTimeoutUsec(u32::try_from(longest).unwrap_or(u32::MAX)),
    ]);
}

/// Tells again and again that the thread which accepts clients is alive, and how many clients there are; never ends.
/// `status` says what it does.
pub async fn keep_telling(status: watch::Receiver<String>, clients: Arc<AtomicUsize>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let interval = watchdog.map_or(STATUS_INTERVAL, |limit| limit / 3);
    loop {
        tokio::time::sleep(interval).await;
        let count = clients.load(Ordering::Acquire);
        let status = format!("{}; clients: {count}", *status.borrow());
        tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    }
}
