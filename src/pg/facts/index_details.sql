'method', (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam),
'definition', coalesce(pg_catalog.pg_get_indexdef(i.indexrelid), ''),
'columns', (
    SELECT coalesce(pg_catalog.jsonb_agg(t.attname ORDER BY y.at), '[]'::pg_catalog.jsonb)
    FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS y (attnum, at)
    LEFT JOIN pg_catalog.pg_attribute t ON y.attnum <> 0 AND t.attrelid = i.indrelid AND t.attnum = y.attnum
    WHERE y.at <= i.indnkeyatts),
