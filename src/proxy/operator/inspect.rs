//! Whether lockkeeper's own database can be used, and for whom the operator could finish what was begun. Nothing is
//! made or changed: this is for those who look before they start.

use std::collections::BTreeMap;

use super::journal::{Database, IS_READ_ONLY, NO_SUCH_DATABASE, Trouble, ask, user};
use super::login;
use crate::config::Config;
use crate::config::locks::DEFAULT_DATABASE;
use crate::exec::session::{Command, Session, says_true};
use crate::journal::statements::MIGRATIONS;
use crate::pg::login::Login;
use crate::sql::name::quote_identifier;

/// Databases that are looked into.
const MAX_DATABASES: usize = 50;
/// As what its sessions are known to the server.
const APPLICATION: &str = "lockkeeper doctor";

/// What there is of lockkeeper's own database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: lockkeeper makes it when it starts, and may.
    Nothing,
    /// The database, without all of its tables: lockkeeper makes them when it starts, and may.
    Unfinished,
    /// All.
    Everything,
}

/// lockkeeper's own database, as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnDatabase {
    /// What there is.
    pub found: Found,
    /// Everybody may connect: lockkeeper changes that when it starts, and may.
    pub is_open: bool,
}

/// Looks at lockkeeper's own database.
///
/// # Errors
/// [`Trouble`]: why it couldn't be used.
pub async fn own_database(config: &Config) -> Result<OwnDatabase, Trouble> {
    let name = &config.operator.database;
    let mut login = match login::open(config, APPLICATION, Some(name)).await {
        Ok(login) => login,
        Err(unopened) if unopened.sqlstate.as_deref() == Some(NO_SUCH_DATABASE) => {
            may_create(config, name).await?;
            return Ok(OwnDatabase {
                found: Found::Nothing,
                is_open: false,
            });
        }
        Err(unopened) => return Err(Trouble::Login(unopened.why)),
    };
    let database = Database::of(name, &mut login).await?;
    is_primary(&mut login).await?;
    let is_open = database.is_open(&mut login).await?;
    if is_open && !says_true(&ask(&mut login, Command::own(OWNS_SQL)).await?) {
        return Err(Trouble::Open {
            database: database.name,
        });
    }
    database.without_strangers(&mut login).await?;
    let found = if database.version(&mut login).await? < MIGRATIONS.len() {
        if !says_true(&ask(&mut login, Command::own(MAY_MAKE_SQL)).await?) {
            return Err(Trouble::MayNotMakeSchema {
                database: database.name,
                user: database.user,
                why: "it has no right to CREATE there, or doesn't own schema lockkeeper".to_owned(),
            });
        }
        Found::Unfinished
    } else {
        database.can_be_written(&mut login).await?;
        Found::Everything
    };
    Ok(OwnDatabase { found, is_open })
}

/// Whether the operator owns the database, and so may say who connects.
const OWNS_SQL: &str = "
SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database()";

/// Whether it may make the schema, or bring it to the next version.
const MAY_MAKE_SQL: &str = "
SELECT coalesce((SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace n WHERE n.nspname = 'lockkeeper'),
                has_database_privilege(current_database(), 'CREATE'))";

const MAY_CREATE_SQL: &str =
    "SELECT r.rolcreatedb OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user";

async fn may_create(config: &Config, name: &str) -> Result<(), Trouble> {
    let mut login = login::open(config, APPLICATION, None)
        .await
        .map_err(|unopened| Trouble::Login(unopened.why))?;
    is_primary(&mut login).await?;
    if says_true(&ask(&mut login, Command::own(MAY_CREATE_SQL)).await?) {
        return Ok(());
    }
    Err(Trouble::MayNotCreate {
        database: quote_identifier(name),
        user: quote_identifier(&user(&mut login).await?),
        why: "it has neither CREATEDB nor SUPERUSER".to_owned(),
    })
}

async fn is_primary(login: &mut Login) -> Result<(), Trouble> {
    const SQL: &str =
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
    if says_true(&ask(login, Command::own(SQL)).await?) {
        return Err(Trouble::Other(IS_READ_ONLY.to_owned()));
    }
    Ok(())
}

/// A role that owns tables, and so can change them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// The databases in which it does.
    pub databases: Vec<String>,
    /// It is a superuser.
    pub is_superuser: bool,
    /// The operator can take its place.
    pub may_act: bool,
}

/// For whom the operator could finish what was begun.
#[derive(Debug, Default)]
pub struct Owners {
    /// The operator's own role.
    pub operator: String,
    /// Whether the server knows `WITH SET` (version 16).
    pub has_set_option: bool,
    /// Whether the operator may end others' server processes.
    pub may_signal: bool,
    /// By name.
    pub roles: BTreeMap<String, Owner>,
    /// Databases that the operator can't connect to, and why.
    pub unseen: Vec<(String, String)>,
    /// There are more databases, which were not looked into.
    pub has_more: bool,
}

