//! lockkeeper's own database, and whether what was begun can be finished when a lockkeeper is killed.

use super::Report;
use crate::config::{Config, OnFailure};
use crate::proxy::operator::inspect::{self, Found, Owner, Owners};
use crate::proxy::operator::journal::Trouble;
use crate::sql::name::quote_identifier;

/// About lockkeeper's own database.
const JOURNAL: &str = "journal";
/// About finishing what others began.
const RECOVERY: &str = "recovery";
/// Roles that are told one by one.
const MAX_ROLES: usize = 10;
/// Databases of a role that are named.
const MAX_NAMES: usize = 3;
/// Where all of it is explained.
const PAGE: &str = "docs/operator.md";

/// Looks as the operator, who can log in.
pub(super) async fn examine(report: &mut Report, config: &Config) {
    if config.operator.database.is_empty() {
        let message = "operator.database is empty: nothing is written down of plans, so that nobody finishes what a \
                       killed lockkeeper leaves, and several lockkeepers have queues of their own";
        return report.warn(JOURNAL, message, &format!("name a database ({PAGE})"));
    }
    own_database(report, config).await;
    match inspect::owners(config).await {
        Ok(owners) => {
            logins(report, config, &owners).await;
            recovery(report, config, &owners);
        }
        Err(why) => report.warn(
            RECOVERY,
            format!("who owns tables can't be asked: {why}"),
            "see the server's log",
        ),
    }
}

async fn own_database(report: &mut Report, config: &Config) {
    let name = quote_identifier(&config.operator.database);
    match inspect::own_database(config).await {
        Ok(own) if own.is_open => report.warn(
            JOURNAL,
            format!("everybody may connect to database {name}; lockkeeper changes that when it starts"),
            &format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC;"),
        ),
        Ok(own) => match own.found {
            Found::Nothing => {
                let message = format!("database {name} isn't there yet: lockkeeper makes it when it starts");
                report.ok(JOURNAL, message);
            }
            Found::Unfinished => report.ok(
                JOURNAL,
                format!("database {name} is there; lockkeeper makes its tables when it starts"),
            ),
            Found::Everything => {
                report.ok(JOURNAL, format!("database {name} is lockkeeper's alone, and can be written"));
            }
        },
        // There is no journal then, and schema changes run all the same.
        Err(Trouble::Login(why)) => report.warn(
            JOURNAL,
            format!("the operator can't log in to database {name}: {why}; until it can, there is no journal"),
            &format!("let it in there: pg_hba.conf, and its right to connect ({PAGE})"),
        ),
        Err(trouble) => {
            let remedy = trouble.remedy();
            let remedy = remedy.unwrap_or_else(|| format!("see the server's log, and {PAGE}"));
            match config.audit.on_failure {
                OnFailure::Refuse => {
                    let message = format!("{}; until then schema changes are refused (LK003)", trouble.what());
                    report.fail(JOURNAL, message, &remedy);
                }
                OnFailure::Continue => report.warn(JOURNAL, trouble.what(), &remedy),
            }
        }
    }
}

/// Each URL of `operator.logins`, in a database where its role owns something.
async fn logins(report: &mut Report, config: &Config, owners: &Owners) {
    for (role, url) in &config.operator.logins {
        let owner = owners.roles.get(role);
        let database = owner.and_then(|owner| owner.databases.first());
        let key = format!("operator.logins.{role}");
        match inspect::role_login(config, role, url, database.map(String::as_str)).await {
            Err(why) => report.fail(
                RECOVERY,
                format!("{key}: {why}"),
                "see its user and password, and pg_hba.conf",
            ),
            Ok(login) if !login.has_role => report.warn(
                RECOVERY,
                format!("{key}: there is no role {}", quote_identifier(role)),
                "the key is the name of a role, as the server has it",
            ),
            Ok(login) if !login.may_act => report.fail(
                RECOVERY,
                format!(
                    "{key} logs in as {}, who may not do what {role} may",
                    login.user
                ),
                "the URL must log in as that role",
            ),
            Ok(login) if login.is_superuser && login.user != *role => report.warn(
                RECOVERY,
                format!(
                    "{key} logs in as {}, a superuser: what runs there may run code of others'",
                    login.user
                ),
                "the URL should log in as that role",
            ),
            Ok(login) => report.ok(RECOVERY, format!("{key} logs in as {}", login.user)),
        }
    }
}

