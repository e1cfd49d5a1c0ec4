descendants (at, oid, level) AS (
    SELECT a.at, i.inhrelid, 1 FROM asked a JOIN pg_catalog.pg_inherits i ON i.inhparent = a.oid
    UNION ALL
    -- of a composite type the tables that are made OF it
    SELECT a.at, d.objid, 1 FROM asked a JOIN pg_catalog.pg_class c ON c.oid = a.oid AND c.relkind = 'c'
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid = c.reltype
    AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0 AND d.deptype = 'n'
    UNION ALL
    SELECT d.at, i.inhrelid, d.level + 1 FROM descendants d JOIN pg_catalog.pg_inherits i ON i.inhparent = d.oid
), kin AS (
    SELECT d.at, 'descendant' AS role, d.oid, pg_catalog.min(d.level) AS level FROM descendants d GROUP BY d.at, d.oid
    UNION ALL
    SELECT a.at, 'parent', i.inhparent, i.inhseqno FROM asked a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid
    UNION ALL
    SELECT a.at, 'default', p.partdefid, 1 FROM asked a JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.oid
    WHERE p.partdefid <> 0
    UNION ALL
    SELECT a.at, 'parent_default', p.partdefid, 1 FROM asked a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = i.inhparent WHERE p.partdefid <> 0
    UNION ALL
    -- inhdetachpending is there since PostgreSQL 14
    SELECT d.at, 'pending', d.oid, 1 FROM descendants d JOIN pg_catalog.pg_inherits i ON i.inhrelid = d.oid
    WHERE (pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::pg_catalog.bool
    UNION ALL
    SELECT a.at, 'referenced', k.confrelid, 1 FROM asked a JOIN pg_catalog.pg_constraint k ON k.conrelid = a.oid
    WHERE k.contype = 'f'
    {referring_kin}
), keys AS (
    -- by these columns the rows of a table can be gone through in order: unique at once, plain, never NULL, sorted as a
    -- comparison of them sorts without being told how
    SELECT DISTINCT ON (i.indrelid) i.indrelid AS oid, (
        SELECT pg_catalog.jsonb_agg(t.attname ORDER BY y.at)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS y (attnum, at)
        JOIN pg_catalog.pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = y.attnum
        WHERE y.at <= i.indnkeyatts) AS value
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree'
    WHERE i.indrelid IN (SELECT k.oid FROM kin k UNION ALL SELECT a.oid FROM asked a)
    AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indisready
    AND i.indpred IS NULL AND i.indexprs IS NULL
    AND NOT EXISTS (
        SELECT FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS y (at)
        JOIN pg_catalog.pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = i.indkey[y.at]
        JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[y.at]
        WHERE i.indoption[y.at] <> 0 OR i.indcollation[y.at] <> t.attcollation OR NOT o.opcdefault
        OR NOT t.attnotnull OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = i.indrelid AND k.contype = 'n'
            AND k.conkey[1] = t.attnum AND NOT k.convalidated))
    ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid
), members AS (
    SELECT c.oid, pg_catalog.jsonb_build_object(
        'oid', c.oid::pg_catalog.int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
        'bytes', CASE WHEN c.relkind IN ('p', 'I')
            THEN (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(p.relid)), 0)
                  FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf)
            WHEN c.relkind IN ('r', 'm', 'i', 't') THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0) ELSE 0 END,
        'indexes', (
            SELECT coalesce(pg_catalog.jsonb_agg(x.relname ORDER BY x.oid), '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid),
        'table', (
            SELECT pg_catalog.jsonb_build_object('schema', tn.nspname, 'name', t.relname)
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
            JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE i.indexrelid = c.oid),
        'index_definitions', (
            SELECT coalesce(pg_catalog.jsonb_agg(coalesce(pg_catalog.pg_get_indexdef(i.indexrelid), '') ORDER BY i.indexrelid),
                '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid),
        -- it takes a lock that stays, and of the default partition it names all others
        'partition_constraint', CASE WHEN c.relispartition AND c.relkind NOT IN ('i', 'I')
            AND (SELECT pg_catalog.count(*) <= 64 FROM kin)
            THEN pg_catalog.pg_get_partition_constraintdef(c.oid) END,
        'key', coalesce((SELECT y.value FROM keys y WHERE y.oid = c.oid), '[]'::pg_catalog.jsonb),
        'columns', CASE WHEN NOT c.relispartition AND c.relkind IN ('r', 'f') THEN (
            SELECT coalesce(pg_catalog.jsonb_agg(t.attname ORDER BY t.attnum), '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_attribute t WHERE t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped)
            ELSE '[]'::pg_catalog.jsonb END,
        'not_null', (
            SELECT coalesce(pg_catalog.jsonb_agg(t.attname ORDER BY t.attnum), '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_attribute t WHERE t.attrelid = c.oid AND t.attnum > 0 AND t.attnotnull
            AND NOT t.attisdropped AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'n'
                AND k.conkey[1] = t.attnum AND NOT k.convalidated)),
        'constraints', (
            SELECT coalesce(pg_catalog.jsonb_agg(coalesce(pg_catalog.pg_get_constraintdef(k.oid), '') ORDER BY k.oid),
                '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.convalidated)) AS value
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid IN (SELECT k.oid FROM kin k)
)
