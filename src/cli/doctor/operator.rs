//! lockkeeper's own login: whether it can log in, and what it may not do.

use super::{Report, journal};
use crate::config::Config;
use crate::proxy::operator::{DEFAULT_USER, NO_LOOK, log_in};
use crate::proxy::setup::Setup;

const CHECK: &str = "operator";

/// Logs in as `serve` does, and asks for the role's rights.
pub(super) async fn examine(report: &mut Report, config: &Config) {
    if config.operator.is_off() {
        let remedy = "name a login with pg_monitor as operator.url (docs/operator.md)";
        return report.warn(CHECK, format!("there is none: {NO_LOOK}"), remedy);
    }
    let setup = match Setup::new(config.clone()) {
        Ok(setup) => setup,
        Err(error) => return report.fail(CHECK, error, "see listen and upstream"),
    };
    let logged_in = log_in(&setup).await;
    let is_in = logged_in.is_ok();
    match logged_in {
        Ok((_, lacks)) if lacks.is_empty() => report.ok(CHECK, "it can log in, and has its rights"),
        Ok((_, lacks)) => report.warn(
            CHECK,
            format!("it can log in, but lacks rights: {}", lacks.join("; ")),
            "GRANT pg_monitor, pg_signal_backend TO that role (docs/operator.md)",
        ),
        Err(why) if config.operator.url.is_some() => report.fail(
            CHECK,
            format!("it can't log in: {why}; until it can, {NO_LOOK}"),
            "see operator.url, LOCKKEEPER_OPERATOR_PASSWORD and pg_hba.conf (docs/operator.md)",
        ),
        Err(why) => report.warn(
            CHECK,
            format!("{DEFAULT_USER} can't log in: {why}; until somebody can, {NO_LOOK}"),
            "name a login with pg_monitor as operator.url (docs/operator.md)",
        ),
    }
    if is_in {
        journal::examine(report, config).await;
    }
}
