place AS (
    -- the schema of the first relation
    SELECT c.relnamespace AS oid FROM asked a JOIN pg_catalog.pg_class c ON c.oid = a.oid WHERE a.at = 1
), taken AS (
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', c.relname, 'kind', c.relkind,
        'index', (SELECT x.value FROM indexes x WHERE x.oid = c.oid))), '[]'::pg_catalog.jsonb) AS value
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT p.oid FROM place p)
    AND c.relname = ANY ({candidates}::pg_catalog.name[])
), taken_constraints AS (
    SELECT coalesce(pg_catalog.jsonb_agg(DISTINCT k.conname), '[]'::pg_catalog.jsonb) AS value
    FROM pg_catalog.pg_constraint k
    WHERE k.connamespace = (SELECT p.oid FROM place p)
    AND k.conname = ANY ({candidates}::pg_catalog.name[])
)
