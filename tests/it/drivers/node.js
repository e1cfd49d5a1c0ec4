// Drives node-postgres, and prints what it sees. PGHOST, PGPORT, PGUSER and PGDATABASE say where the server is;
// NODE_PATH, where pg is.

'use strict';

const { once } = require('node:events');
const net = require('node:net');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { setTimeout: sleep } = require('node:timers/promises');
const { Client, Pool } = require('pg');
const copy = require('pg-copy-streams');
const Cursor = require('pg-cursor');

const say = (...what) => console.log(...what.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))));
const rows = async (result) => (await result).rows;

// Awaits what is to fail, and says how.
async function failure(promise) {
    try {
        say('no failure', (await promise).rows);
    } catch (error) {
        say(error.name, error.code ?? null, error.position ?? null, error.message);
    }
}

async function connect(options = {}) {
    const client = new Client(options);
    client.on('notice', (notice) => say(notice.severity, notice.message));
    await client.connect();
    return client;
}

async function queries(c) {
    say(await rows(c.query("SELECT 1 AS a, 'ü' AS b, NULL AS c, ARRAY[1, 2] AS d, '{\"x\": 1}'::jsonb AS e")));
    const several = await c.query('SELECT 1 AS a; CREATE TEMPORARY TABLE t(a int); INSERT INTO t VALUES (1), (2)');
    say(several.map((one) => [one.command, one.rowCount, one.rows]));
    const parameters = [1, 'ä', null, Buffer.from([0, 255]), [1, 2], { x: 1 }];
    const text = 'SELECT $1::int, $2::text, $3::text, encode($4::bytea, $$hex$$) AS hex, $5::int[], $6::json';
    say(await rows(c.query(text, parameters)));
    say(await rows(c.query({ text: 'SELECT $1::int, now() IS NOT NULL', values: [7], rowMode: 'array' })));
    say((await c.query('UPDATE t SET a = a + $1', [1])).rowCount, (await c.query('')).command);
    say((await rows(c.query({ text: 'SELECT generate_series(1, 5000)', rows: 100 }))).length);
    say((await c.query("SELECT repeat('x', 5000000) AS x")).rows[0].x.length);
    say(await rows(c.query({ text: 'SELECT $1::int AS a', values: [7], binary: true })));
    await c.query("DO $$ BEGIN RAISE WARNING 'be warned'; END $$");
}

async function prepared(c) {
    const text = 'SELECT $1::int + 1 AS sum';
    for (let number = 0; number < 10; number++) {
        say(await rows(c.query({ name: 'sum', text, values: [number] })));
    }
    await failure(c.query({ name: 'sum', text: 'SELECT 2', values: [] }));
    await failure(c.query({ name: 'bad', text: 'SELECT nothing', values: [] }));
    say(await rows(c.query({ name: 'bad', text: 'SELECT 3 AS three', values: [] })));
    say(await rows(c.query('SELECT name, statement FROM pg_prepared_statements ORDER BY 1')));
    await c.query('DEALLOCATE ALL');
    await failure(c.query({ name: 'sum', text, values: [1] }));
    await c.query('CREATE TABLE changing(a int)');
    const query = { name: 'changing', text: 'SELECT * FROM changing' };
    say((await c.query(query)).fields.map((field) => field.name));
    const other = await connect();
    await other.query('ALTER TABLE changing ADD COLUMN b int');
    await failure(c.query(query));
    await other.end();
}

async function queued(c) {
    // All are asked for at once, and sent one by one.
    const all = [1, 0, 2].map((number) => c.query('SELECT 10 / $1::int AS it', [number]));
    const settled = await Promise.allSettled(all);
    say(settled.map((one) => one.reason?.message ?? one.value.rows));
}

async function cursors(c) {
    const cursor = c.query(new Cursor('SELECT generate_series(1, $1::int) AS n', [1000]));
    say((await cursor.read(10)).length, (await cursor.read(500)).at(-1), (await cursor.read(1000)).length);
    say(await cursor.read(10));
    await cursor.close();
    const unread = c.query(new Cursor('SELECT generate_series(1, 100000)'));
    say((await unread.read(3)).length);
    await unread.close();
    await failure(c.query(new Cursor('SELECT 1/(3 - g) FROM generate_series(1, 5) g')).read(100));
    say(await rows(c.query('SELECT 1 AS after_cursors')));
}

async function copies(c) {
    await c.query('CREATE TABLE copied(a int PRIMARY KEY, b text)');
    const lines = (from, to) =>
        Readable.from(
            (function* () {
                for (let number = from; number < to; number++) yield `${number}\tline ${number}\n`;
            })(),
        );
    const stdin = c.query(copy.from('COPY copied FROM STDIN'));
    await pipeline(lines(0, 20000), stdin);
    say(stdin.rowCount);
    let length = 0;
    const stdout = c.query(copy.to('COPY copied TO STDOUT'));
    for await (const chunk of stdout) length += chunk.length;
    say(stdout.rowCount, length);
    const copyIn = (from, table) => pipeline(from, c.query(copy.from(`COPY ${table} FROM STDIN`)));
    await failure(copyIn(lines(30000, 40000).map((line) => `${line}1\n`), 'copied'));
    await failure(copyIn(lines(19999, 20001), 'copied'));
    await failure(copyIn(lines(1, 2), 'nowhere'));
    say(await rows(c.query('SELECT count(*), sum(a) FROM copied')));
}

async function notifications(c) {
    const other = await connect();
    await c.query('LISTEN news');
    const heard = once(c, 'notification');
    await other.query("SELECT pg_notify('news', $1)", ['from another ✉']);
    const [first] = await heard;
    say(first.channel, first.payload, first.processId === other.processID);
    const own = once(c, 'notification');
    await c.query("BEGIN; NOTIFY news, 'from myself'; COMMIT");
    say((await own)[0].payload);
    await other.end();
}

