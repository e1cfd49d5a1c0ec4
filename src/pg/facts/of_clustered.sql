SELECT o.at, i.indrelid FROM objects o JOIN pg_catalog.pg_index i ON i.indisclustered WHERE o.kind = 'clustered'
