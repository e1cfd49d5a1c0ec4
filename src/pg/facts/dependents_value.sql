|| pg_catalog.jsonb_build_object(
    'referenced_by', (
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', k.conname, 'table', m.value,
            'columns', (
                SELECT pg_catalog.jsonb_agg(t.attname ORDER BY y.at)
                FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS y (attnum, at)
                JOIN pg_catalog.pg_attribute t ON t.attrelid = k.conrelid AND t.attnum = y.attnum),
            'referenced_columns', (
                SELECT pg_catalog.jsonb_agg(t.attname ORDER BY y.at)
                FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS y (attnum, at)
                JOIN pg_catalog.pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = y.attnum),
            'index', (SELECT x.relname FROM pg_catalog.pg_class x WHERE x.oid = k.conindid),
            -- a partition's share in its parent's key
            'is_share', EXISTS (
                SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = k.conparentid AND p.confrelid = c.oid))
            ORDER BY k.oid),
            '[]'::pg_catalog.jsonb)
        FROM referring f JOIN pg_catalog.pg_constraint k ON k.oid = f.oid JOIN members m ON m.oid = f.table_oid
        WHERE f.at = a.at),
    'views', (
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'schema', vn.nspname, 'name', vc.relname, 'kind', vc.relkind,
            'columns', coalesce(v.columns, '[]'::pg_catalog.jsonb)) ORDER BY vc.oid), '[]'::pg_catalog.jsonb)
        FROM views v JOIN pg_catalog.pg_class vc ON vc.oid = v.view
        JOIN pg_catalog.pg_namespace vn ON vn.oid = vc.relnamespace WHERE v.at = a.at),
    'column_users', (
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'what', g.what, 'name', g.name, 'columns', g.columns) ORDER BY g.what, g.name), '[]'::pg_catalog.jsonb)
        FROM (SELECT u.what, u.name, pg_catalog.jsonb_agg(DISTINCT u.attname) AS columns
              FROM named_uses u WHERE u.at = a.at GROUP BY u.what, u.name) g))
