//! Rows that are filled some at a time: which table, in which order, what is set. Plain data.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sql::name::{Name, quote_identifier};

/// A table's rows to be filled in batches, each in a transaction of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// The table: one that holds rows itself. Those of its partitions and children aren't meant.
    pub table: Name,
    /// In which order its rows are gone through.
    pub order: Order,
    /// The SET clause: `token = DEFAULT`.
    pub set: String,
    /// What is true of a row that isn't filled: `token IS NULL`.
    pub unfilled: String,
    /// How often.
    pub passes: Passes,
}

/// The order in which rows are gone through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// By the columns of a unique index, none of which is ever NULL.
    Key(Vec<KeyColumn>),
    /// Block by block.
    Blocks,
}

/// A column of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// Its type, or the one under its domain.
    pub of_type: KeyType,
}

/// How often rows are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passes {
    /// Once: each row that is there gets its value.
    Once,
    /// Again until nothing is found that isn't filled, and not at all once a value was NULL: then
    /// what is NULL may be so by right. An UPDATE of somebody else's may have carried a row that
    /// wasn't filled to where the filling had been already.
    UntilNoneIsLeft,
}

/// The types by whose text a value of a key can be found again, whatever the session's settings.
/// `float8` isn't one (`extra_float_digits`), nor is a type of the user's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// Its text is plain ASCII and reads back as the same value; the name in `pg_catalog`.
    Plain(&'static str),
    /// Text of any characters; the name in `pg_catalog`.
    Text(&'static str),
    /// A date or time, which is written as `DateStyle` says; the name in `pg_catalog`.
    Time(&'static str),
}

/// By OID, from `src/include/catalog/pg_type.dat`.
const KEY_TYPES: &[(u32, KeyType)] = &[
    (16, KeyType::Plain("bool")),
    (17, KeyType::Plain("bytea")),
    (19, KeyType::Text("name")),
    (20, KeyType::Plain("int8")),
    (21, KeyType::Plain("int2")),
    (23, KeyType::Plain("int4")),
    (25, KeyType::Text("text")),
    (26, KeyType::Plain("oid")),
    (650, KeyType::Plain("cidr")),
    (774, KeyType::Plain("macaddr8")),
    (829, KeyType::Plain("macaddr")),
    (869, KeyType::Plain("inet")),
    (1042, KeyType::Text("bpchar")),
    (1043, KeyType::Text("varchar")),
    (1082, KeyType::Time("date")),
    (1083, KeyType::Plain("time")),
    (1114, KeyType::Time("timestamp")),
    (1184, KeyType::Time("timestamptz")),
    (1700, KeyType::Plain("numeric")),
    (2950, KeyType::Plain("uuid")),
];

impl KeyType {
    /// The type of that OID (`pg_type.oid`), if it is one of them.
    pub fn of(oid: u32) -> Option<KeyType> {
        let mut known = KEY_TYPES.iter();
        known.find(|(own, _)| *own == oid).map(|(_, found)| *found)
    }
}

impl KeyType {
    /// Its name in `pg_catalog`.
    fn name(self) -> &'static str {
        match self {
            KeyType::Plain(name) | KeyType::Text(name) | KeyType::Time(name) => name,
        }
    }
}

/// By its name.
impl Serialize for KeyType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for KeyType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = KEY_TYPES.iter().find(|(_, known)| known.name() == name);
        found
            .map(|(_, known)| *known)
            .ok_or_else(|| serde::de::Error::custom(format!("{name:?} is no type of a key")))
    }
}

/// How a fill spares the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// `backfill.max_lag`: it pauses while a standby is further behind; zero for never.
    pub max_lag: Duration,
    /// `backfill.duty`: the part of the time that it works, above 0 and up to 1.
    pub duty: f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            max_lag: Duration::from_secs(10),
            duty: 0.5,
        }
    }
}

impl Pace {
    /// How long it rests after work.
    pub fn rest(&self, worked: Duration) -> Duration {
        let ratio = (1.0 - self.duty) / self.duty;
        Duration::try_from_secs_f64(worked.as_secs_f64() * ratio).unwrap_or_default()
    }
}

impl Backfill {
    /// A batch, for people: `$1` and so on are where it begins and ends.
    pub fn sql(&self) -> String {
        let range = match &self.order {
            Order::Key(columns) => {
                let names: Vec<String> = columns
                    .iter()
                    .map(|column| quote_identifier(&column.name))
                    .collect();
                let values = |from: usize| -> Vec<String> {
                    (from..from + names.len())
                        .map(|at| format!("${at}"))
                        .collect()
                };
                let (after, to) = (values(1), values(1 + names.len()));
                let key = row(&names);
                format!("{key} > {} AND {key} <= {}", row(&after), row(&to))
            }
            Order::Blocks => "ctid >= $1 AND ctid < $2".to_owned(),
        };
        format!(
            "UPDATE ONLY {} SET {} WHERE {range} AND {}",
            self.table, self.set, self.unfilled
        )
    }

    /// What the places in [`Backfill::sql`] stand for, for people.
    pub fn places(&self) -> &'static str {
        match &self.order {
            Order::Key(_) => {
                "again and again: from behind the key at which the last batch ended, to the one some hundred rows on"
            }
            Order::Blocks => {
                "again and again, some blocks at a time: from '(0,0)' to '(100,0)', from there to '(200,0)' …"
            }
        }
    }
}

fn row(items: &[String]) -> String {
    match items {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_told_in_sql() {
        let column = |name: &str, oid| KeyColumn {
            name: name.to_owned(),
            of_type: KeyType::of(oid).unwrap(),
        };
        let mut backfill = Backfill {
            table: Name::qualified("public", "t"),
            order: Order::Key(vec![column("id", 20)]),
            set: "c = DEFAULT".to_owned(),
            unfilled: "c IS NULL".to_owned(),
            passes: Passes::Once,
        };
        let start = "UPDATE ONLY public.t SET c = DEFAULT WHERE ";
        let rest = "id > $1 AND id <= $2 AND c IS NULL";
        assert_eq!(backfill.sql(), format!("{start}{rest}"));
        backfill.order = Order::Key(vec![column("A b", 25), column("n", 1184)]);
        let rest = "(\"A b\", n) > ($1, $2) AND (\"A b\", n) <= ($3, $4) AND c IS NULL";
        assert_eq!(backfill.sql(), format!("{start}{rest}"));
        backfill.order = Order::Blocks;
        let rest = "ctid >= $1 AND ctid < $2 AND c IS NULL";
        assert_eq!(backfill.sql(), format!("{start}{rest}"));
        assert_eq!(KeyType::of(701), None, "float8");
    }
    #[test]
    fn it_rests_as_long_as_the_duty_says() {
        let ms = Duration::from_millis(1);
        let pace = |duty| Pace {
            duty,
            ..Pace::default()
        };
        assert_eq!(pace(1.0).rest(80 * ms), Duration::ZERO);
        assert_eq!(pace(0.5).rest(80 * ms), 80 * ms);
        assert_eq!(pace(0.25).rest(80 * ms), 240 * ms);
    }
}
