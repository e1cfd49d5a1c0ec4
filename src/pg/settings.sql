WITH settings AS (
    SELECT s.name, s.setting, s.source FROM pg_catalog.pg_settings s
    WHERE s.name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout', 'client_min_messages')
), timeouts AS (
    SELECT s.name, pg_catalog.jsonb_build_object(
        'ms', s.setting::pg_catalog.int8,
        'by_client', s.source IN ('session', 'client'),
        'in_session', s.source = 'session') AS value
    FROM settings s WHERE s.name <> 'client_min_messages'
)
SELECT ((SELECT pg_catalog.jsonb_object_agg(t.name, t.value) FROM timeouts t)
    || pg_catalog.jsonb_build_object(
        'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
        'client_min_messages', (SELECT s.setting FROM settings s WHERE s.name = 'client_min_messages')
    ))::pg_catalog.text
