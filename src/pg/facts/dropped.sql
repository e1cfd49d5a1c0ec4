dropped (at, classid, objid, objsubid) AS (
    SELECT r.at, r.classid, r.objid, 0 FROM (
        SELECT o.at, 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AS classid, n.oid AS objid
        FROM objects o JOIN pg_catalog.pg_namespace n ON n.nspname = o.name WHERE o.kind = 'schema'
        UNION ALL
        SELECT o.at, 'pg_catalog.pg_type'::pg_catalog.regclass, pg_catalog.to_regtype(
            CASE WHEN o.schema = '' THEN '' ELSE pg_catalog.quote_ident(o.schema) || '.' END
            || pg_catalog.quote_ident(o.name))
        FROM objects o WHERE o.kind = 'type'
        UNION ALL
        SELECT o.at, 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid
        FROM objects o JOIN pg_catalog.pg_proc p ON p.proname = o.name
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE o.kind = 'function'
        AND CASE WHEN o.schema = '' THEN pg_catalog.pg_function_is_visible(p.oid) ELSE n.nspname = o.schema END
        UNION ALL
        SELECT o.at, 'pg_catalog.pg_class'::pg_catalog.regclass, pg_catalog.to_regclass(
            CASE WHEN o.schema = '' THEN '' ELSE pg_catalog.quote_ident(o.schema) || '.' END
            || pg_catalog.quote_ident(o.name))
        FROM objects o WHERE o.kind = 'relation'
        UNION ALL
        SELECT o.at, 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, f.oid
        FROM objects o JOIN pg_catalog.pg_foreign_server f ON f.srvname = o.name WHERE o.kind = 'server'
        UNION ALL
        SELECT o.at, 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid
        FROM objects o JOIN pg_catalog.pg_extension e ON e.extname = o.name WHERE o.kind = 'extension'
        UNION ALL
        SELECT o.at, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid
        FROM objects o JOIN pg_catalog.pg_statistic_ext s ON s.stxname = o.name
        JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
        WHERE o.kind = 'statistics'
        AND CASE WHEN o.schema = '' THEN pg_catalog.pg_statistics_obj_is_visible(s.oid) ELSE n.nspname = o.schema END
        UNION ALL
        SELECT o.at, s.classid, s.objid
        FROM objects o JOIN pg_catalog.pg_roles u ON u.rolname = CASE o.name::pg_catalog.text
            WHEN 'current_user' THEN current_user WHEN 'current_role' THEN current_user
            WHEN 'session_user' THEN session_user ELSE o.name END
        JOIN pg_catalog.pg_shdepend s ON s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
            AND s.refobjid = u.oid AND s.deptype = 'o'
            AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
        WHERE o.kind = 'role'
    ) r WHERE r.objid IS NOT NULL
    UNION
    SELECT d.at, x.classid, x.objid, x.objsubid
    FROM dropped d CROSS JOIN LATERAL (
        SELECT p.classid, p.objid, p.objsubid FROM pg_catalog.pg_depend p
        WHERE p.refclassid = d.classid AND p.refobjid = d.objid
        AND (d.objsubid = 0 OR p.refobjsubid = d.objsubid)
        UNION ALL
        -- what it is a part of goes with it: the view of a rule
        SELECT p.refclassid, p.refobjid, p.refobjsubid FROM pg_catalog.pg_depend p
        WHERE p.classid = d.classid AND p.objid = d.objid AND p.deptype = 'i' AND d.objsubid = 0
        AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND p.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    ) x
)
