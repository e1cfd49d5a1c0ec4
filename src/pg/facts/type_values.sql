domains (oid, base, modifier, calls, constrained) AS (
    SELECT t.oid, t.typbasetype, t.typtypmod, coalesce(t.typdefault LIKE '%(%', false),
        t.typnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid)
    FROM pg_catalog.pg_type t
    WHERE t.typtype = 'd' AND t.oid IN ({type_oids})
    UNION ALL
    SELECT d.oid, t.typbasetype, t.typtypmod, d.calls OR coalesce(t.typdefault LIKE '%(%', false),
        d.constrained OR t.typnotnull OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid)
    FROM domains d JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype = 'd'
), type_values AS (
    SELECT t.oid, t.typcollation,
        pg_catalog.jsonb_build_object(
            'oid', t.oid::pg_catalog.int8, 'modifier', -1, 'name', pg_catalog.format_type(t.oid, NULL),
            'collation', t.typcollation::pg_catalog.int8,
            'base', (
                SELECT pg_catalog.jsonb_build_object(
                    'oid', b.oid::pg_catalog.int8, 'modifier', d.modifier,
                    'name', pg_catalog.format_type(b.oid, NULL))
                FROM domains d JOIN pg_catalog.pg_type b ON b.oid = d.base AND b.typtype <> 'd'
                WHERE d.oid = t.oid),
            'constrained', coalesce(
                (SELECT pg_catalog.bool_or(d.constrained) FROM domains d WHERE d.oid = t.oid), false),
            'default_calls', coalesce(
                (SELECT pg_catalog.bool_or(d.calls) FROM domains d WHERE d.oid = t.oid), false),
            'composite', t.typtype = 'c',
            'coercible_from', (
                SELECT coalesce(pg_catalog.jsonb_agg(k.castsource::pg_catalog.int8 ORDER BY k.castsource),
                    '[]'::pg_catalog.jsonb)
                FROM pg_catalog.pg_cast k WHERE k.casttarget = t.oid AND k.castmethod = 'b')) AS value
    FROM pg_catalog.pg_type t WHERE t.oid IN ({type_oids})
)
