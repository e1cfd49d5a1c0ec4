-- A database with something of everything that pg_dump knows, small.
CREATE SCHEMA app;
CREATE SCHEMA "Strange ""Schema""";
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'it''s fine');
CREATE TYPE app.pair AS (a int, b text);
CREATE TYPE app.span AS RANGE (subtype = float8);
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE app.numbers START 100 INCREMENT 5 CYCLE MAXVALUE 1000;
CREATE COLLATION app.c (provider = libc, locale = 'C');

CREATE FUNCTION app.twice(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- DROP TABLE app.t1; a comment, as is '; CREATE INDEX'
    NEW.label := coalesce(NEW.label, 'stamped');
    RETURN NEW;
END;
$body$;
CREATE PROCEDURE app.nothing() LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE AGGREGATE app.product(int) (sfunc = int4mul, stype = int, initcond = '1');
CREATE OPERATOR app.<<>> (leftarg = int, rightarg = int, procedure = int4ne);
CREATE CAST (app.mood AS int) WITH INOUT;

-- Thirty tables, each referring to the one before.
DO $$
BEGIN
    FOR n IN 1..30 LOOP
        EXECUTE format('CREATE TABLE app.t%s(id serial PRIMARY KEY, n int DEFAULT app.twice(%s), label text)', n, n);
        EXECUTE format('INSERT INTO app.t%s(n, label) SELECT g, ''row '' || g FROM generate_series(1, 40) g', n);
        EXECUTE format('CREATE INDEX ON app.t%s(n)', n);
        EXECUTE format('CREATE INDEX t%s_expression ON app.t%s(lower(label)) WHERE n > 5', n, n);
        EXECUTE format('CREATE UNIQUE INDEX ON app.t%s(n DESC NULLS LAST) INCLUDE (label)', n);
        IF n > 1 THEN
            EXECUTE format('ALTER TABLE app.t%s ADD COLUMN parent int REFERENCES app.t%s ON DELETE CASCADE', n, n - 1);
        END IF;
        EXECUTE format('COMMENT ON TABLE app.t%s IS ''table %s; not the last''', n, n);
    END LOOP;
END;
$$;
CREATE TRIGGER stamp BEFORE INSERT ON app.t1 FOR EACH ROW EXECUTE FUNCTION app.stamp();
ALTER TABLE app.t2 ADD CONSTRAINT label_is_short CHECK (length(label) < 100) NOT VALID;
ALTER TABLE app.t3 ADD CONSTRAINT t3_label_key UNIQUE (label), REPLICA IDENTITY FULL, CLUSTER ON t3_pkey;
ALTER TABLE app.t4 ADD CONSTRAINT no_overlap EXCLUDE USING gist (int4range(n, n + 1) WITH &&);
ALTER TABLE app.t5 ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON app.t5 USING (label = current_user);
ALTER TABLE app.t6 SET (fillfactor = 70, autovacuum_enabled = off);
ALTER TABLE app.t7 ALTER COLUMN label SET STATISTICS 500, ALTER COLUMN label SET STORAGE external;
CREATE STATISTICS app.related ON n, label FROM app.t8;
CREATE RULE quiet AS ON DELETE TO app.t9 DO INSTEAD NOTHING;
GRANT SELECT (id, n), UPDATE ON app.t10 TO PUBLIC;

CREATE TABLE app.everything(
    a int GENERATED ALWAYS AS IDENTITY,
    b app.mood DEFAULT 'ok',
    c app.pair,
    d app.positive[],
    e int GENERATED ALWAYS AS (a + 1) STORED,
    f text COLLATE app.c,
    g bytea,
    h jsonb,
    i timestamptz,
    "weird ""name""; DROP TABLE x" text
);
INSERT INTO app.everything(c, d, f, g, h, i) VALUES
    ((1, E'tab\tand\nline'), '{1,NULL}', 'ä名', '\x0001ff', '{"a": [1, "\\"]}', '2020-01-01 00:00:00+00'),
    (NULL, NULL, E'\\.', '', 'null', 'infinity');
CREATE INDEX ON app.everything USING gin (h);
CREATE INDEX ON app.everything USING brin (i);
CREATE INDEX ON app.everything USING hash (f);
CREATE INDEX "strange; index" ON app.everything("weird ""name""; DROP TABLE x" text_pattern_ops);
CREATE TABLE "Strange ""Schema"""."Table ; --"("col /*" int PRIMARY KEY);
CREATE UNLOGGED TABLE app.unlogged(a int);
CREATE TABLE app.child(extra int) INHERITS (app.t11);

CREATE TABLE app.parted(a int, b text, PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES FROM (0) TO (100);
CREATE TABLE app.parted_2 PARTITION OF app.parted FOR VALUES FROM (100) TO (200) PARTITION BY LIST (a);
CREATE TABLE app.parted_2a PARTITION OF app.parted_2 FOR VALUES IN (100, 101);
CREATE TABLE app.parted_default PARTITION OF app.parted DEFAULT;
CREATE INDEX parted_b ON app.parted(b);
INSERT INTO app.parted VALUES (1, 'one'), (100, 'hundred'), (999, 'many');
ALTER TABLE app.parted ADD CONSTRAINT to_t1 FOREIGN KEY (a) REFERENCES app.parted;

CREATE VIEW app.v AS SELECT t1.id, t2.label FROM app.t1 JOIN app.t2 USING (n);
CREATE VIEW app.w AS SELECT * FROM app.v WITH CASCADED CHECK OPTION;
CREATE MATERIALIZED VIEW app.m AS SELECT n, count(*) FROM app.t1 GROUP BY n;
CREATE UNIQUE INDEX ON app.m(n);
CREATE PUBLICATION everything FOR TABLE app.t1, app.t2;
CREATE TEXT SEARCH CONFIGURATION app.english (COPY = pg_catalog.english);
CREATE FUNCTION app.noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION app.noted();
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;

SELECT lo_from_bytea(n, decode(repeat('00ff', n * 1000), 'hex')) FROM generate_series(4000, 4003) n;
COMMENT ON LARGE OBJECT 4000 IS 'large';
SELECT nextval('app.numbers');
ANALYZE;
