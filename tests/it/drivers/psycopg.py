"""Drives psycopg 3, and prints what it sees. PGHOST, PGPORT, PGUSER and PGDATABASE say where."""

import asyncio
import threading
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row


def say(*what):
    print(*what, flush=True)


def told(error):
    diag = error.diag
    say(type(error).__name__, error.sqlstate, diag.statement_position, diag.message_primary or error)


def failure(call, *arguments, **options):
    """Calls what is to fail, and says how."""
    try:
        say("no failure:", call(*arguments, **options))
    except psycopg.Error as error:
        told(error)


def connect(**options):
    c = psycopg.connect(**({"autocommit": True} | options))
    c.add_notice_handler(lambda diag: say(diag.severity, diag.message_primary))
    return c


def values(cursor):
    return cursor.fetchall() if cursor.description else cursor.statusmessage


def queries(c):
    say(values(c.execute("SELECT 1, 'ü', NULL, ARRAY[1, 2], %s::jsonb, %s", ('{"a": 1}', b"\x00\xff"))))
    cursor = c.execute("SELECT 1; CREATE TEMPORARY TABLE several(a int); INSERT INTO several VALUES (1), (2); SELECT 4")
    while True:
        say(cursor.statusmessage, values(cursor))
        if not cursor.nextset():
            break
    say(values(c.execute("")), len(c.execute("SELECT repeat('x', 3000000)").fetchone()[0]))
    cursor = c.cursor(row_factory=dict_row, binary=True)
    say(values(cursor.execute("SELECT %s::numeric AS a, now() > %s", (1.5, "2020-01-01"))))
    say(values(psycopg.ClientCursor(c).execute("SELECT %s, %s", ("it's", [1, 2]))))
    say(values(psycopg.RawCursor(c).execute("SELECT $1::int + $2", (1, 2))))
    c.execute("DO $$ BEGIN RAISE WARNING 'be warned'; END $$")
    cursor = c.cursor()
    cursor.executemany("INSERT INTO several VALUES (%s) RETURNING a", [(n,) for n in range(5)], returning=True)
    say([result.fetchone() for result in cursor.results()])
    failure(cursor.executemany, "INSERT INTO several VALUES (1 / %s)", [(1,), (0,), (2,)])
    say(sum(row[0] for row in c.cursor().stream("SELECT generate_series(1, 5000)")))
    for row in c.cursor().stream("SELECT generate_series(1, 500000)", size=1):
        if row[0] == 10:
            break
    say(values(c.execute("SELECT count(*) FROM several")))


