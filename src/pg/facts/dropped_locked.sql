    SELECT d.at, d.objid AS oid FROM dropped d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    UNION
    SELECT d.at, i.indrelid FROM dropped d JOIN pg_catalog.pg_index i ON i.indexrelid = d.objid
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    UNION
    SELECT d.at, k.conrelid FROM dropped d JOIN pg_catalog.pg_constraint k ON k.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
    UNION
    SELECT d.at, t.tgrelid FROM dropped d JOIN pg_catalog.pg_trigger t ON t.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
    UNION
    SELECT d.at, f.adrelid FROM dropped d JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
    UNION
    SELECT d.at, p.polrelid FROM dropped d JOIN pg_catalog.pg_policy p ON p.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
    UNION
    SELECT d.at, s.stxrelid FROM dropped d JOIN pg_catalog.pg_statistic_ext s ON s.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
