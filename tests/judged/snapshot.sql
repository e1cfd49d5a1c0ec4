-- Everything a schema holds, without OIDs, as rows of a key and a value. PostgreSQL 13 to 18.
WITH r AS (
  SELECT c.*, c.oid::regclass::text AS called FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema')
SELECT 'relation ' || called, concat_ws(' ', relkind, relpersistence, pg_get_userbyid(relowner),
    reloptions, (SELECT spcname FROM pg_tablespace s WHERE s.oid = reltablespace),
    (SELECT amname FROM pg_am a WHERE a.oid = relam), relispartition, pg_get_expr(relpartbound, r.oid),
    pg_get_partkeydef(r.oid), relrowsecurity, relforcerowsecurity, relreplident, relacl,
    nullif(reloftype, 0)::regtype, relispopulated, obj_description(r.oid, 'pg_class'),
    CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END)
  FROM r
UNION ALL
SELECT 'column ' || called || ' ' || a.attname,
    concat_ws(' ', row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
    a.attcollation::regcollation, 'not null', a.attnotnull, 'default', pg_get_expr(d.adbin, r.oid),
    a.attidentity, a.attgenerated, a.attstorage, to_jsonb(a) ->> 'attcompression', coalesce(nullif(a.attstattarget, -1)::text, '-'),
    a.attislocal, a.attinhcount, a.attoptions, a.attfdwoptions, a.attacl, col_description(r.oid, a.attnum))
  FROM r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
  WHERE relkind NOT IN ('i', 'I')
UNION ALL
SELECT 'constraint ' || coalesce(called, '') || ' ' || c.conname,
    -- A foreign key's share for a partition of the referenced table isn't validated with it before PostgreSQL 18, and
    -- an adopted constraint says that it has no heirs: neither shows.
    concat_ws(' ', c.contype, replace(pg_get_constraintdef(c.oid), ' NOT VALID', ''),
    CASE WHEN c.conrelid IS DISTINCT FROM (SELECT p.conrelid FROM pg_constraint p WHERE p.oid = c.conparentid)
      THEN c.convalidated END, c.conislocal, c.coninhcount, CASE WHEN c.contype IN ('c', 'n') THEN c.connoinherit END,
    c.condeferrable, c.condeferred, to_jsonb(c) ->> 'conenforced', nullif(c.conindid, 0)::regclass,
    (SELECT concat_ws(' ', p.conrelid::regclass, p.conname) FROM pg_constraint p WHERE p.oid = c.conparentid),
    obj_description(c.oid, 'pg_constraint'))
  FROM pg_constraint c LEFT JOIN r ON r.oid = c.conrelid WHERE c.oid >= 16384
UNION ALL
SELECT 'index ' || called, concat_ws(' ', pg_get_indexdef(r.oid), i.indisvalid, i.indisready, i.indislive, i.indisprimary,
    i.indisunique, i.indimmediate, i.indisreplident, i.indisclustered, i.indisexclusion)
  FROM r JOIN pg_index i ON i.indexrelid = r.oid
UNION ALL
SELECT concat_ws(' ', 'parent', r.called, inhparent::regclass),
    concat_ws(' ', to_jsonb(i) ->> 'inhdetachpending')
  FROM r JOIN pg_inherits i ON i.inhrelid = r.oid
UNION ALL
SELECT 'trigger ' || called || ' ' || CASE WHEN t.tgisinternal
      THEN concat_ws(' ', t.tgfoid::regproc, (SELECT conname FROM pg_constraint c WHERE c.oid = t.tgconstraint)) ELSE t.tgname END,
    concat_ws(' ', CASE WHEN NOT t.tgisinternal THEN pg_get_triggerdef(t.oid) END, t.tgenabled, t.tgdeferrable,
    t.tginitdeferred, nullif(t.tgconstrrelid, 0)::regclass, nullif(t.tgconstrindid, 0)::regclass, t.tgtype)
  FROM r JOIN pg_trigger t ON t.tgrelid = r.oid
UNION ALL
SELECT 'rule ' || called || ' ' || rulename, concat_ws(' ', pg_get_ruledef(w.oid), ev_enabled)
  FROM r JOIN pg_rewrite w ON w.ev_class = r.oid
UNION ALL
SELECT 'policy ' || called || ' ' || polname, concat_ws(' ', polcmd, polpermissive, polroles, pg_get_expr(polqual, r.oid),
    pg_get_expr(polwithcheck, r.oid))
  FROM r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT 'statistics ' || stxname, concat_ws(' ', pg_get_statisticsobjdef(s.oid), stxnamespace::regnamespace)
  FROM pg_statistic_ext s
UNION ALL
SELECT 'sequence ' || called, concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle,
    (SELECT concat_ws(' ', d.refobjid::regclass, d.deptype, a.attname) FROM pg_depend d
     JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     WHERE d.objid = r.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_class'::regclass))
  FROM r JOIN pg_sequence s ON s.seqrelid = r.oid
UNION ALL
SELECT 'published ' || p.pubname || ' ' || r.called, ''
  FROM pg_publication p JOIN pg_publication_rel x ON x.prpubid = p.oid JOIN r ON r.oid = x.prrelid
UNION ALL
SELECT concat('type ', oid::regtype), concat_ws(' ', typtype, typnotnull, typdefault, nullif(typbasetype, 0)::regtype, typtypmod,
    (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
  FROM pg_type t WHERE oid >= 16384 AND typtype IN ('d', 'e', 'c') AND typnamespace::regnamespace::text NOT LIKE 'pg\_%'
ORDER BY 1, 2
