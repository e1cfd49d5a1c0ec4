//! `SET` and `RESET` of what changes how the statements after it are read.

use pg_query::NodeEnum;
use pg_query::protobuf::{DiscardMode, VariableSetKind, a_const};

/// What `RESET ALL` and `DISCARD ALL` reset.
pub const ALL: &str = "all";

/// A `SET` or `RESET` of one parameter, or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The parameter, in lower case: `search_path`, `timezone` …; or [`ALL`].
    pub name: String,
    /// `SET LOCAL`.
    pub local: bool,
    /// The values as written; `None` for its default.
    pub values: Option<Vec<String>>,
}

/// The setting that a statement makes; `None` for any other statement, and for values that aren't
/// words, strings or numbers.
pub fn setting(sql: &str) -> Option<Setting> {
    let parsed = pg_query::parse(sql, pg_query::ParserOptions::DEFAULT).ok()?;
    let [only] = parsed.protobuf.stmts.as_slice() else {
        return None;
    };
    let all = Setting {
        name: ALL.to_owned(),
        local: false,
        values: None,
    };
    let set = match only.stmt.as_deref()?.node.as_ref()? {
        NodeEnum::VariableSetStmt(set) => set,
        NodeEnum::DiscardStmt(discard) if discard.target() == DiscardMode::DiscardAll => {
            return Some(all);
        }
        _ => return None,
    };
    let values = match set.kind() {
        VariableSetKind::VarSetValue => {
            let values: Option<Vec<String>> = set
                .args
                .iter()
                .map(|node| value(node.node.as_ref()?))
                .collect();
            Some(values?)
        }
        VariableSetKind::VarSetDefault | VariableSetKind::VarReset => None,
        VariableSetKind::VarResetAll => return Some(all),
        VariableSetKind::VarSetCurrent
        | VariableSetKind::VarSetMulti
        | VariableSetKind::Undefined => return None,
    };
    Some(Setting {
        name: set.name.to_ascii_lowercase(),
        local: set.is_local,
        values,
    })
}

fn value(node: &NodeEnum) -> Option<String> {
    let NodeEnum::AConst(constant) = node else {
        return None;
    };
    match constant.val.as_ref()? {
        a_const::Val::Sval(text) => Some(text.sval.clone()),
        a_const::Val::Ival(number) => Some(number.ival.to_string()),
        a_const::Val::Fval(number) => Some(number.fval.clone()),
        a_const::Val::Boolval(_) | a_const::Val::Bsval(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn what_a_script_sets_is_read() {
        for (sql, expected) in [
            (
                "SET search_path TO app, \"Public\"",
                Some(("search_path", false, Some(vec!["app", "Public"]))),
            ),
            (
                "set local search_path = 'app'",
                Some(("search_path", true, Some(vec!["app"]))),
            ),
            (
                "SET SCHEMA 'app'",
                Some(("search_path", false, Some(vec!["app"]))),
            ),
            ("RESET search_path", Some(("search_path", false, None))),
            (
                "SET TIME ZONE 'UTC'",
                Some(("timezone", false, Some(vec!["UTC"]))),
            ),
            (
                "SET timezone TO 0",
                Some(("timezone", false, Some(vec!["0"]))),
            ),
            ("DISCARD ALL", Some(("all", false, None))),
            ("RESET ALL", Some(("all", false, None))),
            ("DISCARD TEMP", None),
            ("SELECT 1", None),
        ] {
            let found = setting(sql);
            let found = found.as_ref().map(|own| {
                let values = own.values.as_ref();
                let values = values.map(|own| own.iter().map(String::as_str).collect());
                (own.name.as_str(), own.local, values)
            });
            assert_eq!(found, expected, "{sql}");
        }
    }
}
