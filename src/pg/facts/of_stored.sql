-- what keeps results of a function: expression and partial indexes, CHECKs, stored generated columns, partition keys
SELECT x.at, x.oid FROM (
    SELECT o.at, d.classid, d.objid, d.objsubid
    FROM objects o JOIN pg_catalog.pg_proc p ON p.proname = o.name
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = p.oid
    WHERE o.kind = 'stored'
    AND CASE WHEN o.schema = '' THEN pg_catalog.pg_function_is_visible(p.oid) ELSE n.nspname = o.schema END
) f CROSS JOIN LATERAL (
    SELECT f.at, c.oid FROM pg_catalog.pg_class c
    WHERE f.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = f.objid AND c.relkind = 'p'
    UNION ALL
    SELECT f.at, i.indrelid AS oid FROM pg_catalog.pg_index i
    WHERE f.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = f.objid
    UNION ALL
    SELECT f.at, k.conrelid FROM pg_catalog.pg_constraint k
    WHERE f.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = f.objid AND k.contype = 'c'
    UNION ALL
    SELECT f.at, a.adrelid FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_attribute t
        ON t.attrelid = a.adrelid AND t.attnum = a.adnum AND t.attgenerated = 's'
    WHERE f.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.oid = f.objid
) x
