//! PostgreSQL's own types: their OIDs, all their spellings, their modifiers as the server computes them, and the
//! casts that change no bit.

use super::super::Type;

/// `pg_type.oid`, `typname`, `format_type`, `typarray`, `typcollation`.
struct BuiltIn(u32, &'static str, &'static str, u32, u32);

/// A type's name taken apart.
struct Spelled {
    /// The words before and behind the modifiers, in lower case unless quoted.
    words: Vec<String>,
    modifiers: Vec<i64>,
    is_array: bool,
    /// It was written as `pg_catalog.…`.
    qualified: bool,
    quoted: bool,
}

/// A type of PostgreSQL's own by its SQL; `None` when it is none of those.
pub fn built_in(sql: &str) -> Option<Type> {
    let spelled = spelled(sql)?;
    let (name, modifier) = named(&spelled)?;
    let found = TYPES.iter().find(|row| row.1 == name)?;
    Some(as_type(found, modifier, spelled.is_array))
}

fn as_type(row: &BuiltIn, modifier: i32, is_array: bool) -> Type {
    let casts = CASTS.iter().find(|(to, _)| *to == row.0 && !is_array);
    Type {
        oid: if is_array { row.3 } else { row.0 },
        modifier,
        name: if is_array {
            format!("{}[]", row.2)
        } else {
            row.2.to_owned()
        },
        base: None,
        constrained: false,
        coercible_from: casts.map_or(Vec::new(), |(_, from)| from.to_vec()),
        collation: row.4,
        ..Type::default()
    }
}

/// A type with its modifier, as `format_type` writes it: `character varying(20)`.
pub fn sql_of(of_type: &Type) -> String {
    let (name, array) = match of_type.name.strip_suffix("[]") {
        Some(element) => (element, "[]"),
        None => (of_type.name.as_str(), ""),
    };
    let modifier = of_type.modifier;
    if modifier < 0 {
        // `character` without a length is one character to the parser.
        let name = if name == "character" { "bpchar" } else { name };
        return format!("{name}{array}");
    }
    let length = modifier.saturating_sub(4);
    match name {
        "character" | "character varying" => format!("{name}({length}){array}"),
        "numeric" => {
            let (precision, scale) = (length >> 16, sign_extended(length));
            format!("numeric({precision},{scale}){array}")
        }
        "bit" | "bit varying" => format!("{name}({modifier}){array}"),
        "interval" => {
            let fields = interval_fields(modifier >> 16);
            let precision = modifier & 0xffff;
            let digits = if precision == 0xffff {
                String::new()
            } else {
                format!("({precision})")
            };
            format!("interval{fields}{digits}{array}")
        }
        other => match other.split_once(' ') {
            Some((first, rest)) => format!("{first}({modifier}) {rest}{array}"),
            None => format!("{other}{array}"),
        },
    }
}

/// The scale of a numeric: eleven bits and a sign (`numeric_typmod_scale` of `src/backend/utils/adt/numeric.c`).
fn sign_extended(length: i32) -> i32 {
    ((length & 0x7ff) ^ 1024) - 1024
}

/// `INTERVAL_MASK` of `src/include/utils/timestamp.h`.
const INTERVAL_FIELDS: &[(&str, i32)] = &[
    ("month", 1 << 1),
    ("year", 1 << 2),
    ("day", 1 << 3),
    ("hour", 1 << 10),
    ("minute", 1 << 11),
    ("second", 1 << 12),
    ("year to month", (1 << 1) | (1 << 2)),
    ("day to hour", (1 << 3) | (1 << 10)),
    ("day to minute", (1 << 3) | (1 << 10) | (1 << 11)),
    (
        "day to second",
        (1 << 3) | (1 << 10) | (1 << 11) | (1 << 12),
    ),
    ("hour to minute", (1 << 10) | (1 << 11)),
    ("hour to second", (1 << 10) | (1 << 11) | (1 << 12)),
    ("minute to second", (1 << 11) | (1 << 12)),
];

fn interval_fields(mask: i32) -> String {
    let found = INTERVAL_FIELDS.iter().find(|(_, bits)| *bits == mask);
    found.map_or(String::new(), |(words, _)| format!(" {words}"))
}