// PQcancel's request, which pg has for its native client only.
async function cancel({ host, port, processID, secretKey }) {
    const socket = net.connect(port, host);
    const request = Buffer.alloc(16);
    [16, 80877102, processID, secretKey].forEach((word, at) => request.writeInt32BE(word, at * 4));
    socket.end(request);
    await once(socket.resume(), 'close');
}

async function asleep(other, c) {
    const text = 'SELECT wait_event FROM pg_stat_activity WHERE pid = $1';
    while ((await rows(other.query(text, [c.processID])))[0]?.wait_event !== 'PgSleep') await sleep(10);
}

async function cancels(c) {
    const other = await connect();
    let sleeping = failure(c.query('SELECT pg_sleep(600)'));
    await asleep(other, c);
    const told = await rows(other.query('SELECT pg_cancel_backend($1)', [c.processID]));
    await sleeping;
    say(told);
    sleeping = failure(c.query('SELECT pg_sleep($1)', [600]));
    await asleep(other, c);
    await cancel(c);
    await sleeping;
    await cancel(c); // of nothing
    await c.query('SET statement_timeout = 200');
    await failure(c.query('SELECT pg_sleep(600)'));
    await c.query('RESET statement_timeout');
    say(await rows(c.query("SELECT 'well again' AS it")));
    const hasty = await connect({ query_timeout: 200 });
    await failure(hasty.query('SELECT pg_sleep(1)'));
    await hasty.end(); // in the middle of its query
    const doomed = await connect();
    const gone = once(doomed, 'error');
    sleeping = failure(doomed.query('SELECT pg_sleep(600)'));
    await asleep(other, doomed);
    await other.query('SELECT pg_terminate_backend($1)', [doomed.processID]);
    await sleeping;
    say((await gone)[0].message);
    await other.end();
}

async function errors(c) {
    await failure(c.query('SELEC 1'));
    await failure(c.query('SELECT *\nFROM nowhere WHERE a = $1', [1]));
    await failure(c.query('SELECT $1::int', ['x']));
    await failure(c.query('SELECT 1', [1]));
    await failure(c.query('CREATE TABLE not_made(a int); SELECT 1/0'));
    await failure(c.query('ALTER TABLE nowhere ADD COLUMN a int'));
    await failure(c.query('CREATE INDEX ON nowhere(a)', []));
    await failure(c.query('SELECT * FROM not_made'));
    await c.query('BEGIN');
    await failure(c.query('SELECT 1/0'));
    await failure(c.query('CREATE TABLE not_made(a int)'));
    say((await c.query('COMMIT')).command);
    await failure(connect({ database: 'no such database' }));
    await failure(connect({ user: 'no such user' }));
}

async function concurrent() {
    const pool = new Pool({ max: 6, application_name: 'ein Becken' });
    await pool.query('CREATE TABLE pooled(a int PRIMARY KEY, b int)');
    await pool.query('INSERT INTO pooled SELECT g, 0 FROM generate_series(1, 6) g');
    const one = async (number) => {
        const client = await pool.connect();
        try {
            await client.query('BEGIN');
            await client.query('UPDATE pooled SET b = b + 1 WHERE a = $1', [1 + (number % 6)]);
            await client.query(number % 10 ? 'COMMIT' : 'ROLLBACK');
        } finally {
            client.release();
        }
    };
    await Promise.all(Array.from({ length: 120 }, (_, number) => one(number)));
    say(await rows(pool.query("SELECT sum(b), current_setting('application_name') FROM pooled")));
    await pool.end();
}

async function schemaChanges(c) {
    await c.query('CREATE TABLE s(a int, b text, c int)');
    await c.query('INSERT INTO s SELECT g, g, g FROM generate_series(1, 1000) g');
    say((await c.query('CREATE INDEX by_query ON s(a)')).command);
    const result = await c.query('CREATE UNIQUE INDEX by_parse ON s(b)', []);
    say(result.command, result.rowCount);
    say((await c.query({ name: 'index', text: 'CREATE INDEX ON s(c)' })).command);
    say((await c.query({ name: 'index', text: 'CREATE INDEX ON s(c)' })).command);
    await failure(c.query({ text: 'CREATE INDEX by_query ON s(a)', queryMode: 'extended' }));
    say((await c.query({ text: 'DROP INDEX s_c_idx1', queryMode: 'extended' })).command);
    await failure(c.query(new Cursor('CREATE INDEX by_cursor ON s(c, a)')).read(1));
    say((await c.query('ALTER TABLE s ADD COLUMN d int')).command);
    say((await c.query({ name: 'alter', text: 'ALTER TABLE s ADD CHECK (a > 0)' })).command);
    say((await c.query('REINDEX TABLE s', [])).command);
    await c.query('BEGIN');
    say((await c.query('CREATE INDEX in_a_block ON s(a, b)', [])).command, (await c.query('COMMIT')).command);
    const sql = `SELECT indexrelid::regclass AS name, indisvalid, pg_get_indexdef(indexrelid) AS definition
        FROM pg_index WHERE indrelid = 's'::regclass ORDER BY 1::text`;
    for (const row of await rows(c.query(sql))) say(row);
}

async function main() {
    const parts = [queries, prepared, queued, cursors, copies, notifications, cancels, errors, concurrent];
    for (const part of [...parts, schemaChanges]) {
        say(`== ${part.name}`);
        const c = await connect();
        await part(c);
        await c.end();
    }
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
