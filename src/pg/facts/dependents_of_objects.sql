dependents AS (
    SELECT coalesce(pg_catalog.jsonb_agg((
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
            'bytes', CASE WHEN c.relkind IN ('r', 'm', 'i') THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0) ELSE 0 END,
            'indexes', (
                SELECT coalesce(pg_catalog.jsonb_agg(x.relname ORDER BY x.oid), '[]'::pg_catalog.jsonb)
                FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                WHERE i.indrelid = c.oid))
            ORDER BY n.nspname, c.relname), '[]'::pg_catalog.jsonb)
        FROM (
            -- the largest, should there be very many
            SELECT c.* FROM locked l JOIN pg_catalog.pg_class c ON c.oid = l.oid
            WHERE l.at = o.at AND (c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S')
                OR o.kind = 'tablespace' AND c.relkind IN ('i', 'I'))
            ORDER BY c.relpages DESC LIMIT 10000) c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    ) ORDER BY o.at), '[]'::pg_catalog.jsonb) AS value
    FROM objects o
)
