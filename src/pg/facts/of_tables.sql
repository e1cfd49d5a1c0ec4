-- of a schema, or of the whole database
SELECT o.at, c.oid FROM objects o JOIN pg_catalog.pg_class c ON c.relkind IN ('r', 'm') AND NOT c.relisshared
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE o.kind = 'tables' AND (o.name = '' OR n.nspname = o.name)
