functions AS (
    SELECT coalesce(pg_catalog.jsonb_agg((
        SELECT pg_catalog.max(p.provolatile::pg_catalog.text)
        FROM pg_catalog.pg_proc p
        WHERE p.proname = f.name
        AND p.pronamespace IN (
            SELECT n.oid FROM pg_catalog.pg_namespace n
            WHERE CASE WHEN f.schema = '' THEN n.nspname = ANY (pg_catalog.current_schemas(true))
                ELSE n.nspname = f.schema END)
        -- AT TIME ZONE is volatile for time with time zone alone
        AND NOT (p.proname = 'timezone' AND 1266 = ANY (p.proargtypes)
                 AND p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace)
    ) ORDER BY f.at), '[]'::pg_catalog.jsonb) AS value
    FROM ROWS FROM (
        pg_catalog.unnest({function_schemas}::pg_catalog.name[]),
        pg_catalog.unnest({function_names}::pg_catalog.name[])
    ) WITH ORDINALITY AS f (schema, name, at)
)
