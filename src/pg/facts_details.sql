descendants (at, oid, level) AS (
    SELECT a.at, i.inhrelid, 1 FROM asked a JOIN pg_catalog.pg_inherits i ON i.inhparent = a.oid
    UNION ALL
    SELECT d.at, i.inhrelid, d.level + 1 FROM descendants d JOIN pg_catalog.pg_inherits i ON i.inhparent = d.oid
), referring AS (
    -- no index of pg_constraint leads from the table referred to; the dependencies of its columns do
    SELECT DISTINCT a.at, k.oid, k.table_oid
    FROM asked a JOIN pg_catalog.pg_depend d ON d.refobjid = a.oid
    CROSS JOIN LATERAL (
        SELECT k.oid, k.conrelid AS table_oid FROM pg_catalog.pg_constraint k
        WHERE k.oid = d.objid AND k.contype = 'f' AND k.confrelid = a.oid AND k.conrelid <> a.oid OFFSET 0) k
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
    AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
), kin AS (
    SELECT d.at, 'descendant' AS role, d.oid, pg_catalog.min(d.level) AS level FROM descendants d GROUP BY d.at, d.oid
    UNION ALL
    SELECT a.at, 'parent', i.inhparent, i.inhseqno FROM asked a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid
    UNION ALL
    SELECT a.at, 'default', p.partdefid, 1 FROM asked a JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.oid
    WHERE p.partdefid <> 0
    UNION ALL
    SELECT a.at, 'default', p.partdefid, 2 FROM asked a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = i.inhparent WHERE p.partdefid <> 0
    UNION ALL
    -- inhdetachpending is there since PostgreSQL 14
    SELECT a.at, 'pending', i.inhrelid, 1 FROM asked a JOIN pg_catalog.pg_inherits i ON i.inhparent = a.oid
    WHERE (pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::pg_catalog.bool
    UNION ALL
    SELECT a.at, 'referenced', k.confrelid, 1 FROM asked a JOIN pg_catalog.pg_constraint k ON k.conrelid = a.oid
    WHERE k.contype = 'f'
    UNION ALL
    SELECT r.at, 'referring', r.table_oid, 1 FROM referring r
), members AS (
    SELECT c.oid, pg_catalog.jsonb_build_object(
        'oid', c.oid::pg_catalog.int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
        'bytes', CASE WHEN c.relkind IN ('p', 'I')
            THEN (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(p.relid)), 0)
                  FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf)
            WHEN c.relkind IN ('r', 'm', 'i', 't') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END,
        'indexes', (
            SELECT coalesce(pg_catalog.jsonb_agg(x.relname ORDER BY x.oid), '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid),
        'table', (
            SELECT pg_catalog.jsonb_build_object('schema', tn.nspname, 'name', t.relname)
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
            JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace WHERE i.indexrelid = c.oid),
        'index_definitions', (
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.pg_get_indexdef(i.indexrelid) ORDER BY i.indexrelid),
                '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid),
        -- it takes a lock that stays, and of the default partition it names all others
        'partition_constraint', CASE WHEN c.relispartition AND c.relkind NOT IN ('i', 'I')
            AND (SELECT pg_catalog.count(*) <= 64 FROM kin)
            THEN pg_catalog.pg_get_partition_constraintdef(c.oid) END,
        'constraints', (
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.pg_get_constraintdef(k.oid) ORDER BY k.oid),
                '[]'::pg_catalog.jsonb)
            FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.convalidated)) AS value
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid IN (SELECT k.oid FROM kin k)
), view_links (at, view, source, attnum, level) AS (
    SELECT a.at, r.ev_class, d.refobjid, d.refobjsubid, 1
    FROM asked a JOIN pg_catalog.pg_depend d ON d.refobjid = a.oid
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.ev_class <> a.oid
    UNION
    SELECT v.at, r.ev_class, d.refobjid, 0, 2
    FROM view_links v JOIN pg_catalog.pg_depend d ON d.refobjid = v.view
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.ev_class <> v.view
), views AS (
    SELECT s.at, s.view, s.columns
    FROM (SELECT v.at, v.view, pg_catalog.jsonb_agg(DISTINCT t.attname) FILTER (WHERE t.attname IS NOT NULL) AS columns
          FROM view_links v LEFT JOIN pg_catalog.pg_attribute t
              ON v.level = 1 AND v.attnum > 0 AND t.attrelid = v.source AND t.attnum = v.attnum
          GROUP BY v.at, v.view) s
), uses AS (
    -- what names columns, by its dependencies; of an index with an expression or a predicate those that aren't its keys
    SELECT a.at, d.classid, d.objid, d.objsubid, t.attname, t.attnum, pg_catalog.count(*) AS times
    FROM asked a JOIN pg_catalog.pg_depend d ON d.refobjid = a.oid
    JOIN pg_catalog.pg_attribute t ON t.attrelid = a.oid AND t.attnum = d.refobjsubid
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
    AND d.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_attrdef'::pg_catalog.regclass,
        'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,
        'pg_catalog.pg_trigger'::pg_catalog.regclass)
    GROUP BY a.at, d.classid, d.objid, d.objsubid, t.attname, t.attnum
), named_uses AS (
    SELECT u.at, 'statistics' AS what, s.stxname AS name, u.attname
    FROM uses u JOIN pg_catalog.pg_statistic_ext s ON s.oid = u.objid
    WHERE u.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
    UNION ALL
    SELECT u.at, 'policy', p.polname, u.attname FROM uses u JOIN pg_catalog.pg_policy p ON p.oid = u.objid
    WHERE u.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
    UNION ALL
    SELECT u.at, 'trigger', t.tgname, u.attname FROM uses u JOIN pg_catalog.pg_trigger t ON t.oid = u.objid
    WHERE u.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND NOT t.tgisinternal
    UNION ALL
    SELECT u.at, 'index', c.relname, u.attname
    FROM uses u JOIN pg_catalog.pg_class c ON c.oid = u.objid
    CROSS JOIN LATERAL (SELECT i.* FROM pg_catalog.pg_index i WHERE i.indexrelid = u.objid OFFSET 0) i
    WHERE u.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)
    -- the index of a constraint has no dependencies of its own on its keys
    AND u.times > CASE WHEN u.attnum = ANY (i.indkey) AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
        THEN 1 ELSE 0 END
    UNION ALL
    -- a generated column: since PostgreSQL 15 its expression, before it the column itself
    SELECT u.at, 'generated', g.attname, u.attname
    FROM uses u JOIN pg_catalog.pg_attrdef f ON f.oid = u.objid
    JOIN pg_catalog.pg_attribute g ON g.attrelid = f.adrelid AND g.attnum = f.adnum AND g.attgenerated <> ''
    WHERE u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND g.attnum <> u.attnum
    UNION ALL
    SELECT u.at, 'generated', g.attname, u.attname
    FROM uses u JOIN asked a ON a.at = u.at AND a.oid = u.objid
    JOIN pg_catalog.pg_attribute g ON g.attrelid = u.objid AND g.attnum = u.objsubid AND g.attgenerated <> ''
    WHERE u.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND g.attnum <> u.attnum
)
