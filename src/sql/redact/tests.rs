use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[track_caller]
fn shows(text: &str, expected: &str) {
    assert_eq!(redacted(text, false), expected);
}

#[test]
fn what_stands_behind_a_word_that_sounds_like_a_secret_is_hidden() {
    shows(
        "CREATE ROLE r LOGIN PASSWORD 'x'",
        "CREATE ROLE r LOGIN PASSWORD '***'",
    );
    shows(
        "alter role r encrypted password E'x\\'y' valid until 'infinity'",
        "alter role r encrypted password '***' valid until '***'",
    );
    shows(
        "SELECT f(password => $a$x$a$, b => 'c')",
        "SELECT f(password => '***', b => 'c')",
    );
    shows(
        "UPDATE t SET a = 'b' WHERE password = 'x' AND c = 'd'",
        "UPDATE t SET a = 'b' WHERE password = '***' AND c = '***'",
    );
    shows(
        "ALTER TABLE t ADD COLUMN api_token text DEFAULT 'x', ADD b text DEFAULT 'c'",
        "ALTER TABLE t ADD COLUMN api_token text DEFAULT '***', ADD b text DEFAULT 'c'",
    );
    shows(
        "CREATE TABLE t (password text CHECK (password <> 'x'), kind text DEFAULT 'plain')",
        "CREATE TABLE t (password text CHECK (password <> '***'), kind text DEFAULT 'plain')",
    );
    shows(
        "UPDATE t SET pwd = 1234, a = 1",
        "UPDATE t SET pwd = '***', a = 1",
    );
    shows("SELECT f(password => 1234)", "SELECT f(password => '***')");
}

#[test]
fn options_are_hidden_unless_they_are_known() {
    shows(
        "ALTER FOREIGN TABLE t OPTIONS (ADD table_name 'a', SET \"password\" 'x', ADD odd 'y')",
        "ALTER FOREIGN TABLE t OPTIONS (ADD table_name 'a', SET \"password\" '***', ADD odd '***')",
    );
    shows(
        "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'u', password 'x')",
        "CREATE USER MAPPING FOR u SERVER s OPTIONS (user '***', password '***')",
    );
}

#[test]
fn settings_of_others_are_hidden() {
    shows(
        "SET app.pin TO hunter2; SELECT 1",
        "SET app.pin TO '***'; SELECT 1",
    );
    shows(
        "ALTER ROLE r SET app.pin = hunter2",
        "ALTER ROLE r SET app.pin = '***'",
    );
    shows(
        "ALTER SYSTEM SET primary_conninfo TO \"host=h password=x\"",
        "ALTER SYSTEM SET primary_conninfo TO '***'",
    );
    for plain in [
        "SET lock_timeout = '1s'",
        "SET lockkeeper.mode = 'off'",
        "ALTER ROLE r SET lockkeeper.mode TO off",
        "ALTER TABLE t ALTER c SET DATA TYPE boolean USING c = 'y'",
        "UPDATE t SET a = 'b', c = 1",
        "UPDATE t SET token = DEFAULT WHERE id > $1",
        "UPDATE t SET a.b = c",
    ] {
        shows(plain, plain);
    }
}

#[test]
fn connection_strings_are_hidden() {
    shows(
        "SELECT dblink('host=h password=x', 'SELECT 1') FROM t",
        "SELECT dblink('***', '***') FROM t",
    );
    shows("SELECT f('https://u:x@h/')", "SELECT f('***')");
    shows(r"SELECT f(E'p\x61ssword=x')", "SELECT f('***')");
    shows("SELECT f('pass'\n -- it's\n'word=x')", "SELECT f('***')");
    shows("SELECT f('https://h/')", "SELECT f('https://h/')");
}

