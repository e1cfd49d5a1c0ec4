"""Drives asyncpg, and prints what it sees. PGHOST, PGPORT, PGUSER and PGDATABASE say where."""

import asyncio
import io
import os

import asyncpg


def say(*what):
    print(*what, flush=True)


async def failure(awaitable):
    """Awaits what is to fail, and says how."""
    try:
        say("no failure:", await awaitable)
    except asyncpg.PostgresError as error:
        say(type(error).__name__, error.sqlstate, error.position, error)
    except asyncpg.InterfaceError as error:
        say(type(error).__name__, error)
    except TimeoutError:
        say("TimeoutError")


async def connect(**options):
    connection = await asyncpg.connect(**options)
    connection.add_log_listener(lambda _, message: say(type(message).__name__, message))
    return connection


async def queries(c):
    say(await c.fetch("SELECT 1 AS a, 'ü' AS b, NULL::int AS c"))
    say(await c.fetchrow("SELECT $1::int[], $2::jsonb, $3::numeric", [1, None, 3], '{"a": [1]}', 12.5))
    say(await c.fetchval("SELECT $1::bytea", b"\x00\xff"), await c.fetchrow("SELECT 1 WHERE false"))
    say(await c.fetchval("SELECT (1, ROW('a'::text, 2.5))"), await c.fetchval("SELECT int4range(1, 5)"))
    say(await c.execute("SELECT 1; CREATE TEMPORARY TABLE several(a int); INSERT INTO several VALUES (1), (2)"))
    say(await c.execute("UPDATE several SET a = a + $1", 10), await c.fetch("SELECT * FROM several"))
    say(await c.fetch(""))
    say(await c.execute("DO $$ BEGIN RAISE WARNING 'be warned'; END $$"))
    say(len(await c.fetchval("SELECT repeat($1, 3)", "x" * 1_000_000)))


async def prepared(c):
    statement = await c.prepare("SELECT $1::int + g, 'row ' || g FROM generate_series(1, $2::int) g")
    say(statement.get_parameters(), statement.get_attributes(), statement.get_statusmsg())
    for number in range(10):
        say(await statement.fetch(number, 2))
    say(statement.get_statusmsg(), await statement.fetchval(1, 5, column=1))
    await failure(statement.fetch("no number", 1))
    await failure(c.prepare("SELECT nothing"))
    await failure(c.prepare("SELECT 1; SELECT 2"))
    many = [await c.prepare(f"SELECT {number}") for number in range(150)]
    say(sum([await one.fetchval() for one in many]))
    del many, statement
    say(await c.fetchval("SELECT 'still here'"))


async def cursors(c):
    async with c.transaction():
        rows = [row[0] async for row in c.cursor("SELECT generate_series(1, $1::int)", 500, prefetch=7)]
        say(len(rows), sum(rows))
        cursor = await c.cursor("SELECT generate_series(1, 100)")
        say(await cursor.fetch(3), await cursor.forward(10), await cursor.fetchrow(), len(await cursor.fetch(1000)))
    await failure(c.cursor("SELECT 1"))  # it has sent Parse, and no Sync
    say(await c.execute("CREATE TABLE after_no_sync(a int)"), await c.fetchval("SELECT 1"))
    async with c.transaction(isolation="serializable", readonly=True, deferrable=True):
        await failure(c.execute("CREATE TABLE not_written(a int)"))
    async with c.transaction():
        await c.execute("CREATE TABLE nested(a int)")
        try:
            async with c.transaction():
                await c.execute("INSERT INTO nested VALUES (1)")
                await c.execute("ALTER TABLE nested ADD COLUMN b int")
                await c.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError as error:
            say(error)
        await c.execute("INSERT INTO nested VALUES (2)")
    say(await c.fetch("SELECT * FROM nested"))


async def many(c):
    await c.execute("CREATE TABLE many(a int PRIMARY KEY, b text)")
    await c.executemany("INSERT INTO many VALUES ($1, $2)", [(n, f"row {n}" * 50) for n in range(3000)])
    say(await c.fetchrow("SELECT count(*), sum(a), sum(length(b)) FROM many"))
    the_last_is_there = [(n, "") for n in range(10000, 7000, -1)] + [(1, "")]
    await failure(c.executemany("INSERT INTO many VALUES ($1, $2)", the_last_is_there))
    say(await c.fetchval("SELECT count(*) FROM many"))
    statement = await c.prepare("UPDATE many SET b = $2 WHERE a = $1")
    await statement.executemany([(n, "new") for n in range(100)])
    say(await c.fetchval("SELECT count(*) FROM many WHERE b = 'new'"))
    if hasattr(statement, "fetchmany"):
        returning = await c.fetchmany("INSERT INTO many VALUES ($1) RETURNING a", [(n,) for n in range(5000, 5005)])
        say(returning)


