//! The facts query against real servers of every version: each field of what it tells of a schema that has every kind
//! of thing.

#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/bench.rs"]
mod bench;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/client.rs"]
mod client;

use std::time::Duration;

use bench::{Bench, benches};
use client::{Client, Protocol};
use lockkeeper::catalog::{
    ConstraintKind, Depth, Details, FactRequest, Facts, Member, ObjectClass, ObjectRequest,
    Relation, RelationKind, Type, UNKNOWN_MODIFIER, Volatility,
};
use lockkeeper::error::Interrupt;
use lockkeeper::exec::session::{Command, Reply, RunError, Session};
use lockkeeper::pg::introspect;
use lockkeeper::sql::name::{Name, quote_literal};

const SCHEMA: &str = r#"
DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; CREATE SCHEMA app; CREATE SCHEMA "Odd";
CREATE DOMAIN name_text AS varchar(40);
CREATE DOMAIN email AS name_text CHECK (VALUE LIKE '%@%');
CREATE DOMAIN plain AS int;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE COLLATION app.german (provider = libc, locale = 'C');
CREATE FUNCTION app.noise() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION noise() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION noise(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE orgs (id bigint PRIMARY KEY, code text UNIQUE);
CREATE TABLE users (
  id bigserial PRIMARY KEY,
  org bigint REFERENCES orgs (id),
  mail email NOT NULL,
  code varchar(20) COLLATE app.german DEFAULT 'x',
  price numeric(10,2),
  at timestamptz(3) DEFAULT now(),
  m mood,
  n int GENERATED ALWAYS AS IDENTITY,
  twice numeric GENERATED ALWAYS AS (price * 2) STORED,
  tags varchar(5)[],
  gone int,
  CONSTRAINT price_positive CHECK (price > 0),
  CONSTRAINT room EXCLUDE USING btree (code WITH =)
);
ALTER TABLE users DROP COLUMN gone;
ALTER TABLE users ADD CONSTRAINT not_checked CHECK (code <> '') NOT VALID;
CREATE INDEX users_lower ON users USING hash (lower(code));
CREATE INDEX users_some ON users (org, code) INCLUDE (price) WHERE price > 5 AND org > 0;
CREATE STATISTICS users_stats ON org, code FROM users;
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON users USING (org = 1);
CREATE TRIGGER touched BEFORE UPDATE OF mail ON users FOR EACH ROW WHEN (NEW.code <> 'y') EXECUTE FUNCTION touch();
CREATE TABLE orders (user_id bigint CONSTRAINT orders_user REFERENCES users (id), whole users);
CREATE VIEW names AS SELECT mail, code FROM users;
CREATE VIEW few AS SELECT mail FROM names;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM few WITH NO DATA;
CREATE PUBLICATION pub FOR TABLE users;
INSERT INTO orgs SELECT n, n FROM generate_series(1, 100) n;
CREATE TABLE events (id int, at date NOT NULL, CONSTRAINT id_small CHECK (id < 1000)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (id);
CREATE TABLE events_2_1 PARTITION OF events_2 FOR VALUES IN (1);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX events_id ON events (id);
INSERT INTO events SELECT 1, '2025-05-05' FROM generate_series(1, 1000);
CREATE TABLE base (a int); CREATE TABLE heir () INHERITS (base);
CREATE UNLOGGED TABLE fast (a int);
CREATE TABLE "Odd"."My ""Table""" ("a b" int PRIMARY KEY);
CREATE TABLE app.a (e email, x int DEFAULT app.noise()); CREATE TABLE app.b (m mood[]);
CREATE VIEW app_view AS SELECT x FROM app.a;
CREATE TABLE shadowed (real int);
"#;

/// A client as a session: a batch is one statement after another.
struct Direct(Client);

impl Session for Direct {
    async fn run(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        let mut replies = Vec::new();
        for command in batch {
            let mut sql = command.sql.clone();
            for (at, value) in command.parameters.iter().enumerate().rev() {
                sql = sql.replace(&format!("${}", at + 1), &quote_literal(value));
            }
            let answer = self.0.run(&sql, Protocol::Simple);
            if let Some(error) = answer.error {
                return Err(RunError::Sql(Box::new(error)));
            }
            let cell = |cell: String| (!cell.is_empty()).then_some(cell);
            let rows = answer.rows.into_iter();
            replies.push(Reply {
                tag: answer.tags.last().cloned().unwrap_or_default(),
                rows: rows
                    .map(|row| row.into_iter().map(cell).collect())
                    .collect(),
            });
        }
        Ok(replies)
    }

    async fn sleep(&mut self, _duration: Duration) {}

    fn forgive(&mut self) {}

    fn interrupt(&self) -> Option<Interrupt> {
        None
    }

    fn notice(&mut self, _message: &str, _detail: &str) {}

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn ask(session: &mut Direct, request: &FactRequest) -> Facts {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let asked = introspect::facts(session, request, Duration::from_secs(5));
    let facts = runtime.expect("a runtime").block_on(asked);
    facts.unwrap_or_else(|error| panic!("{error}"))
}

fn full(session: &mut Direct, name: Name) -> Relation {
    let request = FactRequest {
        relations: vec![name.clone()],
        depth: Depth::Full,
        ..FactRequest::default()
    };
    let found = ask(session, &request).relations.pop().flatten();
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn public(session: &mut Direct, name: &str) -> Relation {
    full(session, Name::unqualified(name))
}

/// A session on each server, in a database with the schema.
fn each(test: impl Fn(&Bench, &mut Direct)) {
    for bench in benches() {
        let database = bench.database();
        let mut client = bench.direct(&database);
        client.ok(SCHEMA);
        test(bench, &mut Direct(client));
    }
}

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.name.as_str()).collect()
}

#[test]
fn columns() {
    each(|bench, session| {
        let details = public(session, "users").details;
        let all: Vec<&str> = details
            .columns
            .iter()
            .map(|own| own.name.as_str())
            .collect();
        let expected = [
            "id", "org", "mail", "code", "price", "at", "m", "n", "twice", "tags",
        ];
        assert_eq!(all, expected);
        let column = |name| details.column(name).expect("a column");
        let types: Vec<(&str, &str, i32)> = details
            .columns
            .iter()
            .map(|own| {
                (
                    own.type_sql.as_str(),
                    own.of_type.name.as_str(),
                    own.of_type.modifier,
                )
            })
            .collect();
        assert_eq!(types[3], ("character varying(20)", "character varying", 24));
        assert_eq!(types[4], ("numeric(10,2)", "numeric", 655_366));
        assert_eq!(types[5].2, 3);
        assert_eq!(
            types[9],
            ("character varying(5)[]", "character varying[]", 9)
        );
        let mail = column("mail");
        let base = mail.of_type.base.as_ref().expect("a domain");
        assert_eq!((base.oid, base.modifier), (1043, 44));
        assert!(mail.of_type.constrained && mail.not_null && mail.default.is_none());
        let code = column("code");
        assert_eq!(code.collation_name.as_deref(), Some("app.german"));
        assert!(code.collation != code.of_type.collation && code.of_type.collation == 100);
        assert_eq!(code.of_type.coercible_from, [25, 142]);
        assert_eq!(code.default.as_deref(), Some("'x'::character varying"));
        assert_eq!(column("at").default.as_deref(), Some("now()"));
        assert!(column("n").identity && !column("id").identity && column("id").not_null);
        assert!(column("twice").generated && column("m").of_type.base.is_none());
        assert_eq!(details.sequences.len(), 2);
        assert_eq!(
            details.sequences[0],
            Name::qualified("public", "users_id_seq")
        );
        if bench.version >= 18 {
            assert!(details.constraint("users_mail_not_null").is_some());
            session
                .0
                .ok("ALTER TABLE users ADD CONSTRAINT later NOT NULL org NOT VALID");
            let details = public(session, "users").details;
            assert!(!details.column("org").expect("a column").not_null);
        }
        let heir = public(session, "heir").details;
        assert!(heir.columns[0].inherited);
    });
}

#[test]
fn constraints_and_keys() {
    each(|_, session| {
        let users = public(session, "users");
        let found = |name| users.details.constraint(name).expect("a constraint");
        let positive = found("price_positive");
        assert_eq!(positive.kind, ConstraintKind::Check);
        assert_eq!(
            positive.expression.as_deref(),
            Some("(price > (0)::numeric)")
        );
        assert_eq!(
            (positive.columns.as_slice(), positive.validated),
            (&["price".to_owned()][..], true)
        );
        assert!(positive.definition.starts_with("CHECK ((price"));
        assert!(!found("not_checked").validated);
        assert_eq!(found("room").kind, ConstraintKind::Exclude);
        assert_eq!(found("users_pkey").index.as_deref(), Some("users_pkey"));
        let key = found("users_org_fkey");
        let orgs = key.references.as_ref().expect("a table");
        assert_eq!((orgs.name.as_str(), orgs.bytes), ("orgs", 8192));
        assert_eq!(orgs.indexes, ["orgs_pkey", "orgs_code_key"]);
        assert!(orgs.index_definitions[0].contains("USING btree (id)"));
        assert!(orgs.constraints.contains(&"PRIMARY KEY (id)".to_owned()));
        let by = &users.details.referenced_by;
        assert_eq!(by.len(), 1);
        assert_eq!(
            (by[0].name.as_str(), by[0].table.name.as_str()),
            ("orders_user", "orders")
        );
        assert_eq!(
            (&by[0].columns[0][..], &by[0].referenced_columns[0][..]),
            ("user_id", "id")
        );
        assert_eq!(by[0].index.as_deref(), Some("users_pkey"));
        let request = FactRequest {
            relations: vec![Name::unqualified("users")],
            candidates: ["orders_user", "totals", "users_some", "free"]
                .map(str::to_owned)
                .to_vec(),
            ..FactRequest::default()
        };
        let facts = ask(session, &request);
        let taken: Vec<&str> = facts
            .taken
            .iter()
            .map(|taken| taken.name.as_str())
            .collect();
        assert_eq!(
            (taken.len(), facts.taken_constraints.as_slice()),
            (2, &["orders_user".to_owned()][..])
        );
        assert!(facts.taken.iter().any(|taken| taken.index.is_some()));
        let outline = facts.relations[0].as_ref().expect("a table");
        assert_eq!(outline.details, Details::default());
    });
}

#[test]
fn indexes_and_what_names_columns() {
    each(|_, session| {
        let users = public(session, "users");
        let index = |name: &str| {
            users
                .indexes
                .iter()
                .find(|index| index.name == name)
                .expect("an index")
        };
        assert!(index("users_pkey").primary && index("users_pkey").unique);
        let lower = index("users_lower");
        assert_eq!(
            (lower.method.as_str(), lower.columns.as_slice()),
            ("hash", &[None][..])
        );
        let some = index("users_some");
        assert_eq!(
            some.columns,
            [Some("org".to_owned()), Some("code".to_owned())]
        );
        assert!(some.partial && !some.unique && some.definition.contains("INCLUDE (price)"));
        assert!(index("room").exclusion && index("room").constraint);
        assert!(users.indexes.iter().any(|index| index.schema == "pg_toast"));
        let users_of: Vec<(&str, &str, String)> = users
            .details
            .column_users
            .iter()
            .map(|user| {
                (
                    user.what.as_str(),
                    user.name.as_str(),
                    user.columns.join(" "),
                )
            })
            .collect();
        let expected = [
            ("generated", "twice", "price"),
            ("index", "users_lower", "code"),
            ("index", "users_some", "org price"),
            ("policy", "own", "org"),
            ("statistics", "users_stats", "code org"),
            ("trigger", "touched", "code mail"),
        ];
        let expected = expected.map(|(what, name, columns)| (what, name, columns.to_owned()));
        assert_eq!(users_of, expected);
    });
}

#[test]
fn views_and_properties() {
    each(|_, session| {
        let users = public(session, "users");
        let views: Vec<(&str, RelationKind, String)> = users
            .details
            .views
            .iter()
            .map(|view| (view.name.as_str(), view.kind, view.columns.join(" ")))
            .collect();
        let expected = [
            ("names", RelationKind::View, "code mail".to_owned()),
            ("few", RelationKind::View, String::new()),
            ("totals", RelationKind::MaterializedView, String::new()),
        ];
        assert_eq!(views, expected);
        let details = &users.details;
        assert!(details.published && !details.unlogged && !details.is_partition);
        assert_eq!(
            (
                details.access_method.as_deref(),
                details.tablespace.as_str()
            ),
            (Some("heap"), "")
        );
        let totals = public(session, "totals").details;
        assert!(!totals.populated && totals.query.is_some_and(|query| query.contains("count(*)")));
        assert!(public(session, "fast").details.unlogged);
        let orgs = public(session, "orgs").details;
        assert!(!orgs.published && orgs.query.is_none());
        let odd = full(session, Name::qualified("Odd", "My \"Table\""));
        assert_eq!(
            (odd.schema.as_str(), odd.details.columns[0].name.as_str()),
            ("Odd", "a b")
        );
    });
}

#[test]
fn partitions_and_children() {
    each(|bench, session| {
        let events = public(session, "events");
        let details = &events.details;
        assert_eq!(details.partition_key.as_deref(), Some("RANGE (at)"));
        assert_eq!(
            names(&details.descendants),
            ["events_1", "events_2", "events_rest", "events_2_1"]
        );
        assert_eq!(details.descendants[1].kind, RelationKind::PartitionedTable);
        assert_eq!(events.bytes, details.descendants[3].bytes);
        assert_eq!(
            (events.bytes > 0, details.descendants[1].bytes),
            (true, events.bytes)
        );
        let bound = details.descendants[0].partition_constraint.as_deref();
        assert!(
            bound.is_some_and(|bound| bound.contains("'2024-01-01'::date")),
            "{bound:?}"
        );
        let default = |details: &Details| {
            details
                .default_partition
                .as_ref()
                .map(|own| own.name.clone())
        };
        assert_eq!(default(details).as_deref(), Some("events_rest"));
        assert!(
            details.descendants[0]
                .constraints
                .iter()
                .any(|own| own.contains("id < 1000"))
        );
        let second = public(session, "events_2").details;
        assert!(second.is_partition && second.partition_key.is_some());
        assert_eq!(
            (
                names(&second.parents),
                second.parent_default.as_ref().map(|own| own.name.as_str())
            ),
            (vec!["events"], Some("events_rest"))
        );
        assert!(
            second
                .constraint("id_small")
                .is_some_and(|own| own.inherited)
        );
        assert_eq!(
            names(&public(session, "base").details.descendants),
            ["heir"]
        );
        assert!(!public(session, "heir").details.is_partition);
        let index = public(session, "events_id");
        assert_eq!(index.kind, RelationKind::PartitionedIndex);
        assert_eq!(index.details.descendants.len(), 4);
        if bench.version >= 14 {
            session.0.ok("DROP TABLE events_rest");
            session.0.ok("UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'events_1'::regclass");
            assert_eq!(
                names(&public(session, "events").details.detach_pending),
                ["events_1"]
            );
        }
    });
}

#[test]
fn types() {
    const TYPES: [(&str, Option<(&str, i32)>); 12] = [
        ("email", Some(("email", -1))),
        ("int", Some(("integer", -1))),
        ("numeric(10,2)", Some(("numeric", 655_366))),
        ("varchar(5)[]", Some(("character varying[]", 9))),
        ("no_such", None),
        ("char", Some(("character", 5))),
        ("float(24)", Some(("real", -1))),
        ("public.mood", Some(("mood", -1))),
        ("interval day to second(3)", Some(("interval", 470_286_339))),
        ("plain", Some(("plain", -1))),
        ("varchar(0)", Some(("character varying", 4))),
        ("mood(3)", Some(("mood", UNKNOWN_MODIFIER))),
    ];
    each(|_, session| {
        let request = FactRequest {
            types: TYPES.map(|(sql, _)| sql.to_owned()).to_vec(),
            ..FactRequest::default()
        };
        let facts = ask(session, &request);
        for (at, (sql, expected)) in TYPES.iter().enumerate() {
            let found: Option<&Type> = facts.types[at].as_ref();
            let found = found.map(|found| (found.name.as_str(), found.modifier));
            assert_eq!(found, *expected, "{sql}");
        }
        let plain = facts.types[9].as_ref().expect("a domain");
        assert!(!plain.constrained && plain.base.as_ref().is_some_and(|base| base.oid == 23));
    });
}

/// PostgreSQL's own types are the same in the shadow catalog.
#[test]
fn built_in_types_are_as_the_server_has_them() {
    each(|_, session| {
        let all = "SELECT format_type(oid, NULL) FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace
            AND typtype IN ('b', 'r') AND typarray <> 0 AND typrelid = 0 AND typcategory <> 'A' AND oid < 6000";
        let all: Vec<String> = session
            .0
            .ok(all)
            .rows
            .into_iter()
            .map(|mut row| row.remove(0))
            .collect();
        let request = FactRequest {
            types: all.clone(),
            ..FactRequest::default()
        };
        let facts = ask(session, &request);
        assert!(all.len() > 60);
        for (sql, found) in all.iter().zip(facts.types) {
            let mut own = lockkeeper::catalog::shadow::built_in(sql);
            let mut found = found;
            // Which of the newer types can be read as which differs between versions.
            for one in own.iter_mut().chain(&mut found) {
                one.coercible_from
                    .retain(|oid| ![3361, 3402, 5017, 4191].contains(oid));
            }
            assert_eq!(own, found, "{sql}");
        }
    });
}

#[test]
fn functions_and_the_time_zone() {
    use Volatility::{Stable, Volatile};
    each(|_, session| {
        let request = FactRequest {
            functions: [
                Name::unqualified("noise"),
                Name::qualified("app", "noise"),
                Name::unqualified("now"),
                Name::unqualified("timezone"),
                Name::unqualified("no_such"),
                Name::qualified("pg_catalog", "gen_random_uuid"),
            ]
            .to_vec(),
            ..FactRequest::default()
        };
        let facts = ask(session, &request);
        // AT LOCAL of PostgreSQL 17 is stable.
        assert!(facts.functions[3].is_some_and(|found| found < Volatile));
        let others = [0, 1, 2, 4, 5].map(|at| facts.functions[at]);
        assert_eq!(
            others,
            [
                Some(Stable),
                Some(Volatile),
                Some(Stable),
                None,
                Some(Volatile)
            ]
        );
        for (zone, is_utc) in [("utc", true), ("Etc/GMT", true), ("Europe/London", false)] {
            session.0.ok(&format!("SET timezone = '{zone}'"));
            assert_eq!(
                ask(session, &request).session.time_zone_is_utc,
                is_utc,
                "{zone}"
            );
        }
    });
}

#[test]
fn what_is_listed_of_objects() {
    each(|_, session| {
        session.0.ok("CREATE OR REPLACE FUNCTION kept(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n'");
        session
            .0
            .ok("CREATE INDEX base_kept ON base (kept(a)); CLUSTER orgs USING orgs_pkey");
        session.0.ok("ALTER TABLE fast ADD CHECK (kept(a) > 0)");
        session.0.ok("CREATE TABLE unkept (a int DEFAULT kept(1))");
        session
            .0
            .ok("CREATE TABLE keyed (a int) PARTITION BY RANGE (kept(a))");
        let object = |kind, name| ObjectRequest { kind, name };
        let named = Name::unqualified;
        let request = FactRequest {
            objects: vec![
                object(ObjectClass::Stored, named("kept")),
                object(ObjectClass::Stored, Name::qualified("app", "noise")),
                object(ObjectClass::Referring, named("orgs")),
                object(ObjectClass::Referring, named("events")),
                object(ObjectClass::Behind, named("few")),
                object(ObjectClass::Publication, named("pub")),
                object(ObjectClass::Tablespace, named("pg_global")),
                object(ObjectClass::Tables, named("app")),
                object(ObjectClass::Clustered, named("")),
                object(ObjectClass::Relation, named("users_id_seq")),
                object(ObjectClass::Server, named("nosuch")),
                object(ObjectClass::Behind, named("nosuch")),
            ],
            own_locks: true,
            ..FactRequest::default()
        };
        let facts = ask(session, &request);
        session.0.ok(
            "DROP TABLE unkept, keyed; DROP FUNCTION kept CASCADE; ALTER TABLE orgs SET WITHOUT CLUSTER",
        );
        let names: Vec<String> = facts
            .objects
            .iter()
            .map(|all| {
                let names = all.iter().map(|own| own.name.as_str());
                names.collect::<Vec<_>>().join(" ")
            })
            .collect();
        let expected = [
            "base fast keyed",
            "",
            "orders orgs users",
            "events events_1 events_2 events_2_1 events_rest",
            "few names users",
            "users",
            "",
            "a b",
            "orgs",
            "users users_id_seq",
            "",
            "",
        ];
        assert_eq!(names, expected);
        assert_eq!(facts.objects[2][1].indexes, ["orgs_pkey", "orgs_code_key"]);
        assert!(!facts.own_locks);
    });
}

#[test]
fn what_depends_on_objects() {
    each(|_, session| {
        session.0.ok("DROP ROLE IF EXISTS someone");
        session.0.ok("CREATE ROLE someone");
        session.0.ok("ALTER TABLE app.b OWNER TO someone");
        let object = |kind, name| ObjectRequest { kind, name };
        let request = FactRequest {
            objects: vec![
                object(ObjectClass::Schema, Name::unqualified("app")),
                object(ObjectClass::Type, Name::unqualified("email")),
                object(ObjectClass::Type, Name::qualified("public", "mood")),
                object(ObjectClass::Function, Name::qualified("app", "noise")),
                object(ObjectClass::Statistics, Name::unqualified("users_stats")),
                object(ObjectClass::Extension, Name::unqualified("plpgsql")),
                object(ObjectClass::Role, Name::unqualified("someone")),
                object(ObjectClass::Type, Name::unqualified("no_such")),
            ],
            ..FactRequest::default()
        };
        let facts = ask(session, &request);
        session.0.ok("DROP OWNED BY someone");
        session.0.ok("DROP ROLE someone");
        let found: Vec<String> = facts
            .objects
            .iter()
            .map(|all| {
                let names: Vec<String> =
                    all.iter().map(|own| own.qualified().to_string()).collect();
                names.join(" ")
            })
            .collect();
        let expected = [
            "app.a app.b public.app_view public.few public.names public.totals public.users",
            "app.a public.few public.names public.totals public.users",
            "app.b public.users",
            "app.a",
            "public.users",
            "public.users",
            "app.b",
            "",
        ];
        assert_eq!(found, expected);
    });
}

#[test]
fn names_are_found_as_the_server_finds_them() {
    each(|_, session| {
        session.0.ok("CREATE TEMP TABLE shadowed (temporary int)");
        let found = public(session, "shadowed");
        assert!(found.temporary && found.details.columns[0].name == "temporary");
        assert!(!full(session, Name::qualified("public", "shadowed")).temporary);
        session.0.ok("SET search_path = app");
        assert_eq!(public(session, "a").schema, "app");
        let request = FactRequest {
            relations: vec![Name::unqualified("users"), Name::unqualified("a")],
            depth: Depth::Full,
            ..FactRequest::default()
        };
        let facts = ask(session, &request);
        assert!(facts.relations[0].is_none() && facts.relations[1].is_some());
    });
}
