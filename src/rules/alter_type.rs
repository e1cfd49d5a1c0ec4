//! `ALTER COLUMN … TYPE` writes the table anew under ACCESS EXCLUSIVE, with all its indexes, unless
//! the new type reads the old one's bytes; and even then an expression index, a partial index, a
//! CHECK or another collation makes it read or build.
//!
//! There is no short safe way: a new column, kept in step by a trigger, filled in batches, and
//! swapped. Until that is done here the expensive forms are refused.
//! <https://www.postgresql.org/docs/current/sql-altertable.html>

use super::alter_effects::Target;
use super::{Action, Rule};
use crate::catalog::{Column, Index, NO_MODIFIER, Type, UNKNOWN_MODIFIER, shadow};
use crate::sql::alter_table::{ActionKind, Expression};
use crate::sql::name::quote_identifier;

/// The table is written anew, or read, or an index is built.
pub const REWRITES: Rule = Rule {
    name: "alter-type-rewrite",
    hazard: "ALTER COLUMN TYPE writes the table and its indexes anew under ACCESS EXCLUSIVE: every query waits \
             until it is done.",
    remedy: "It is refused: add a column of the new type, keep it in step by a trigger, fill it in batches, then swap.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Reject,
    versions: "alike",
    example: "ALTER TABLE users ALTER COLUMN visits TYPE bigint",
};

/// What a change of type costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeChange {
    /// The type is what it was.
    Same,
    /// The catalog changes; plain indexes stay.
    Free,
    /// The rows stay; indexes on the column are built anew.
    Rebuild,
    /// The rows are written anew.
    Rewrite,
}

/// `DEFAULT_COLLATION_OID` of `src/include/catalog/pg_collation.dat`.
const DEFAULT_COLLATION: u32 = 100;

/// OIDs of `pg_type.dat`.
mod oid {
    pub(super) const TEXT: u32 = 25;
    pub(super) const CIDR: u32 = 650;
    pub(super) const INET: u32 = 869;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const TIME: u32 = 1083;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const INTERVAL: u32 = 1186;
    pub(super) const TIMETZ: u32 = 1266;
    pub(super) const VARBIT: u32 = 1562;
    pub(super) const NUMERIC: u32 = 1700;
}

/// What a `SET DATA TYPE` costs; the worst where the column or the type isn't known.
pub(super) fn change(kind: &ActionKind, target: &Target) -> TypeChange {
    let ActionKind::SetType {
        column,
        to,
        collation,
        using,
    } = kind
    else {
        return TypeChange::Same;
    };
    let found = target.relation.details.column(column);
    let (Some(found), Some(new)) = (found, target.known.type_of(&to.sql)) else {
        return TypeChange::Rewrite;
    };
    if using
        .as_ref()
        .is_some_and(|using| !is_plain(using, column, &to.sql))
    {
        return TypeChange::Rewrite;
    }
    let of_type = between(found, new, target);
    let wanted = collation.as_ref().map(ToString::to_string);
    let is_default = |name: &String| name == "\"default\"" || name.ends_with(".\"default\"");
    let keeps_collation = match (&wanted, &found.collation_name) {
        (None, None) => true,
        (Some(wanted), None) if is_default(wanted) => found.collation == DEFAULT_COLLATION,
        (Some(wanted), Some(found)) => found == wanted || found.ends_with(&format!(".{wanted}")),
        (None, Some(_)) | (Some(_), None) => false,
    };
    if keeps_collation {
        of_type
    } else {
        of_type.max_with(TypeChange::Rebuild)
    }
}

impl TypeChange {
    fn max_with(self, other: TypeChange) -> TypeChange {
        if self == TypeChange::Rewrite || other == TypeChange::Rewrite {
            TypeChange::Rewrite
        } else {
            other
        }
    }
}

