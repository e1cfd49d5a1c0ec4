referring AS (
    -- no index of pg_constraint leads from the table referred to; the dependencies of its columns do
    SELECT DISTINCT a.at, k.oid, k.table_oid
    FROM asked a JOIN pg_catalog.pg_depend d ON d.refobjid = a.oid
    CROSS JOIN LATERAL (
        SELECT k.oid, k.conrelid AS table_oid FROM pg_catalog.pg_constraint k
        WHERE k.oid = d.objid AND k.contype = 'f' AND k.confrelid = a.oid AND k.conrelid <> a.oid OFFSET 0) k
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
    AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
)