async def copies(c):
    await c.execute("CREATE TABLE copied(a int PRIMARY KEY, b text)")
    text = "".join(f"{n}\tline {n} {'ß' * 40}\n" for n in range(10_000)).encode()
    say(await c.copy_to_table("copied", source=io.BytesIO(text)))
    out = io.BytesIO()
    say(await c.copy_from_table("copied", output=out), out.getvalue() == text)
    out = io.BytesIO()
    say(await c.copy_from_query("SELECT * FROM copied WHERE a < $1", 3, output=out, format="csv", header=True))
    say(out.getvalue())
    say(await c.copy_records_to_table("copied", records=[(n, None) for n in range(40_000, 42_000)]))
    await failure(c.copy_records_to_table("copied", records=[(n, "") for n in range(50_000, 41_000, -1)]))
    await failure(c.copy_to_table("copied", source=io.BytesIO(b"not\ta\tnumber\n")))
    await failure(c.copy_from_query("SELECT 1/0", output=io.BytesIO()))

    async def stops_halfway():
        yield b"90000\tfirst\n"
        raise KeyError("no more")

    try:
        await c.copy_to_table("copied", source=stops_halfway())
    except KeyError as error:
        say("KeyError", error)
    say(await c.fetchrow("SELECT count(*), sum(length(b)) FROM copied"))


async def notifications(c):
    other = await connect()
    got = asyncio.Queue()
    await c.add_listener("news", lambda _, pid, channel, payload: got.put_nowait((channel, payload)))
    await other.execute("SELECT pg_notify('news', $1)", "from another ✉")
    say(await got.get())
    async with c.transaction():
        await c.execute("NOTIFY news, 'from myself'")
        say(got.qsize())
    say(await got.get())
    await c.remove_listener("news", next(iter(c._listeners["news"])).cb)
    await other.execute("NOTIFY news, 'unheard'")
    say(await c.fetchval("SELECT 1"), got.qsize())
    await other.close()


async def cancels(c):
    await failure(c.fetch("SELECT pg_sleep(600)", timeout=0.3))
    say(await c.fetchval("SELECT 'after a timeout'"))
    await failure(asyncio.wait_for(c.execute("SELECT pg_sleep(600)"), 0.3))
    say(await c.fetchval("SELECT 'after wait_for'"))
    await c.execute("CREATE TABLE slow(a int)")
    other = await connect()
    await c.execute("BEGIN; LOCK TABLE slow")
    await failure(other.execute("ALTER TABLE slow ADD COLUMN b int", timeout=0.5))
    say(await other.fetchval("SELECT 'after the cancel'"))
    await c.execute("COMMIT")
    say(await other.fetch("SELECT * FROM slow"), await other.execute("ALTER TABLE slow ADD COLUMN b int"))
    sleeping = asyncio.create_task(c.fetchval("SELECT pg_sleep(600)"))
    pid = c.get_server_pid()
    while await other.fetchval("SELECT wait_event FROM pg_stat_activity WHERE pid = $1", pid) != "PgSleep":
        await asyncio.sleep(0.01)
    say(await other.fetchval("SELECT pg_cancel_backend($1)", pid))
    await failure(sleeping)
    say(await other.fetchval("SELECT pg_terminate_backend($1, 60000)", pid))
    await failure(c.fetchval("SELECT 1"))
    say(c.is_closed())
    await other.close()


async def errors(c):
    await failure(c.execute("SELEC 1"))
    await failure(c.fetch("SELECT *\nFROM nowhere WHERE a = $1", 1))
    await failure(c.fetch("SELECT $1::int", 2**40))
    await failure(c.fetch("SELECT 1", 1))
    await failure(c.execute("ALTER TABLE nowhere ADD COLUMN a int"))
    await failure(c.fetch("CREATE INDEX ON nowhere(a)"))
    transaction = c.transaction()
    await transaction.start()
    await failure(c.execute("SELECT 1/0"))
    await failure(c.execute("SELECT 1"))
    await failure(c.execute("CREATE TABLE in_a_failed_transaction(a int)"))
    await failure(c.fetch("CREATE INDEX ON nowhere(a)"))
    await transaction.rollback()
    say(await c.fetchval("SELECT 'well again'"))


