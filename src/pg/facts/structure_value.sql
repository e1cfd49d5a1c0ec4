'details', pg_catalog.jsonb_build_object(
    'columns', (
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', t.attname,
            'type', v.value || pg_catalog.jsonb_build_object('modifier', t.atttypmod),
            'type_sql', coalesce(pg_catalog.format_type(t.atttypid, t.atttypmod), ''),
            'collation', t.attcollation::pg_catalog.int8,
            'collation_name', CASE WHEN t.attcollation <> v.typcollation THEN (
                SELECT pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(k.collname)
                FROM pg_catalog.pg_collation k
                JOIN pg_catalog.pg_namespace cn ON cn.oid = k.collnamespace WHERE k.oid = t.attcollation) END,
            -- since PostgreSQL 18 a NOT NULL may be NOT VALID
            'not_null', t.attnotnull AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'n'
                AND k.conkey[1] = t.attnum AND NOT k.convalidated),
            'default', (
                SELECT pg_catalog.pg_get_expr(f.adbin, f.adrelid) FROM pg_catalog.pg_attrdef f
                WHERE f.adrelid = c.oid AND f.adnum = t.attnum),
            'identity', t.attidentity <> '', 'generated', t.attgenerated <> '',
            'inherited', t.attinhcount > 0) ORDER BY t.attnum), '[]'::pg_catalog.jsonb)
        FROM pg_catalog.pg_attribute t JOIN type_values v ON v.oid = t.atttypid
        WHERE t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped),
    'constraints', (
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', k.conname, 'kind', k.contype, 'validated', k.convalidated,
            'columns', (
                SELECT coalesce(pg_catalog.jsonb_agg(t.attname ORDER BY y.at), '[]'::pg_catalog.jsonb)
                FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS y (attnum, at)
                JOIN pg_catalog.pg_attribute t ON t.attrelid = k.conrelid AND t.attnum = y.attnum),
            'definition', coalesce(pg_catalog.pg_get_constraintdef(k.oid), ''),
            'expression', pg_catalog.pg_get_expr(k.conbin, k.conrelid),
            'index', (SELECT x.relname FROM pg_catalog.pg_class x WHERE x.oid = k.conindid),
            'references', (SELECT m.value FROM members m WHERE m.oid = k.confrelid),
            'inherited', k.coninhcount > 0 OR k.conparentid <> 0) ORDER BY k.oid), '[]'::pg_catalog.jsonb)
        FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid),
    'descendants', (
        SELECT coalesce(pg_catalog.jsonb_agg(m.value ORDER BY k.level, k.oid), '[]'::pg_catalog.jsonb)
        FROM kin k JOIN members m ON m.oid = k.oid WHERE k.at = a.at AND k.role = 'descendant'),
    'parents', (
        SELECT coalesce(pg_catalog.jsonb_agg(m.value ORDER BY k.level), '[]'::pg_catalog.jsonb)
        FROM kin k JOIN members m ON m.oid = k.oid WHERE k.at = a.at AND k.role = 'parent'),
    'key', coalesce((SELECT y.value FROM keys y WHERE y.oid = c.oid), '[]'::pg_catalog.jsonb),
    'is_partition', c.relispartition,
    'partition_key', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
    'partition_columns', (
        SELECT coalesce(pg_catalog.jsonb_agg(t.attname), '[]'::pg_catalog.jsonb)
        FROM pg_catalog.pg_partitioned_table p JOIN pg_catalog.pg_attribute t
            ON t.attrelid = p.partrelid AND t.attnum = ANY (p.partattrs::pg_catalog.int2[])
        WHERE p.partrelid = c.oid),
    'is_typed', c.reloftype <> 0,
    'default_partition', (
        SELECT m.value FROM kin k JOIN members m ON m.oid = k.oid WHERE k.at = a.at AND k.role = 'default'),
    'parent_default', (
        SELECT m.value FROM kin k JOIN members m ON m.oid = k.oid
        WHERE k.at = a.at AND k.role = 'parent_default' LIMIT 1),
    'detach_pending', (
        SELECT coalesce(pg_catalog.jsonb_agg(m.value ORDER BY k.oid), '[]'::pg_catalog.jsonb)
        FROM kin k JOIN members m ON m.oid = k.oid WHERE k.at = a.at AND k.role = 'pending'),
    'sequences', (
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'schema', sn.nspname, 'name', s.relname) ORDER BY s.oid), '[]'::pg_catalog.jsonb)
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid
        AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')),
    'has_policies', EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
    'published', EXISTS (
        SELECT FROM pg_catalog.pg_publication p
        WHERE (p.puballtables AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p')
        OR (NOT p.puballtables AND c.oid IN (
            SELECT t.relid FROM pg_catalog.pg_get_publication_tables(p.pubname::pg_catalog.text) t))),
    'access_method', (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam),
    'tablespace', coalesce(
        (SELECT s.spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = c.reltablespace)::pg_catalog.text, ''),
    'unlogged', c.relpersistence = 'u',
    'populated', c.relkind = 'm' AND c.relispopulated,
    'query', CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END){dependents},
