view_links (at, view, source, attnum, level) AS (
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
        'pg_catalog.pg_trigger'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
        'pg_catalog.pg_publication_rel'::pg_catalog.regclass)
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
    -- functions with a body in SQL, publications of some columns or rows
    SELECT u.at, 'object', u.objid::pg_catalog.text::pg_catalog.name, u.attname FROM uses u
    WHERE u.classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_publication_rel'::pg_catalog.regclass)
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