#[test]
fn bodies_are_read_and_hidden_where_they_speak_of_secrets() {
    shows(
        "DO $$DECLARE p text := 'x'; BEGIN EXECUTE 'ALTER ROLE r ' || p; END$$",
        "DO $$DECLARE p text := '***'; BEGIN EXECUTE '***' || p; END$$",
    );
    shows(
        "CREATE FUNCTION f() RETURNS void AS 'ALTER ROLE r PASSWORD ''x''' LANGUAGE sql",
        "CREATE FUNCTION f() RETURNS void AS '***' LANGUAGE sql",
    );
    shows(
        "DO $$BEGIN EXECUTE 'SET app.pin = ''x'''; END$$",
        "DO $$BEGIN EXECUTE '***'; END$$",
    );
    let plain =
        "CREATE FUNCTION f() RETURNS int AS $$ SELECT 1 WHERE 'a' = 'b' -- c\n $$ LANGUAGE sql";
    shows(plain, plain);
}

#[test]
fn comments_go_with_what_is_hidden() {
    shows(
        "/* x */ ALTER ROLE r PASSWORD 'x' -- x",
        " ALTER ROLE r PASSWORD '***' ",
    );
    shows("SELECT 1 -- the password is x", "SELECT 1 ");
    shows("SELECT 1 /* plain */", "SELECT 1 /* plain */");
}

#[test]
fn what_can_be_read_in_two_ways_is_hidden_to_the_end() {
    shows("SELECT 'a', 'x", "SELECT 'a', '***'");
    shows("SELECT 'a' /* x", "SELECT 'a''***'");
    shows("SELECT $a$ x $b$", "SELECT '***'");
    shows("SELECT \"x", "SELECT '***'");
    shows(r"SELECT 'a\' || 'x'", "SELECT '***'");
    shows(r"SELECT 'C:\a'", r"SELECT 'C:\a'");
    assert_eq!(redacted("ALTER ROLE r PASSW", true), "ALTER ROLE r PASSW");
}

#[test]
fn all_constants_are_hidden_where_there_may_be_a_secret() {
    assert_eq!(
        redacted(
            "IMPORT FOREIGN SCHEMA s FROM SERVER v INTO t OPTIONS (a 'x') /* x */",
            true
        ),
        "IMPORT FOREIGN SCHEMA s FROM SERVER v INTO t OPTIONS (a '***') "
    );
    assert_eq!(redacted("DO $$ x $$", true), "DO '***'");
}

#[test]
fn a_comment_that_only_speaks_of_a_secret_is_none() {
    assert!(!has_secret(
        "ALTER TABLE t DROP a -- lockkeeper: allow drop-column: the token went elsewhere"
    ));
    assert!(has_secret("ALTER TABLE t DROP a -- password=x"));
    assert!(has_secret("ALTER TABLE t ADD password text DEFAULT 'x'"));
}

#[test]
fn messages_that_repeat_a_value_are_known() {
    for bad in [
        "could not connect: password=x",
        "near \"PASSWORD 'x'\"",
        "postgres://u:x@h/db",
    ] {
        assert!(shows_credentials(bad), "{bad}");
    }
    for good in [
        "column \"password\" does not exist",
        "see https://h/",
        "no such table",
    ] {
        assert!(!shows_credentials(good), "{good}");
    }
}

