SELECT o.at, r.prrelid FROM objects o JOIN pg_catalog.pg_publication p ON p.pubname = o.name
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE o.kind = 'publication'