async def changed_schemas(c):
    other = await connect()
    await other.execute("CREATE TYPE pair AS (a int, b text); CREATE TABLE changing(a int, p pair)")
    await other.execute("INSERT INTO changing VALUES (1, (2, 'two'))")
    query = "SELECT * FROM changing"
    statement = await c.prepare(query)
    say(await c.fetch(query), await c.fetch(query), await statement.fetch())
    say(await other.execute("ALTER TABLE changing ADD COLUMN b int DEFAULT 7"))
    say(await c.fetch(query), await c.fetch(query))
    await failure(statement.fetch())
    say(await other.execute("ALTER TABLE changing ALTER COLUMN b TYPE text"))
    say(await other.fetch("ALTER TYPE pair ADD ATTRIBUTE c int"))
    async with c.transaction():
        await failure(c.fetch(query))
    await c.reload_schema_state()
    say(await c.fetch(query))
    say(await other.fetch("ALTER TABLE changing DROP COLUMN p"), await other.execute("DROP TYPE pair"))
    say(await c.fetch(query))
    say(await other.execute("DROP TABLE changing"))
    await failure(c.fetch(query))
    await other.close()


async def schema_changes(c):
    await c.execute("CREATE TABLE t(a int, b text, c int)")
    await c.execute("INSERT INTO t SELECT g, g::text, g FROM generate_series(1, 1000) g")
    say(await c.execute("CREATE INDEX by_query ON t(a)"))
    say(await c.fetch("CREATE UNIQUE INDEX by_fetch ON t(b)"))
    statement = await c.prepare("CREATE INDEX ON t(c)")
    say(statement.get_parameters(), statement.get_attributes())
    say(await statement.fetch(), statement.get_statusmsg())
    say(await statement.fetch())
    await failure(c.execute("CREATE INDEX ON t(a)", 1))
    await failure(c.execute("CREATE INDEX by_query ON t(b)"))
    await failure(c.fetch("CREATE INDEX by_query ON t(b)"))
    say(await c.execute("CREATE INDEX IF NOT EXISTS by_query ON t(a)"))
    await failure(c.fetch("CREATE UNIQUE INDEX not_unique ON t((a % 10))"))
    say(await c.executemany("ALTER TABLE t ADD COLUMN IF NOT EXISTS d int", [(), ()]))
    say(await c.execute("ALTER TABLE t ADD COLUMN e int; ALTER TABLE t ALTER COLUMN e SET DEFAULT 1"))
    say(await c.execute("CREATE INDEX second ON t(e)"))
    say(await c.execute("REINDEX INDEX by_query"), await c.fetch("DROP INDEX second"))
    say(await c.execute("CREATE INDEX CONCURRENTLY my_own ON t(d)"))
    say(await c.execute("ALTER TABLE t ADD CHECK (a > 0)"), await c.fetch("COMMENT ON TABLE t IS 'ä'"))
    async with c.transaction():
        say(await c.execute("CREATE INDEX in_a_block ON t(a, b)"))
    sql = """SELECT indexrelid::regclass::text, indisvalid, indisready, indisunique, pg_get_indexdef(indexrelid)
        FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1"""
    for row in await c.fetch(sql):
        say(row)


async def pools(_):
    async with asyncpg.create_pool(min_size=2, max_size=5) as pool:

        async def one(number):
            async with pool.acquire() as c, c.transaction():
                await c.execute("SET LOCAL search_path = pg_catalog")
                return await c.fetchval("SELECT $1::int * 2", number)

        say(sum(await asyncio.gather(*[one(number) for number in range(60)])))
        say(await pool.execute("CREATE TABLE by_pool(a int)"), await pool.fetch("SELECT * FROM by_pool"))


async def settings(_):
    for options in [
        {"server_settings": {"application_name": "ä ' \\ 名前", "search_path": "pg_catalog"}},
        {"server_settings": {"client_encoding": "LATIN1"}},
        {"statement_cache_size": 0, "command_timeout": 60},
    ]:
        c = await connect(**options)
        say(await c.fetchrow("SELECT current_setting('application_name'), current_setting('search_path'), 'ö'"))
        say(c.get_settings().application_name, c.get_settings().client_encoding)
        await c.close()
    await failure(connect(database="no such database"))
    await failure(connect(server_settings={"no_such_setting": "1"}))
    await failure(connect(user="no such user"))


async def main():
    parts = [queries, prepared, cursors, many, copies, notifications, cancels, errors, changed_schemas]
    for part in [*parts, schema_changes, pools, settings]:
        say(f"== {part.__name__}")
        c = await connect()
        await part(c)
        await c.close()


asyncio.run(main())