/// Places of a secret: `{s}` is a constant, `{c}` what stands within one.
const PLACES: &[(&str, bool)] = &[
    ("create role r password {s} login", false),
    ("alter role r with encrypted password {s}", false),
    (
        "create user u password {s} ; alter table t add column a int",
        false,
    ),
    ("select f ( password => {s} , 1 )", false),
    ("update users set password = {s} where a = 1", false),
    (
        "create user mapping for u server v options ( user 'a' , password {s} )",
        false,
    ),
    (
        "alter foreign table t options ( set \"password\" {s} )",
        false,
    ),
    ("alter foreign table t options ( add x {s} )", false),
    (
        "create subscription p connection {s} publication q with ( connect = false )",
        false,
    ),
    ("alter system set primary_conninfo = {s}", false),
    ("alter role r set app.x to {s}", false),
    ("set app.secret = {s}", false),
    ("set local app.x to zq1zq2zq3", false),
    ("alter role r set x = zq1zq2zq3", false),
    ("select dblink ( 'host=h~password=zq1zq2' )", false),
    ("select f ( 'postgres://u:zq1@h/d' )", false),
    ("do $b$ begin alter role r password {s} ; end $b$", false),
    (
        "do $b$ begin execute format ( 'alter~role~r~password~%L' , {s} ) ; end $b$",
        false,
    ),
    (
        "do $b$ declare x text := {s} ; begin execute 'alter~user~u~password~' || x ; end $b$",
        false,
    ),
    (
        "create function f() returns void language sql as $b$ alter role r password {s} $b$",
        false,
    ),
    (
        "import foreign schema a from server v into b options ( x {s} )",
        true,
    ),
    ("create role r/*zq1*/ login", true),
    ("reassign owned by {s}", true),
];

/// A constant that means a secret, written in some way; `zq` occurs in it as it is.
fn constant() -> impl Strategy<Value = String> {
    let secret = "(zq[0-9]){2,5}";
    prop_oneof![
        secret.prop_map(|secret| format!("'{secret}'")),
        secret.prop_map(|secret| format!("'it''s {secret}'")),
        secret.prop_map(|secret| format!(r"E'\'{secret}\\'")),
        secret.prop_map(|secret| format!(r"e'\x7a{secret}'")),
        secret.prop_map(|secret| format!(r"U&'\0041{secret}'")),
        secret.prop_map(|secret| format!("N'{secret}'")),
        secret.prop_map(|secret| format!("$${secret}$$")),
        secret.prop_map(|secret| format!("$q${secret} $b $q$")),
        secret.prop_map(|secret| format!("'{secret}'\n -- it's\n '{secret}'")),
        secret.prop_map(|secret| format!(r"'\{secret}\'")),
    ]
}

fn gap() -> impl Strategy<Value = &'static str> {
    select(
        &[
            " ",
            " ",
            "\n",
            "\t  ",
            " /* a */ ",
            " /* 'zq1 */ ",
            " -- it's zq1\n",
        ][..],
    )
}

fn written() -> impl Strategy<Value = (String, bool)> {
    let place = (select(PLACES), any::<u64>());
    (place, constant(), proptest::collection::vec(gap(), 24)).prop_map(
        |(((place, is_known), cases), constant, gaps)| {
            let mut gaps = gaps.into_iter().cycle();
            let mut text = String::new();
            for (at, word) in place.split(' ').enumerate() {
                if at > 0 {
                    text.push_str(gaps.next().unwrap_or(" "));
                }
                // Within a constant, case and comments matter.
                let is_code = !word.contains(['\'', '$', '{']);
                if is_code && cases >> (at % 64) & 1 == 1 {
                    text.push_str(&word.to_ascii_uppercase());
                } else {
                    text.push_str(&word.replace("{s}", &constant));
                }
            }
            (text.replace('~', " "), is_known)
        },
    )
}

proptest! {
    #[test]
    fn a_secret_is_never_shown((text, is_known) in written()) {
        let shown = redacted(&text, is_known);
        prop_assert!(!shown.to_lowercase().contains("zq"), "{text}\n{shown}");
    }

    #[test]
    fn a_text_that_is_cut_shows_no_more((text, _) in written(), cut in 0..400_usize) {
        let text = crate::sql::name::clip(&text, cut);
        let shown = redacted(text, true);
        prop_assert!(!shown.to_lowercase().contains("zq"), "{text}\n{shown}");
    }

    #[test]
    fn any_text_is_read(text in r#"([a-z.,;()=:> -]|'|"|\$|\\|/\*|\*/|E'|U&'|password|set|options|do|é){0,40}"#) {
        let _ = redacted(&text, true);
        let shown = redacted(&text, false);
        prop_assert_eq!(redacted(&shown, true), redacted(&shown, true));
    }
}