def pipelines(c):
    c.execute("CREATE TABLE p(a int PRIMARY KEY, b bytea)")
    with c.pipeline() as pipeline:
        cursors = [c.execute("INSERT INTO p VALUES (%s, %s) RETURNING a", (n, bytes([n]))) for n in range(100)]
        pipeline.sync()
        say(sum(cursor.fetchone()[0] for cursor in cursors))
        try:
            with c.transaction():
                c.execute("INSERT INTO p VALUES (0)")
                c.execute("INSERT INTO p VALUES (1000)")
        except psycopg.Error as error:
            told(error)
        say(c.info.transaction_status.name, c.execute("SELECT count(*) FROM p").fetchall())
    # An error is told as soon as it is read: by a later call, or at the end of the pipeline.
    try:
        with c.pipeline() as pipeline:
            before = c.execute("INSERT INTO p VALUES (2000) RETURNING a")
            c.execute("SELECT 1 / 0")
            c.execute("INSERT INTO p VALUES (3000) RETURNING a")
            pipeline.sync()
    except psycopg.Error as error:
        told(error)
    say(before.fetchall())
    try:
        with c.pipeline():
            c.execute("SELEC 1")
            c.execute("CREATE TABLE not_made(a int)")
            c.execute("CREATE INDEX ON p(b)")
    except psycopg.Error as error:
        told(error)
    with c.pipeline(), c.pipeline():
        c.execute("INSERT INTO p VALUES (4000)")
    say(values(c.execute("SELECT a FROM p WHERE a >= 1000 ORDER BY a")))
    say(values(c.execute("SELECT to_regclass('not_made')")))
    with c.pipeline():
        c.execute("CREATE TABLE u(a int)")
        c.execute("INSERT INTO u VALUES (1)")
        c.execute("ALTER TABLE u ADD COLUMN b int")
        c.execute("CREATE INDEX ON u(b)")
    say(values(c.execute("SELECT a, b FROM u")))
    with c.pipeline() as pipeline:
        c.execute("ALTER TABLE u ADD COLUMN c int")
        pipeline.sync()
        c.execute("CREATE INDEX CONCURRENTLY u_c ON u(c)")
        pipeline.sync()
        say(c.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'u_c'::regclass").fetchall())
    with c.pipeline():
        cursors = [c.execute("SELECT %s::int, repeat('x', 1000)", (n,)) for n in range(3000)]
        say(sum(cursor.fetchone()[0] for cursor in cursors))
    with c.pipeline():
        c.cursor().executemany("INSERT INTO u(a) VALUES (%s)", [(n,) for n in range(1000)])
    say(values(c.execute("SELECT count(*) FROM u")))


def copies(c):
    c.execute("CREATE TABLE copied(a int PRIMARY KEY, b bytea)")
    data = bytes(range(256)) * 4096 * 8
    with c.cursor().copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "bytea"])
        copy.write_row((1, data))
    with c.cursor().copy("COPY (SELECT b FROM copied) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["bytea"])
        say([row == (data,) for row in copy.rows()])
    cursor = c.cursor()
    with cursor.copy("COPY copied FROM STDIN") as copy:
        for number in range(10, 20_000):
            copy.write_row((number, None))
    say(cursor.statusmessage)
    with c.cursor().copy("COPY copied(a) TO STDOUT") as copy:
        say(sum(len(block) for block in copy))
    for table, row in [("copied", (1, None)), ("copied", ("x", None)), ("nowhere", (1,))]:
        try:
            with c.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                copy.write_row((50_000, None))
                copy.write_row(row)
        except psycopg.Error as error:
            told(error)
    try:
        with c.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write_row((60_000, None))
            raise KeyError("no more")
    except KeyError as error:
        say("KeyError", error)
    say(values(c.execute("SELECT count(*), max(a) FROM copied")))


def prepared(_):
    for threshold, most in [(0, 100), (2, 3), (None, 100)]:
        with connect(prepare_threshold=threshold) as c:
            c.prepared_max = most
            for number in range(10):
                for _ in range(4):
                    say(values(c.execute(f"SELECT %s::int + {number}", (number,))), kept(c))
    with connect(prepare_threshold=0) as c, connect() as other:
        other.execute("CREATE TABLE changing(a int)")
        say(values(c.execute("SELECT * FROM changing")))
        other.execute("ALTER TABLE changing ADD COLUMN b int")
        failure(c.execute, "SELECT * FROM changing")
        say(values(c.execute("SELECT * FROM changing AS again")))
        for _ in range(3):
            say(values(c.execute("ALTER TABLE changing ADD COLUMN IF NOT EXISTS c int")))
        c.execute("DEALLOCATE ALL")
        say(values(c.execute("SELECT count(c) FROM changing")))


def kept(c):
    """How many statements are prepared."""
    return c.execute("SELECT count(*) FROM pg_prepared_statements", prepare=False).fetchone()


def server_cursors(_):
    with connect(autocommit=False) as c:
        with c.cursor(name="forward") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT generate_series(1, %s)", (100,))
            say(cursor.fetchone(), cursor.fetchmany(3), sum(row[0] for row in cursor))
        with c.cursor(name="back and forth", scrollable=True) as cursor:
            cursor.execute("SELECT generate_series(1, 10)")
            cursor.scroll(5)
            say(cursor.fetchone(), cursor.scroll(-3), cursor.fetchone())
            failure(cursor.scroll, 1000, mode="absolute")
        held = c.cursor(name="held", withhold=True)
        held.execute("SELECT generate_series(1, 10)")
        c.commit()
        say(held.fetchmany(3))
        held.close()
        cursor = c.cursor(name="wrong")
        failure(cursor.execute, "SELECT nothing")
        c.rollback()
        c.execute("CREATE TABLE t(a int)")
        with c.cursor(name="altered") as cursor:
            cursor.execute("SELECT * FROM t")
            failure(c.execute, "ALTER TABLE t ADD COLUMN b int")
        c.rollback()


def transactions(_):
    with connect(autocommit=False) as c:
        c.execute("CREATE TABLE tx(a int)")
        with c.transaction(savepoint_name="inner", force_rollback=True):
            c.execute("CREATE INDEX ON tx(a)")
        c.commit()
        failure(c.execute, "SELECT 1/0")
        failure(c.execute, "ALTER TABLE tx ADD COLUMN b int")
        say(c.info.transaction_status.name)
        c.rollback()
        c.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        c.read_only = True
        failure(c.execute, "ALTER TABLE tx ADD COLUMN b int")
        c.rollback()
    with connect() as c:
        say(values(c.execute("SELECT * FROM tx")))
        say(values(c.execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'tx'")))


def cancels(c):
    with connect() as other:
        for cancel in [c.cancel, c.cancel_safe]:
            thread = threading.Thread(target=when_asleep, args=(other, c, cancel))
            thread.start()
            failure(c.execute, "SELECT pg_sleep(600)")
            thread.join()
            say(values(c.execute("SELECT 'well again'")))
        c.cancel_safe(timeout=30)  # of nothing
        c.execute("CREATE TABLE locked(a int)")
        other.execute("BEGIN")
        other.execute("LOCK TABLE locked")
        with connect(options="-c statement_timeout=300") as hasty:
            failure(hasty.execute, "ALTER TABLE locked ADD COLUMN b int")
            failure(hasty.execute, "SELECT * FROM locked", prepare=True)
        other.execute("COMMIT")
        say(values(c.execute("SELECT * FROM locked")))


def when_asleep(other, c, act):
    asked = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s"
    while other.execute(asked, (c.info.backend_pid,)).fetchone() != (True,):
        time.sleep(0.02)
    act()


def notifications(c):
    c.execute("LISTEN news")
    with connect() as other:
        other.execute("SELECT pg_notify('news', %s)", ("from another ✉",))
        for note in c.notifies(timeout=60, stop_after=1):
            say(note.channel, note.payload, note.pid == other.info.backend_pid)
    with c.transaction():
        c.execute("NOTIFY news, 'from myself'")
        c.execute("NOTIFY news, 'twice'")
    say([note.payload for note in c.notifies(timeout=60, stop_after=2)])


def large_objects(c):
    data = bytes(range(256)) * 4000
    with c.transaction():
        oid = c.execute("SELECT lo_create(4711)").fetchone()[0]
        descriptor = c.execute("SELECT lo_open(%s, %s)", (oid, 0x20000)).fetchone()[0]
        say(values(c.execute("SELECT lowrite(%s, %b)", (descriptor, data))))
        last = "SELECT lo_lseek64(%(it)s, -10, 2), encode(loread(%(it)s, 100), 'hex')"
        say(values(c.execute(last, {"it": descriptor})))
    say(c.execute("SELECT lo_get(4711)").fetchone()[0] == data)
    with c.cursor().copy("COPY (SELECT lo_get(4711, 0, 5)) TO STDOUT") as copy:
        say(b"".join(copy))
    say(values(c.execute("SELECT lo_unlink(4711)")))
    failure(c.execute, "SELECT lo_get(4711)")


def schema_changes(c):
    c.execute("CREATE TABLE s(a int, b text, c int)")
    c.execute("INSERT INTO s SELECT g, g, g FROM generate_series(1, 1000) g")
    say(values(c.execute("CREATE INDEX by_simple ON s(a)")))
    say(values(c.execute("CREATE UNIQUE INDEX by_extended ON s(b)", prepare=True)))
    say(values(c.cursor(binary=True).execute("CREATE INDEX in_binary ON s(c)")))
    say(values(psycopg.ClientCursor(c).execute("CREATE INDEX with_value ON s(c) WHERE a > %s", (5,))))
    failure(c.execute, "CREATE INDEX ON s(a) WHERE a > %s", (5,))
    failure(c.execute, "CREATE INDEX by_simple ON s(a)", prepare=True)
    say(values(c.execute("CREATE INDEX IF NOT EXISTS by_simple ON s(a)")))
    say(values(c.execute("ALTER TABLE s ADD COLUMN d int")))
    say(values(c.execute("ALTER TABLE s ADD CHECK (a > 0)", prepare=True)))
    say(values(c.execute("REINDEX TABLE s")), values(c.execute("DROP INDEX in_binary", prepare=True)))
    with c.transaction():
        say(values(c.execute("CREATE INDEX in_a_block ON s(a, b)")))
    indexes = """SELECT indexrelid::regclass::text, indisvalid, pg_get_indexdef(indexrelid)
        FROM pg_index WHERE indrelid = 's'::regclass ORDER BY 1"""
    for row in c.execute(indexes):
        say(row)


async def asynchronously():
    async with await psycopg.AsyncConnection.connect(autocommit=True) as c:
        async with c.pipeline():
            cursors = [await c.execute("SELECT %s::int", (n,)) for n in range(200)]
            say(sum([(await cursor.fetchone())[0] for cursor in cursors]))
        try:
            async with asyncio.timeout(0.3):
                await c.execute("SELECT pg_sleep(600)")
        except (TimeoutError, psycopg.Error) as error:
            say(type(error).__name__)
        say(await (await c.execute("SELECT 'well again'")).fetchone())
        await c.execute("CREATE TABLE asynchronous(a int)")
        async with c.cursor().copy("COPY asynchronous FROM STDIN") as copy:
            for number in range(1000):
                await copy.write_row((number,))
        await c.execute("LISTEN news")
        await c.execute("NOTIFY news, 'hello'")
        async for note in c.notifies(timeout=60, stop_after=1):
            say(note.payload)
    connections = [await psycopg.AsyncConnection.connect(autocommit=True) for _ in range(8)]
    said = await asyncio.gather(*[c.execute("SELECT count(*) FROM asynchronous") for c in connections])
    say([await cursor.fetchone() for cursor in said])
    add = "ALTER TABLE asynchronous ADD COLUMN b{} int"
    altered = await asyncio.gather(*[c.execute(add.format(n), prepare=True) for n, c in enumerate(connections)])
    say([cursor.statusmessage for cursor in altered])
    for c in connections:
        await c.close()


for part in [
    queries,
    pipelines,
    copies,
    prepared,
    server_cursors,
    transactions,
    cancels,
    notifications,
    large_objects,
    schema_changes,
]:
    say(f"== {part.__name__}")
    with connect() as connection:
        part(connection)
say("== asynchronously")
asyncio.run(asynchronously())
