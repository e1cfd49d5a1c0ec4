named_types AS (
    SELECT n.at, pg_catalog.to_regtype(n.name)::pg_catalog.oid AS oid
    FROM pg_catalog.unnest({types}::pg_catalog.text[]) WITH ORDINALITY AS n (name, at)
)