/// `USING c` says nothing new, and neither does `USING c::type`.
fn is_plain(using: &Expression, column: &str, to: &str) -> bool {
    let is_to = |cast: &str| {
        let (cast, to) = (shadow::built_in(cast), shadow::built_in(to));
        cast.is_some() && cast == to
    };
    let text = match using.sql.rsplit_once("::") {
        Some((text, cast)) if cast == to || is_to(cast) => text,
        _ => &using.sql,
    };
    let text = text.trim_matches(['(', ')']);
    text == column || text == format!("\"{column}\"")
}

/// From a column's type to another.
fn between(column: &Column, new: &Type, target: &Target) -> TypeChange {
    let old = &column.of_type;
    if old.oid == new.oid {
        return modifiers(old.oid, old.modifier, new.modifier);
    }
    if new.constrained {
        return TypeChange::Rewrite;
    }
    // What lies under a domain is what is stored; but a cast from it knows of no modifier.
    let (old_oid, old_modifier) = old
        .base
        .as_ref()
        .map_or((old.oid, old.modifier), |base| (base.oid, NO_MODIFIER));
    let (new_oid, new_modifier) = new
        .base
        .as_ref()
        .map_or((new.oid, new.modifier), |base| (base.oid, base.modifier));
    if old_oid == new_oid {
        return match modifiers(old_oid, old_modifier, new_modifier) {
            TypeChange::Same => TypeChange::Free, // another type all the same
            change => change,
        };
    }
    match (old_oid, new_oid) {
        (oid::TIMESTAMP, oid::TIMESTAMPTZ) | (oid::TIMESTAMPTZ, oid::TIMESTAMP) => {
            // The cast knows of no modifier either: rounding to fewer digits writes.
            let rounds = modifiers(new_oid, NO_MODIFIER, new_modifier) == TypeChange::Rewrite;
            if target.known.facts.session.time_zone_is_utc && !rounds {
                TypeChange::Rebuild
            } else {
                TypeChange::Rewrite
            }
        }
        (oid::TEXT, oid::VARCHAR) | (oid::VARCHAR, oid::TEXT) | (oid::CIDR, oid::INET)
            if new_modifier == NO_MODIFIER =>
        {
            TypeChange::Free
        }
        _ if new.coercible_from.contains(&old_oid) && new_modifier == NO_MODIFIER => {
            TypeChange::Rebuild
        }
        _ => TypeChange::Rewrite,
    }
}

/// From one modifier of a type to another: the types' support functions drop a cast that changes
/// nothing (`varchar_support`, `numeric_support`, `timestamp_support` … of `src/backend/utils/adt`).
fn modifiers(of_type: u32, old: i32, new: i32) -> TypeChange {
    if old == new {
        return TypeChange::Same;
    }
    let widens = match of_type {
        _ if new == NO_MODIFIER => true, // there is nothing to cast
        _ if new == UNKNOWN_MODIFIER => false,
        oid::VARCHAR | oid::VARBIT => old >= 0 && new >= old,
        oid::NUMERIC => old >= 0 && widens_numeric(old, new),
        oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            const MOST: i32 = 6;
            new >= MOST || (old >= 0 && new >= old)
        }
        oid::INTERVAL => widens_interval(old, new),
        _ => false,
    };
    if widens {
        TypeChange::Free
    } else {
        TypeChange::Rewrite
    }
}

/// The same scale, and no less precision: `numeric_support` of `src/backend/utils/adt/numeric.c`.
fn widens_numeric(old: i32, new: i32) -> bool {
    const HEADER: i32 = 4;
    let parts = |modifier: i32| {
        let modifier = modifier - HEADER;
        (modifier >> 16 & 0xffff, modifier & 0x7ff)
    };
    let ((old_precision, old_scale), (new_precision, new_scale)) = (parts(old), parts(new));
    old_scale == new_scale && new_precision >= old_precision
}

/// No field less at the small end, and no less precision: `interval_support` of
/// `src/backend/utils/adt/timestamp.c`.
fn widens_interval(old: i32, new: i32) -> bool {
    const MOST: i32 = 6;
    const FULL_PRECISION: i32 = 0xffff;
    let precision = |modifier: i32| match modifier {
        NO_MODIFIER => FULL_PRECISION,
        modifier => modifier & 0xffff,
    };
    let (old_field, new_field) = (least_field(old), least_field(new));
    new_field <= old_field
        && (old_field > 0 || precision(new) >= MOST || precision(new) >= precision(old))
}

