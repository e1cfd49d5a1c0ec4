-- what a view reads, through other views, and the partitions and children of it all
SELECT x.at, x.oid FROM (
    WITH RECURSIVE read (at, oid) AS (
        SELECT o.at, pg_catalog.to_regclass(
            CASE WHEN o.schema = '' THEN '' ELSE pg_catalog.quote_ident(o.schema) || '.' END
            || pg_catalog.quote_ident(o.name))::pg_catalog.oid
        FROM objects o WHERE o.kind = 'behind'
        UNION
        SELECT e.at, y.oid FROM read e CROSS JOIN LATERAL (
            SELECT d.refobjid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.objid = r.oid
            JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
            WHERE r.ev_class = e.oid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            UNION ALL
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = e.oid) y (oid)
    ) SELECT e.at, e.oid FROM read e) x