/// Whether the operator could take the place of those who own tables.
fn recovery(report: &mut Report, config: &Config, owners: &Owners) {
    let operator = quote_identifier(&owners.operator);
    if !owners.may_signal {
        report.warn(
            RECOVERY,
            format!("{operator} isn't a member of pg_signal_backend: server processes that go on when a lockkeeper is \
                     killed can't be ended, and are waited for"),
            &format!("GRANT pg_signal_backend TO {operator};"),
        );
    }
    let has_login = |role: &str| config.operator.logins.contains_key(role);
    let helpless = owners
        .roles
        .iter()
        .filter(|(role, owner)| !owner.may_act && !has_login(role));
    let helpless: Vec<(&String, &Owner)> = helpless.collect();
    for (role, owner) in helpless.iter().take(MAX_ROLES) {
        let remedy = remedy(config, owners, role, owner);
        let role = quote_identifier(role);
        let message = format!(
            "{role} owns tables in {}, and {operator} can't take its place: what {role} began isn't finished or taken \
             back when a lockkeeper is killed",
            some(&owner.databases)
        );
        report.warn(RECOVERY, message, &remedy);
    }
    if let Some(more) = helpless
        .len()
        .checked_sub(MAX_ROLES)
        .filter(|more| *more > 0)
    {
        let message = format!("the same of {more} more roles");
        report.warn(RECOVERY, message, &format!("as above ({PAGE})"));
    }
    if helpless.is_empty() {
        let message = match owners.roles.len() {
            0 => "no role owns tables yet".to_owned(),
            count => format!("all {count} roles that own tables can be acted for"),
        };
        report.ok(RECOVERY, message);
    }
    if !owners.unseen.is_empty() {
        let names: Vec<String> = owners.unseen.iter().map(|(name, _)| name.clone()).collect();
        let why = owners.unseen.first().map_or("", |(_, why)| why.as_str());
        report.warn(
            RECOVERY,
            format!("{operator} can't look into {}: {why}", some(&names)),
            "where schema changes are made there, let it connect: GRANT CONNECT ON DATABASE, and pg_hba.conf",
        );
    }
    if owners.has_more {
        let message = "not all databases were looked into: there are too many";
        report.warn(
            RECOVERY,
            message,
            &format!("GRANT the owners of tables there by hand ({PAGE})"),
        );
    }
}

fn remedy(config: &Config, owners: &Owners, role: &str, owner: &Owner) -> String {
    let (quoted, operator) = (quote_identifier(role), quote_identifier(&owners.operator));
    let login = format!(
        "operator.logins = {{ {} = \"postgres://{role}:…@{}\" }}",
        toml_key(role),
        host(config)
    );
    if owner.is_superuser {
        // Membership would make the operator a superuser as well.
        return format!("have its tables owned by another role, or {login} in the settings");
    }
    let options = if owners.has_set_option {
        " WITH SET TRUE, INHERIT FALSE"
    } else {
        ""
    };
    format!("GRANT {quoted} TO {operator}{options}; or {login} in the settings ({PAGE})")
}

/// Where the server is, as a URL has it.
fn host(config: &Config) -> &str {
    let address = config.upstream.address.as_str();
    if address.starts_with('/') {
        "…" // a socket's directory doesn't stand there as it is
    } else {
        address
    }
}

/// A name as a key of TOML.
fn toml_key(name: &str) -> String {
    let is_bare = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_bare && !name.is_empty() {
        name.to_owned()
    } else {
        serde_json::to_string(name).unwrap_or_default()
    }
}

/// Some names, and how many more there are.
fn some(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(MAX_NAMES)
        .map(|name| quote_identifier(name))
        .collect();
    let shown = shown.join(", ");
    match names.len().checked_sub(MAX_NAMES) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        Some(_) | None => shown,
    }
}