/// The smallest field of an interval's modifier, 0 for seconds: `intervaltypmodleastfield`, by the
/// bits of `src/include/utils/datetime.h`.
fn least_field(modifier: i32) -> u8 {
    const BITS: [(i32, u8); 6] = [(12, 0), (11, 1), (10, 2), (3, 3), (1, 4), (2, 5)];
    if modifier == NO_MODIFIER {
        return 0;
    }
    let fields = modifier >> 16 & 0x7fff;
    let mut smallest = BITS.iter().filter(|(bit, _)| fields >> bit & 1 == 1);
    smallest.next().map_or(0, |(_, rank)| *rank)
}

/// Whether an index that has the column is built anew: a plain one only when its operator class
/// changes, one with the column in an expression or its predicate always (`TryReuseIndex`,
/// `CheckIndexCompatible`).
pub(super) fn rebuilds(index: &Index, column: &str, change: TypeChange, target: &Target) -> bool {
    match change {
        TypeChange::Rebuild | TypeChange::Rewrite => true,
        TypeChange::Same | TypeChange::Free => {
            index.columns.iter().any(Option::is_none)
                || index.partial
                || target.relation.details.column_users.iter().any(|user| {
                    user.what == "index"
                        && user.name == index.name
                        && user.columns.iter().any(|name| name == column)
                })
        }
    }
}

/// What people can do instead.
pub(super) fn advice(column: &str, kind: &ActionKind, target: &Target) -> String {
    let table = target.relation.qualified();
    let quoted = quote_identifier(column);
    let ActionKind::SetType { to, using, .. } = kind else {
        return REWRITES.remedy.to_owned();
    };
    if change(kind, target) != TypeChange::Rewrite {
        return format!(
            "The rows can stay: only indexes and CHECKs that name {quoted} are in the way. Drop those (indexes \
             CONCURRENTLY), change the type, then add them again by lockkeeper."
        );
    }
    let value = using
        .as_ref()
        .map_or_else(|| quoted.clone(), |using| using.sql.clone());
    let new = quote_identifier(&format!("{column}_new"));
    format!(
        "Do it in steps:\n  ALTER TABLE {table} ADD COLUMN {new} {};\n  a BEFORE INSERT OR UPDATE trigger that sets it \
         to {value};\n  UPDATE … in batches;\n  then, in one transaction, drop {quoted} and rename the new column.",
        to.sql
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_that_widen_are_free() {
        let numeric = |precision: i32, scale: i32| (precision << 16 | scale) + 4;
        for (of_type, old, new, change) in [
            (oid::VARCHAR, 24, 104, TypeChange::Free),
            (oid::VARCHAR, 24, -1, TypeChange::Free),
            (oid::VARCHAR, 104, 24, TypeChange::Rewrite),
            (oid::VARCHAR, -1, 24, TypeChange::Rewrite),
            (oid::VARCHAR, 24, 24, TypeChange::Same),
            (
                oid::NUMERIC,
                numeric(10, 2),
                numeric(12, 2),
                TypeChange::Free,
            ),
            (
                oid::NUMERIC,
                numeric(10, 2),
                numeric(12, 4),
                TypeChange::Rewrite,
            ),
            (oid::NUMERIC, numeric(10, 2), -1, TypeChange::Free),
            (oid::TIMESTAMP, 3, 6, TypeChange::Free),
            (oid::TIMESTAMP, 3, -1, TypeChange::Free),
            (oid::TIMESTAMP, 6, 3, TypeChange::Rewrite),
            (oid::TIMESTAMP, -1, 6, TypeChange::Free),
            (23, -1, -1, TypeChange::Same),
        ] {
            assert_eq!(
                modifiers(of_type, old, new),
                change,
                "{of_type} {old} {new}"
            );
        }
    }
}
