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
        'read_only', pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool
            OR pg_catalog.pg_is_in_recovery(),
        -- zones that have never had another offset
        'time_zone_is_utc', pg_catalog.upper(pg_catalog.current_setting('TimeZone')) IN (
            'UTC', 'UCT', 'GMT', 'GMT0', 'GMT+0', 'GMT-0', 'ZULU', 'UNIVERSAL', 'GREENWICH', 'ETC/UTC', 'ETC/UCT',
            'ETC/GMT', 'ETC/GMT0', 'ETC/GMT+0', 'ETC/GMT-0', 'ETC/ZULU', 'ETC/UNIVERSAL', 'ETC/GREENWICH',
            '<+00>-00', '<-00>+00'),
        -- The one that counts at log-in (process_settings of src/backend/utils/init/postinit.c).
        'role_mode', (
            SELECT pg_catalog.substr(c.entry, pg_catalog.strpos(c.entry, '=') + 1)
            FROM pg_catalog.pg_db_role_setting s CROSS JOIN pg_catalog.unnest(s.setconfig) c (entry)
            WHERE s.setrole IN (0, pg_catalog.quote_ident(SESSION_USER)::pg_catalog.regrole::pg_catalog.oid)
              AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d
                                        WHERE d.datname = pg_catalog.current_database()))
              AND pg_catalog.lower(pg_catalog.split_part(c.entry, '=', 1)) = 'lockkeeper.mode'
            ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1),
        -- where a new relation comes to be that is named without a schema
        'current_schema', pg_catalog.current_schema(),
        'client_min_messages', (SELECT s.setting FROM settings s WHERE s.name = 'client_min_messages')
    ))::pg_catalog.text
