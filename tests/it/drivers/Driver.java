import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** Drives pgjdbc in each query mode, and prints what it sees. The only argument is the JDBC URL. */
final class Driver {
    private static String url;
    private static String mode;

    private interface Part {
        void run(Connection c) throws Exception;
    }

    private interface Attempt {
        Object run() throws SQLException;
    }

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        List<String> modes = List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything");
        for (String each : modes) {
            mode = each;
            part("queries", Driver::queries);
            part("prepared", Driver::prepared);
            part("batches", Driver::batches);
            part("cursors", Driver::cursors);
            part("copies", Driver::copies);
            part("autosave", Driver::autosave);
            part("cancels", Driver::cancels);
            part("large objects", Driver::largeObjects);
            part("notifications", Driver::notifications);
            part("errors", Driver::errors);
            part("changed schemas", Driver::changedSchemas);
            part("schema changes", Driver::schemaChanges);
        }
    }

    private static void part(String name, Part part) throws Exception {
        say("== " + mode + ": " + name);
        try (Connection c = connect()) {
            exec(c, "CREATE SCHEMA work", "SET search_path = work");
            part.run(c);
        }
        try (Connection c = connect()) {
            exec(c, "SET client_min_messages = warning", "DROP SCHEMA work CASCADE");
        }
    }

    private static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", "postgres");
        properties.setProperty("preferQueryMode", mode);
        properties.setProperty("ApplicationName", "ä ' pgjdbc");
        for (int at = 0; at < options.length; at += 2) {
            properties.setProperty(options[at], options[at + 1]);
        }
        Connection c = DriverManager.getConnection(url, properties);
        if (options.length > 0) {
            exec(c, "SET search_path = work");
        }
        return c;
    }

    private static void say(Object... what) {
        List<String> words = new ArrayList<>();
        for (Object one : what) {
            words.add(String.valueOf(one));
        }
        System.out.println(String.join(" ", words));
    }

    private static void exec(Connection c, String... texts) throws SQLException {
        try (Statement statement = c.createStatement()) {
            for (String text : texts) {
                statement.execute(text);
                for (SQLWarning w = statement.getWarnings(); w != null; w = w.getNextWarning()) {
                    say("warning", w.getSQLState(), w.getMessage());
                }
                statement.clearWarnings();
            }
        }
    }

    private static String rows(ResultSet result) throws SQLException {
        ResultSetMetaData about = result.getMetaData();
        StringBuilder text = new StringBuilder();
        for (int column = 1; column <= about.getColumnCount(); column++) {
            text.append(about.getColumnName(column)).append(':').append(about.getColumnTypeName(column)).append(' ');
        }
        while (result.next()) {
            text.append('(');
            for (int column = 1; column <= about.getColumnCount(); column++) {
                text.append(column > 1 ? "," : "").append(result.getString(column));
            }
            text.append(')');
        }
        return text.toString();
    }

    private static String query(Connection c, String text) throws SQLException {
        try (Statement statement = c.createStatement(); ResultSet result = statement.executeQuery(text)) {
            return rows(result);
        }
    }

    /** Tries what is to fail, and says how. */
    private static void failure(Attempt attempt) {
        try {
            say("no failure", attempt.run());
        } catch (SQLException error) {
            say(error.getSQLState(), error.getMessage());
            SQLException next = error.getNextException();
            if (error instanceof BatchUpdateException && next != null) {
                say("next", next.getSQLState(), next.getMessage());
            }
        }
    }

    private static void queries(Connection c) throws SQLException {
        say(query(c, "SELECT 1 AS a, 'ü' AS b, NULL AS c, ARRAY[1, 2] AS d, current_setting('application_name')"));
        try (Statement statement = c.createStatement()) {
            boolean more = statement.execute(
                "SELECT 1; CREATE TEMPORARY TABLE several(a int); INSERT INTO several VALUES (1), (2);"
                    + " SELECT * FROM several; UPDATE several SET a = a + 1");
            while (more || statement.getUpdateCount() >= 0) {
                say(more ? rows(statement.getResultSet()) : statement.getUpdateCount());
                more = statement.getMoreResults();
            }
        }
        exec(c, "", "DO $$ BEGIN RAISE WARNING 'be warned'; END $$",
            "CREATE FUNCTION twice(a int, OUT b int) LANGUAGE sql AS 'SELECT a * 2'");
        try (CallableStatement call = c.prepareCall("{? = call twice(?)}")) {
            call.registerOutParameter(1, Types.INTEGER);
            call.setInt(2, 21);
            failure(() -> call.execute() + " " + call.getInt(1)); // the simple mode doesn't know how
        }
        try (PreparedStatement insert = c.prepareStatement(
            "INSERT INTO several VALUES (?), (?)", Statement.RETURN_GENERATED_KEYS)) {
            insert.setInt(1, 10);
            insert.setInt(2, 11);
            say(insert.executeUpdate(), rows(insert.getGeneratedKeys()));
        }
        say(query(c, "SELECT length(repeat('x', 3000000)) AS n"), query(c, "SELECT {d '2020-01-02'} AS escape"));
        c.setReadOnly(true);
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        c.setAutoCommit(false);
        failure(() -> query(c, "CREATE TABLE not_made(a int)"));
        c.rollback();
        say(query(c, "SELECT current_setting('transaction_isolation')"));
        c.rollback();
    }

    private static void prepared(Connection c) throws SQLException {
        try (PreparedStatement sum = c.prepareStatement("SELECT ?::int + 1 AS sum, ?::text, ?::bytea, ?::int8[]")) {
            for (int number = 0; number < 12; number++) {
                sum.setInt(1, number);
                sum.setString(2, "text " + number);
                if (mode.equals("simple")) { // its literals of bytea have no quotes
                    sum.setString(3, "\\x0007");
                } else {
                    sum.setBytes(3, new byte[] {0, (byte) number});
                }
                sum.setArray(4, c.createArrayOf("int8", new Long[] {1L, null}));
                try (ResultSet result = sum.executeQuery()) {
                    result.next();
                    say(result.getInt(1), result.getString(2), result.getBytes(3).length, result.getString(4));
                }
            }
            say(sum.getParameterMetaData().getParameterTypeName(1), sum.getMetaData().getColumnName(1));
        }
        say(query(c, "SELECT count(*) > 0 FROM pg_prepared_statements WHERE statement LIKE '%+ 1 AS sum%'"));
        exec(c, "CREATE TABLE p(a int)");
        try (PreparedStatement alter = c.prepareStatement("ALTER TABLE p ADD COLUMN IF NOT EXISTS b int")) {
            for (int time = 0; time < 8; time++) {
                say(alter.executeUpdate());
            }
        }
        exec(c, "DISCARD ALL", "SET search_path = work");
        say(query(c, "SELECT * FROM p"));
    }

    private static void batches(Connection c) throws SQLException {
        exec(c, "CREATE TABLE b(a int PRIMARY KEY, t text)");
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection other = connect("reWriteBatchedInserts", rewrite)) {
                exec(other, "TRUNCATE b");
                for (boolean block : new boolean[] {false, true}) {
                    other.setAutoCommit(!block);
                    int from = block ? 100_000 : 0;
                    say(batch(other, from, 2000));
                    failure(() -> batch(other, from + 1990, 100));
                    if (block) {
                        other.rollback();
                    }
                    say(query(c, "SELECT count(*), sum(a) FROM b"));
                }
            }
        }
        try (Statement statement = c.createStatement()) {
            statement.addBatch("CREATE TABLE made_in_a_batch(a int)");
            statement.addBatch("INSERT INTO made_in_a_batch VALUES (1), (2)");
            statement.addBatch("ALTER TABLE made_in_a_batch ADD COLUMN b int");
            statement.addBatch("CREATE INDEX ON made_in_a_batch(b)");
            say(Arrays.toString(statement.executeBatch()));
            statement.addBatch("INSERT INTO made_in_a_batch VALUES (3)");
            statement.addBatch("INSERT INTO made_in_a_batch VALUES (1/0)");
            statement.addBatch("DROP TABLE made_in_a_batch");
            failure(statement::executeBatch);
        }
        say(query(c, "SELECT to_regclass('made_in_a_batch')"));
    }

    private static String batch(Connection c, int from, int count) throws SQLException {
        try (PreparedStatement insert = c.prepareStatement("INSERT INTO b VALUES (?, ?)")) {
            for (int number = from; number < from + count; number++) {
                insert.setInt(1, number);
                insert.setString(2, "row " + number);
                insert.addBatch();
            }
            return insert.executeBatch().length + " done";
        }
    }

    private static void cursors(Connection c) throws SQLException {
        c.setAutoCommit(false);
        try (PreparedStatement statement = c.prepareStatement("SELECT g, 'row ' || g FROM generate_series(1, ?) g")) {
            statement.setFetchSize(7);
            for (int count : new int[] {50, 7, 0, 1000}) {
                statement.setInt(1, count);
                long sum = 0;
                try (ResultSet result = statement.executeQuery()) {
                    while (result.next()) {
                        sum += result.getInt(1);
                    }
                }
                say(count, sum);
            }
            statement.setInt(1, 100);
            ResultSet unread = statement.executeQuery();
            say(unread.next(), query(c, "SELECT 'in between' AS it"), unread.next());
            exec(c, "CREATE TABLE while_a_portal_is_open(a int)");
            c.commit();
            failure(() -> {
                while (unread.next()) {
                    continue;
                }
                return "read to its end";
            });
        }
        c.rollback();
        try (Statement statement = c.createStatement(
            ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            exec(c, "CREATE TABLE u(a int PRIMARY KEY, b int)", "INSERT INTO u VALUES (1, 1), (2, 2)");
            ResultSet result = statement.executeQuery("SELECT a, b FROM u ORDER BY a");
            result.absolute(2);
            result.updateInt(2, 22);
            result.updateRow();
            result.moveToInsertRow();
            result.updateInt(1, 3);
            result.insertRow();
        }
        c.commit();
        say(query(c, "SELECT * FROM u ORDER BY a"));
    }

    private static void copies(Connection c) throws Exception {
        exec(c, "CREATE TABLE copied(a int PRIMARY KEY, b text)");
        CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int number = 0; number < 10_000; number++) {
            lines.append(number).append("\tline ").append(number).append('\n');
        }
        say(copy.copyIn("COPY copied FROM STDIN", new StringReader(lines.toString())));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        say(copy.copyOut("COPY copied TO STDOUT", out), out.toString("UTF-8").contentEquals(lines));
        failure(() -> {
            try {
                return copy.copyIn("COPY copied FROM STDIN", new StringReader(lines.toString()));
            } catch (java.io.IOException error) {
                return error;
            }
        });
        var halfway = copy.copyIn("COPY copied FROM STDIN");
        byte[] line = "90000\tnever\n".getBytes("UTF-8");
        halfway.writeToCopy(line, 0, line.length);
        halfway.cancelCopy();
        say(query(c, "SELECT count(*), sum(a) FROM copied"));
    }

    private static void autosave(Connection c) throws SQLException {
        for (String autosave : new String[] {"always", "conservative"}) {
            try (Connection other = connect("autosave", autosave)) {
                other.setAutoCommit(false);
                exec(other, "CREATE TABLE saved_" + autosave + "(a int PRIMARY KEY)");
                other.commit();
                try (PreparedStatement insert = other.prepareStatement(
                    "INSERT INTO saved_" + autosave + " VALUES (?)")) {
                    for (int number = 0; number < 10; number++) {
                        insert.setInt(1, number);
                        say(insert.executeUpdate());
                    }
                    insert.setInt(1, 3);
                    failure(insert::executeUpdate);
                    failure(() -> query(other, "SELECT 'after the failure' AS it"));
                }
                other.rollback();
                exec(c, "CREATE TABLE IF NOT EXISTS altered(a int)");
                try (PreparedStatement select = other.prepareStatement("SELECT * FROM altered")) {
                    for (int time = 0; time < 7; time++) {
                        select.executeQuery().close();
                    }
                    other.commit();
                    exec(c, "ALTER TABLE altered ADD COLUMN " + autosave + " int");
                    failure(() -> rows(select.executeQuery()));
                }
                other.rollback();
                Savepoint savepoint = other.setSavepoint("own");
                exec(other, "ALTER TABLE altered ADD COLUMN undone int");
                other.rollback(savepoint);
                other.commit();
                say(query(c, "SELECT * FROM altered"));
            }
        }
    }

    private static void cancels(Connection c) throws Exception {
        try (Statement statement = c.createStatement()) {
            statement.setQueryTimeout(1);
            failure(() -> statement.executeQuery("SELECT pg_sleep(600)"));
        }
        say(query(c, "SELECT 'after the timeout' AS it"));
        try (Connection other = connect("ApplicationName", "other"); PreparedStatement statement
            = c.prepareStatement("SELECT pg_sleep(?)")) {
            int pid = c.unwrap(PGConnection.class).getBackendPID();
            statement.setInt(1, 600);
            CompletableFuture<String> cancelled = CompletableFuture.supplyAsync(() -> {
                try {
                    until(other, "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = " + pid);
                    statement.cancel();
                    return "cancelled";
                } catch (SQLException error) {
                    return error.getMessage();
                }
            });
            failure(statement::executeQuery);
            say(cancelled.join());
            say(query(other, "SELECT pg_terminate_backend(" + pid + ", 60000)"));
            failure(() -> query(c, "SELECT 1"));
            say(c.isValid(5), other.isValid(5));
        }
    }

    private static void until(Connection c, String condition) throws SQLException {
        while (!query(c, condition).endsWith("(t)")) {
            query(c, "SELECT pg_sleep(0.02)");
        }
    }

    private static void largeObjects(Connection c) throws SQLException {
        c.setAutoCommit(false);
        LargeObjectManager manager = c.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = manager.createLO(LargeObjectManager.READWRITE);
        byte[] block = new byte[100_000];
        try (LargeObject object = manager.open(oid, LargeObjectManager.READWRITE)) {
            for (int time = 0; time < 20; time++) {
                block[0] = (byte) time;
                object.write(block);
            }
            object.seek(1_900_000);
            say(object.size(), object.tell(), object.read(1)[0], object.read(200_000).length);
            object.truncate64(1000);
            say(object.size64());
        }
        c.commit();
        say(query(c, "SELECT length(lo_get(" + oid + ")) AS length"));
        failure(() -> manager.open(1L, LargeObjectManager.READ));
        failure(() -> query(c, "SELECT 'in a failed transaction' AS it"));
        c.rollback();
        manager.unlink(oid);
        c.commit();
        try {
            manager.open(oid);
        } catch (SQLException error) {
            say(error.getMessage().replace(String.valueOf(oid), "OID"));
        }
    }

    private static void notifications(Connection c) throws SQLException {
        exec(c, "LISTEN news");
        try (Connection other = connect()) {
            try (PreparedStatement notify = other.prepareStatement("SELECT pg_notify('news', ?)")) {
                notify.setString(1, "from another ✉");
                notify.execute();
            }
        }
        for (PGNotification note : c.unwrap(PGConnection.class).getNotifications(30_000)) {
            say(note.getName(), note.getParameter());
        }
        exec(c, "NOTIFY news, 'from myself'");
        for (PGNotification note : c.unwrap(PGConnection.class).getNotifications(30_000)) {
            say(note.getName(), note.getParameter());
        }
    }

    private static void errors(Connection c) throws SQLException {
        failure(() -> query(c, "SELEC 1"));
        failure(() -> query(c, "SELECT *\nFROM nowhere"));
        failure(() -> query(c, "SELECT 1; SELECT 2; SELECT 1/0"));
        exec(c, "CREATE TABLE made_before(a int); SELECT 1");
        failure(() -> query(c, "CREATE TABLE not_made(a int); SELECT 1/0"));
        failure(() -> query(c, "ALTER TABLE nowhere ADD COLUMN a int"));
        failure(() -> query(c, "CREATE INDEX ON nowhere(a)"));
        try (PreparedStatement statement = c.prepareStatement("SELECT ?::int")) {
            statement.setString(1, "no number");
            for (int time = 0; time < 7; time++) {
                failure(statement::executeQuery);
            }
        }
        c.setAutoCommit(false);
        failure(() -> query(c, "SELECT 1/0"));
        failure(() -> query(c, "CREATE TABLE not_made(a int)"));
        c.rollback();
        say(query(c, "SELECT to_regclass('not_made'), to_regclass('made_before')"));
    }

    private static void changedSchemas(Connection c) throws SQLException {
        exec(c, "CREATE TABLE changing(a int)", "INSERT INTO changing VALUES (1)");
        try (Connection other = connect("ApplicationName", "other");
            PreparedStatement select = c.prepareStatement("SELECT * FROM changing")) {
            String[] changes = {
                "ADD COLUMN b int DEFAULT 2", "ALTER COLUMN b TYPE text", "RENAME COLUMN b TO c", "DROP COLUMN c",
            };
            for (String change : changes) {
                for (int time = 0; time < 7; time++) {
                    select.executeQuery().close();
                }
                exec(other, "ALTER TABLE changing " + change);
                failure(() -> rows(select.executeQuery()));
            }
        }
    }

    private static void schemaChanges(Connection c) throws SQLException {
        exec(c, "CREATE TABLE s(a int, b text, c int)", "INSERT INTO s SELECT g, g, g FROM generate_series(1, 1000) g");
        exec(c, "CREATE INDEX by_statement ON s(a)", "CREATE UNIQUE INDEX ON s(b)", "CREATE INDEX dropped ON s(c)");
        try (PreparedStatement create = c.prepareStatement("CREATE INDEX ON s(c)")) {
            for (int time = 0; time < 7; time++) {
                say(create.executeUpdate());
            }
        }
        failure(() -> query(c, "CREATE INDEX by_statement ON s(a)"));
        failure(() -> query(c, "CREATE UNIQUE INDEX not_unique ON s((a % 10))"));
        exec(c, "CREATE INDEX IF NOT EXISTS by_statement ON s(a)", "DROP INDEX dropped", "REINDEX TABLE s");
        exec(c, "ALTER TABLE s ADD COLUMN d int", "ALTER TABLE s ADD CHECK (a > 0)");
        exec(c, "CREATE VIEW v AS SELECT * FROM s");
        exec(c, "ALTER TABLE s ADD COLUMN e int; ALTER TABLE s ALTER COLUMN e SET DEFAULT 1");
        exec(c, "CREATE INDEX by_e ON s(e)");
        c.setAutoCommit(false);
        exec(c, "CREATE INDEX in_a_block ON s(a, b)");
        c.commit();
        c.setAutoCommit(true);
        try (Statement statement = c.createStatement(); ResultSet result = statement.executeQuery(
            "SELECT indexrelid::regclass, indisvalid, pg_get_indexdef(indexrelid) FROM pg_index"
                + " WHERE indrelid = 's'::regclass ORDER BY indexrelid::regclass::text")) {
            while (result.next()) {
                say(result.getString(1), result.getBoolean(2), result.getString(3));
            }
        }
    }
}
