objects AS (
    SELECT o.at, o.kind, o.schema, o.name
    FROM ROWS FROM (
        pg_catalog.unnest({object_kinds}::pg_catalog.text[]),
        pg_catalog.unnest({object_schemas}::pg_catalog.name[]),
        pg_catalog.unnest({object_names}::pg_catalog.name[])
    ) WITH ORDINALITY AS o (kind, schema, name, at)
)