fn spelled(sql: &str) -> Option<Spelled> {
    let mut text = sql.trim();
    let mut is_array = false;
    while let Some(inside) = text.strip_suffix(']') {
        is_array = true;
        text = inside.get(..inside.rfind('[')?)?.trim_end();
    }
    let lower = text.to_ascii_lowercase();
    if lower.ends_with(" array") {
        is_array = true;
        text = text.get(..text.len().saturating_sub(6))?;
    }
    let (before, modifiers, behind) = match (text.find('('), text.find(')')) {
        (Some(open), Some(close)) => (
            text.get(..open)?,
            text.get(open + 1..close)?,
            text.get(close + 1..)?,
        ),
        _ => (text, "", ""),
    };
    let before = before.trim();
    let bare = before
        .strip_prefix("pg_catalog.")
        .or_else(|| before.strip_prefix("\"pg_catalog\"."));
    let qualified = bare.is_some();
    let bare = bare.unwrap_or(before);
    let inside = bare
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let words = match inside {
        Some(inside) => vec![inside.to_owned()],
        None => format!("{bare} {behind}")
            .split_whitespace()
            .map(str::to_ascii_lowercase)
            .collect(),
    };
    let modifiers: Result<Vec<i64>, _> = modifiers
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect();
    Some(Spelled {
        words,
        modifiers: modifiers.ok()?,
        is_array,
        qualified,
        quoted: inside.is_some(),
    })
}

/// `typname` and the modifier.
fn named(spelled: &Spelled) -> Option<(&'static str, i32)> {
    let first = spelled.modifiers.first().copied();
    let plain = first.map_or(Some(-1), |number| i32::try_from(number).ok())?;
    let text = spelled.words.join(" ");
    if spelled.quoted || (spelled.qualified && text == "char") {
        let row = TYPES.iter().find(|row| row.1 == text)?;
        return Some((row.1, modifier_of(row.1, spelled, plain)));
    }
    let one = if plain < 0 { 1 } else { plain };
    Some(match text.as_str() {
        "char" | "character" | "nchar" | "national char" | "national character" => {
            ("bpchar", one.checked_add(4)?)
        }
        "bit" if !spelled.qualified => ("bit", one),
        "float" => (
            if !(0..=24).contains(&plain) {
                "float8"
            } else {
                "float4"
            },
            -1,
        ),
        other => {
            let name = alias(other);
            let row = TYPES.iter().find(|row| row.1 == name)?;
            (row.1, modifier_of(row.1, spelled, plain))
        }
    })
}

/// The name in the catalog of a type with a syntax of its own.
fn alias(text: &str) -> &str {
    match text {
        "int" | "integer" | "serial" | "serial4" => "int4",
        "smallint" | "smallserial" | "serial2" => "int2",
        "bigint" | "bigserial" | "serial8" => "int8",
        "real" => "float4",
        "double precision" => "float8",
        "decimal" | "dec" => "numeric",
        "boolean" => "bool",
        "character varying"
        | "char varying"
        | "nchar varying"
        | "national char varying"
        | "national character varying" => "varchar",
        "bit varying" => "varbit",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        other if other.starts_with("interval ") => "interval",
        other => other,
    }
}

/// The modifier of a type: its `typmodin`.
fn modifier_of(name: &str, spelled: &Spelled, plain: i32) -> i32 {
    match name {
        "varchar" | "bpchar" if plain >= 0 => plain.saturating_add(4),
        "numeric" if plain >= 0 => {
            let scale = spelled.modifiers.get(1).copied().unwrap_or(0) & 0x7ff;
            let scale = i32::try_from(scale).unwrap_or(0);
            ((plain & 0x7fff) << 16 | scale).saturating_add(4)
        }
        "interval" => {
            let fields = spelled.words.get(1..).unwrap_or_default().join(" ");
            let found = INTERVAL_FIELDS.iter().find(|(words, _)| *words == fields);
            match (found, plain) {
                (None, -1) => -1,
                (found, precision) => {
                    let mask = found.map_or(0x7fff, |(_, mask)| *mask);
                    let precision = if precision < 0 { 0xffff } else { precision };
                    (mask << 16) | (precision & 0xffff)
                }
            }
        }
        "bit" | "varbit" | "time" | "timetz" | "timestamp" | "timestamptz" => plain,
        _ => -1,
    }
}

