asked AS (
    SELECT n.at, pg_catalog.to_regclass(n.name)::pg_catalog.oid AS oid
    FROM pg_catalog.unnest({relations}::pg_catalog.text[]) WITH ORDINALITY AS n (name, at)
), tables AS (
    -- the tables whose indexes are listed: those asked for, their TOAST tables, and the tables of indexes asked for
    SELECT a.at, c.oid AS table_oid FROM asked a JOIN pg_catalog.pg_class c ON c.oid = a.oid
    UNION ALL
    SELECT a.at, c.reltoastrelid FROM asked a JOIN pg_catalog.pg_class c ON c.oid = a.oid WHERE c.reltoastrelid <> 0
    UNION ALL
    SELECT a.at, i.indrelid FROM asked a JOIN pg_catalog.pg_index i ON i.indexrelid = a.oid
), indexes AS (
    SELECT i.indexrelid AS oid, i.indrelid AS table_oid,
        pg_catalog.jsonb_build_object(
            'oid', i.indexrelid::pg_catalog.int8,
            'schema', n.nspname, 'name', c.relname,
            'valid', i.indisvalid, 'exclusion', i.indisexclusion,
            'unique', i.indisunique, 'primary', i.indisprimary, 'partial', i.indpred IS NOT NULL,
            {index_details}
            'constraint', EXISTS (
                SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.objid = i.indexrelid AND d.deptype = 'i'
                AND d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass),
            -- parameter 7 of pg_stat_progress_create_index is index_relid; of other roles' builds it is NULL
            'building', EXISTS (
                SELECT FROM pg_catalog.pg_stat_get_progress_info('CREATE INDEX') b
                WHERE b.param7 = i.indexrelid::pg_catalog.int8),
            'dependents', (
                SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d
                WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indexrelid
                AND d.deptype = 'n')) AS value
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE i.indrelid IN (SELECT t.table_oid FROM tables t)
), relations AS (
    -- a relation that came or went while this is read makes the answer one that can't be used
    SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN a.oid IS NULL THEN NULL
        WHEN c.oid IS NULL THEN '"changing"'::pg_catalog.jsonb ELSE pg_catalog.jsonb_build_object(
        'oid', c.oid::pg_catalog.int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
        'temporary', c.relpersistence = 't',
        -- by a row that is made with the relation and never written anew: a savepoint has a number of its own
        'created_here', CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN false ELSE EXISTS (
            SELECT FROM pg_catalog.pg_locks l
            WHERE l.locktype = 'transactionid' AND l.pid = pg_catalog.pg_backend_pid() AND l.transactionid = coalesce(
                (SELECT s.xmin FROM pg_catalog.pg_attribute s WHERE s.attrelid = c.oid AND s.attnum = -1),
                (SELECT s.xmin FROM pg_catalog.pg_index s WHERE s.indexrelid = c.oid),
                (SELECT s.xmin FROM pg_catalog.pg_type s WHERE s.oid = c.reltype), c.xmin)) END,
        'owned', coalesce(pg_catalog.pg_has_role(c.relowner, 'USAGE'), false),
        'owner', CASE WHEN pg_catalog.pg_get_userbyid(c.relowner) <> current_user
            THEN pg_catalog.pg_get_userbyid(c.relowner) END,
        'bytes', CASE WHEN c.relkind IN ('p', 'I')
            THEN (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(p.relid)), 0)
                  FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf)
            WHEN c.relkind IN ('r', 'm', 'i', 't') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END,
        'rows', c.reltuples::pg_catalog.int8,
        'extension', (
            SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'
            AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass LIMIT 1),
        'indexes', (
            SELECT coalesce(pg_catalog.jsonb_agg(x.value ORDER BY x.oid), '[]'::pg_catalog.jsonb)
            FROM indexes x WHERE x.table_oid IN (SELECT t.table_oid FROM tables t WHERE t.at = a.at)),
        'index', (SELECT x.value FROM indexes x WHERE x.oid = c.oid),
        {details}
        'table', (
            SELECT pg_catalog.jsonb_build_object(
                'oid', tc.oid::pg_catalog.int8, 'schema', tn.nspname, 'name', tc.relname, 'kind', tc.relkind,
                'bytes', CASE WHEN tc.relkind IN ('r', 'm', 't') THEN pg_catalog.pg_relation_size(tc.oid)
                    ELSE 0 END)
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid
            JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace WHERE i.indexrelid = c.oid)
        ) END ORDER BY a.at), '[]'::pg_catalog.jsonb) AS value
    FROM asked a
    LEFT JOIN pg_catalog.pg_class c ON c.oid = a.oid
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
)
