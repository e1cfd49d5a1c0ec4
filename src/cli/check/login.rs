//! A read-only login for facts.

use crate::config::Config;
use crate::pg::login::Login;
use crate::proxy::operator;

/// Who logs in, and where: the policy may speak of them.
#[derive(Debug, Default)]
pub(super) struct Who {
    pub(super) user: String,
    pub(super) database: String,
}

/// Logs in. No message of it repeats the URL, which may hold a password.
pub(super) async fn log_in(url: &str, config: &Config) -> Result<(Login, Who), String> {
    let mut login = operator::checked_url("--database-url", url)?;
    if login.get_password().is_none()
        && let Some(password) = std::env::var_os("PGPASSWORD")
    {
        login.password(password.to_string_lossy().as_ref());
    }
    if login.get_user().is_none() {
        let user = std::env::var("PGUSER").or_else(|_| std::env::var("USER"));
        login.user(user.unwrap_or_else(|_| "postgres".to_owned()));
    }
    let own = login.get_options().unwrap_or_default();
    login.options(format!("{own} -c default_transaction_read_only=on"));
    login.application_name("lockkeeper check");
    let upstream = operator::upstream(&login, &config.upstream)?;
    let session = operator::connect(&login, &upstream, config.limits.startup_time).await?;
    let user = login.get_user().unwrap_or_default().to_owned();
    let who = Who {
        database: login.get_dbname().unwrap_or(&user).to_owned(),
        user,
    };
    Ok((session, who))
}