/// PostgreSQL 13 to 18.
#[rustfmt::skip]
const TYPES: &[BuiltIn] = &[
    BuiltIn(16, "bool", "boolean", 1000, 0),
    BuiltIn(17, "bytea", "bytea", 1001, 0),
    BuiltIn(18, "char", r#""char""#, 1002, 0),
    BuiltIn(19, "name", "name", 1003, 950),
    BuiltIn(20, "int8", "bigint", 1016, 0),
    BuiltIn(21, "int2", "smallint", 1005, 0),
    BuiltIn(23, "int4", "integer", 1007, 0),
    BuiltIn(24, "regproc", "regproc", 1008, 0),
    BuiltIn(25, "text", "text", 1009, 100),
    BuiltIn(26, "oid", "oid", 1028, 0),
    BuiltIn(27, "tid", "tid", 1010, 0),
    BuiltIn(28, "xid", "xid", 1011, 0),
    BuiltIn(29, "cid", "cid", 1012, 0),
    BuiltIn(114, "json", "json", 199, 0),
    BuiltIn(142, "xml", "xml", 143, 0),
    BuiltIn(600, "point", "point", 1017, 0),
    BuiltIn(601, "lseg", "lseg", 1018, 0),
    BuiltIn(602, "path", "path", 1019, 0),
    BuiltIn(603, "box", "box", 1020, 0),
    BuiltIn(604, "polygon", "polygon", 1027, 0),
    BuiltIn(628, "line", "line", 629, 0),
    BuiltIn(650, "cidr", "cidr", 651, 0),
    BuiltIn(700, "float4", "real", 1021, 0),
    BuiltIn(701, "float8", "double precision", 1022, 0),
    BuiltIn(718, "circle", "circle", 719, 0),
    BuiltIn(774, "macaddr8", "macaddr8", 775, 0),
    BuiltIn(790, "money", "money", 791, 0),
    BuiltIn(829, "macaddr", "macaddr", 1040, 0),
    BuiltIn(869, "inet", "inet", 1041, 0),
    BuiltIn(1033, "aclitem", "aclitem", 1034, 0),
    BuiltIn(1042, "bpchar", "character", 1014, 100),
    BuiltIn(1043, "varchar", "character varying", 1015, 100),
    BuiltIn(1082, "date", "date", 1182, 0),
    BuiltIn(1083, "time", "time without time zone", 1183, 0),
    BuiltIn(1114, "timestamp", "timestamp without time zone", 1115, 0),
    BuiltIn(1184, "timestamptz", "timestamp with time zone", 1185, 0),
    BuiltIn(1186, "interval", "interval", 1187, 0),
    BuiltIn(1266, "timetz", "time with time zone", 1270, 0),
    BuiltIn(1560, "bit", "bit", 1561, 0),
    BuiltIn(1562, "varbit", "bit varying", 1563, 0),
    BuiltIn(1700, "numeric", "numeric", 1231, 0),
    BuiltIn(1790, "refcursor", "refcursor", 2201, 0),
    BuiltIn(2202, "regprocedure", "regprocedure", 2207, 0),
    BuiltIn(2203, "regoper", "regoper", 2208, 0),
    BuiltIn(2204, "regoperator", "regoperator", 2209, 0),
    BuiltIn(2205, "regclass", "regclass", 2210, 0),
    BuiltIn(2206, "regtype", "regtype", 2211, 0),
    BuiltIn(2950, "uuid", "uuid", 2951, 0),
    BuiltIn(2970, "txid_snapshot", "txid_snapshot", 2949, 0),
    BuiltIn(3220, "pg_lsn", "pg_lsn", 3221, 0),
    BuiltIn(3614, "tsvector", "tsvector", 3643, 0),
    BuiltIn(3615, "tsquery", "tsquery", 3645, 0),
    BuiltIn(3642, "gtsvector", "gtsvector", 3644, 0),
    BuiltIn(3734, "regconfig", "regconfig", 3735, 0),
    BuiltIn(3769, "regdictionary", "regdictionary", 3770, 0),
    BuiltIn(3802, "jsonb", "jsonb", 3807, 0),
    BuiltIn(3904, "int4range", "int4range", 3905, 0),
    BuiltIn(3906, "numrange", "numrange", 3907, 0),
    BuiltIn(3908, "tsrange", "tsrange", 3909, 0),
    BuiltIn(3910, "tstzrange", "tstzrange", 3911, 0),
    BuiltIn(3912, "daterange", "daterange", 3913, 0),
    BuiltIn(3926, "int8range", "int8range", 3927, 0),
    BuiltIn(4072, "jsonpath", "jsonpath", 4073, 0),
    BuiltIn(4089, "regnamespace", "regnamespace", 4090, 0),
    BuiltIn(4096, "regrole", "regrole", 4097, 0),
    BuiltIn(4191, "regcollation", "regcollation", 4192, 0),
    BuiltIn(4451, "int4multirange", "int4multirange", 6150, 0),
    BuiltIn(4532, "nummultirange", "nummultirange", 6151, 0),
    BuiltIn(4533, "tsmultirange", "tsmultirange", 6152, 0),
    BuiltIn(4534, "tstzmultirange", "tstzmultirange", 6153, 0),
    BuiltIn(4535, "datemultirange", "datemultirange", 6155, 0),
    BuiltIn(4536, "int8multirange", "int8multirange", 6157, 0),
    BuiltIn(5038, "pg_snapshot", "pg_snapshot", 5039, 0),
    BuiltIn(5069, "xid8", "xid8", 271, 0),
];

/// `pg_cast` where `castmethod` is `b`: the target, and what can be read as it.
#[rustfmt::skip]
const CASTS: &[(u32, &[u32])] = &[
    (17, &[3361, 3402, 5017]),
    (23, &[24, 26, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191]),
    (24, &[23, 26, 2202]),
    (25, &[142, 194, 1043]),
    (26, &[23, 24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191]),
    (869, &[650]),
    (1042, &[25, 142, 1043]),
    (1043, &[25, 142]),
    (1560, &[1562]),
    (1562, &[1560]),
    (2202, &[23, 24, 26]),
    (2203, &[23, 26, 2204]),
    (2204, &[23, 26, 2203]),
    (2205, &[23, 26]),
    (2206, &[23, 26]),
    (3734, &[23, 26]),
    (3769, &[23, 26]),
    (4089, &[23, 26]),
    (4096, &[23, 26]),
    (4191, &[23, 26]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 16 has them: `atttypid`, `atttypmod`, `format_type`.
    #[test]
    fn spellings_and_modifiers() {
        for (sql, oid, modifier, written) in [
            ("int", 23, -1, "integer"),
            ("pg_catalog.int4", 23, -1, "integer"),
            ("INTEGER", 23, -1, "integer"),
            ("bigserial", 20, -1, "bigint"),
            ("varchar(20)", 1043, 24, "character varying(20)"),
            ("character varying", 1043, -1, "character varying"),
            ("char", 1042, 5, "character(1)"),
            ("pg_catalog.bpchar", 1042, -1, "bpchar"),
            ("\"char\"", 18, -1, "\"char\""),
            ("numeric(10,2)", 1700, 655_366, "numeric(10,2)"),
            ("numeric( 10 )", 1700, 655_364, "numeric(10,0)"),
            ("numeric(3,-2)", 1700, 198_658, "numeric(3,-2)"),
            ("decimal", 1700, -1, "numeric"),
            (
                "timestamp(3) with time zone",
                1184,
                3,
                "timestamp(3) with time zone",
            ),
            ("timestamptz", 1184, -1, "timestamp with time zone"),
            ("time(0)", 1083, 0, "time(0) without time zone"),
            ("interval(3)", 1186, 2_147_418_115, "interval(3)"),
            (
                "interval day to second(3)",
                1186,
                470_286_339,
                "interval day to second(3)",
            ),
            ("interval year", 1186, 327_679, "interval year"),
            ("bit", 1560, 1, "bit(1)"),
            ("bit varying(8)", 1562, 8, "bit varying(8)"),
            ("float(24)", 700, -1, "real"),
            ("float", 701, -1, "double precision"),
            ("varchar(5)[]", 1015, 9, "character varying(5)[]"),
            ("text[][]", 1009, -1, "text[]"),
            ("int ARRAY", 1007, -1, "integer[]"),
        ] {
            let found = built_in(sql).map(|found| (found.oid, found.modifier, sql_of(&found)));
            assert_eq!(found, Some((oid, modifier, written.to_owned())), "{sql}");
        }
        assert_eq!(built_in("public.email"), None);
        assert_eq!(built_in("\"Int\""), None);
        let varchar = built_in("varchar").map(|found| found.coercible_from);
        assert_eq!(varchar, Some(vec![25, 142]));
    }
}
