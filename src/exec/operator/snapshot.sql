WITH locks AS MATERIALIZED (SELECT * FROM pg_catalog.pg_lock_status()),
prepared AS (
  SELECT t.virtualtransaction, p.gid, p.owner, p.prepared
  FROM locks t JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = t.transactionid
  WHERE t.pid IS NULL AND t.locktype = 'transactionid')
SELECT coalesce(l.pid, 0), coalesce(l.database, 0), l.relation, l.mode, l.granted::pg_catalog.int4,
  coalesce('prepared transaction ' || p.gid, a.backend_type, ''),
  coalesce(a.usename, p.owner, ''), coalesce(a.application_name, ''),
  coalesce(pg_catalog.host(a.client_addr), ''), coalesce(a.state, ''),
  (1000 * extract(epoch FROM coalesce(a.xact_start, p.prepared)))::pg_catalog.int8,
  CASE WHEN a.state = 'active' OR a.backend_type = 'autovacuum worker'
    THEN (1000 * extract(epoch FROM coalesce(a.query_start, a.xact_start)))::pg_catalog.int8 END,
  (1000 * extract(epoch FROM pg_catalog.clock_timestamp()))::pg_catalog.int8,
  pg_catalog.left(coalesce(a.query, ''), 1000),
  (EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index b
           WHERE b.pid = l.pid AND b.command LIKE '%CONCURRENTLY'))::pg_catalog.int4,
  (l.pid IS NULL OR a.backend_xid IS NOT NULL)::pg_catalog.int4
FROM locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
LEFT JOIN prepared p ON l.pid IS NULL AND p.virtualtransaction = l.virtualtransaction
WHERE l.locktype = 'relation' AND l.relation = ANY ('{relations}'::pg_catalog.oid[])
  AND (l.pid IS NULL OR l.pid <> pg_catalog.pg_backend_pid())