const SELF_SQL: &str = "
SELECT current_user, current_setting('server_version_num')::int >= 160000, pg_has_role('pg_signal_backend', 'USAGE')";

/// `template1` is nobody's to change; lockkeeper's own holds nothing of others'.
const DATABASES_SQL: &str = "
SELECT d.datname FROM pg_database d
WHERE d.datallowconn AND NOT d.datistemplate AND d.datname <> $1::text ORDER BY 1 LIMIT $2::int";

/// Who owns tables here, other than those that extensions have brought. SET ROLE takes membership; from version 16 on
/// that `WITH SET` (`member_can_set_role` of `src/backend/utils/adt/acl.c`).
const OWNERS_SQL: &str = "
SELECT r.rolname, r.rolsuper, pg_has_role(r.oid, CASE
         WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
FROM pg_roles r
WHERE r.oid IN (SELECT c.relowner FROM pg_class c
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e'))
ORDER BY 1 LIMIT 1000";

/// Looks into the databases for who owns tables, and whether the operator could take its place.
///
/// # Errors
/// What the server says.
pub async fn owners(config: &Config) -> Result<Owners, String> {
    let mut login = login::open(config, APPLICATION, None).await?;
    let own = asked(&mut login, Command::own(SELF_SQL)).await?;
    let own = own.into_iter().next().unwrap_or_default();
    let mut found = Owners {
        operator: text(&own, 0),
        has_set_option: text(&own, 1) == "t",
        may_signal: text(&own, 2) == "t",
        ..Owners::default()
    };
    let limit = (MAX_DATABASES + 1).to_string();
    let parameters = vec![config.operator.database.clone(), limit];
    let names = asked(&mut login, Command::with(DATABASES_SQL, parameters)).await?;
    found.has_more = names.len() > MAX_DATABASES;
    for name in names.iter().take(MAX_DATABASES).map(|row| text(row, 0)) {
        let rows = match login::open(config, APPLICATION, Some(&name)).await {
            Ok(mut login) => asked(&mut login, Command::own(OWNERS_SQL)).await,
            Err(unopened) if unopened.sqlstate.as_deref() == Some(NO_SUCH_DATABASE) => continue,
            Err(unopened) => Err(unopened.why),
        };
        match rows {
            Ok(rows) => {
                for row in rows {
                    let owner = found.roles.entry(text(&row, 0)).or_default();
                    owner.databases.push(name.clone());
                    owner.is_superuser = text(&row, 1) == "t";
                    owner.may_act = text(&row, 2) == "t";
                }
            }
            Err(why) => found.unseen.push((name, why)),
        }
    }
    Ok(found)
}

/// A login of `operator.logins`, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleLogin {
    /// Whom it logs in.
    pub user: String,
    /// That is a superuser.
    pub is_superuser: bool,
    /// The role exists for which it is meant.
    pub has_role: bool,
    /// It may do what that role may.
    pub may_act: bool,
}

/// Logs in as `operator.logins` says for a role, in a database.
///
/// # Errors
/// Why it can't; without a URL, which may hold a password.
pub async fn role_login(
    config: &Config,
    role: &str,
    url: &str,
    database: Option<&str>,
) -> Result<RoleLogin, String> {
    const SQL: &str = "
        SELECT own.rolname, own.rolsuper, r.oid IS NOT NULL, coalesce(pg_has_role(r.oid, 'USAGE'), false)
        FROM pg_roles own LEFT JOIN pg_roles r ON r.rolname = $1::text WHERE own.rolname = current_user";
    let database = database.unwrap_or(DEFAULT_DATABASE);
    let mut login = login::open_as(config, url, database).await?;
    let rows = asked(&mut login, Command::with(SQL, vec![role.to_owned()])).await?;
    let row = rows.into_iter().next().unwrap_or_default();
    Ok(RoleLogin {
        user: text(&row, 0),
        is_superuser: text(&row, 1) == "t",
        has_role: text(&row, 2) == "t",
        may_act: text(&row, 3) == "t",
    })
}

async fn asked(login: &mut Login, command: Command) -> Result<Vec<Vec<Option<String>>>, String> {
    let replies = login
        .run(&[command])
        .await
        .map_err(|error| error.to_string())?;
    Ok(replies.into_iter().flat_map(|reply| reply.rows).collect())
}

fn text(row: &[Option<String>], at: usize) -> String {
    row.get(at).cloned().flatten().unwrap_or_default()
}
