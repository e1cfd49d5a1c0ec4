-- pg_class has 0 for the database's own
SELECT o.at, c.oid FROM objects o JOIN pg_catalog.pg_tablespace t ON t.spcname = o.name
JOIN pg_catalog.pg_database b ON b.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_class c ON c.reltablespace = CASE WHEN t.oid = b.dattablespace THEN 0 ELSE t.oid END
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE o.kind = 'tablespace' AND c.relkind IN ('r', 'p', 'm', 'i', 'I') AND NOT c.relisshared
AND n.nspname NOT IN ('pg_catalog', 'pg_toast')
