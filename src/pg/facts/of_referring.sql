-- what refers to a table, what refers to that, and the partitions and children of it all
SELECT x.at, x.oid FROM (
    WITH RECURSIVE emptied (at, oid) AS (
        SELECT o.at, pg_catalog.to_regclass(
            CASE WHEN o.schema = '' THEN '' ELSE pg_catalog.quote_ident(o.schema) || '.' END
            || pg_catalog.quote_ident(o.name))::pg_catalog.oid
        FROM objects o WHERE o.kind = 'referring'
        UNION
        SELECT e.at, y.oid FROM emptied e CROSS JOIN LATERAL (
            SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confrelid = e.oid
            UNION ALL
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = e.oid) y (oid)
    ) SELECT e.at, e.oid FROM emptied e) x
