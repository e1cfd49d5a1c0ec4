//! A line for each session that begins, ends or is refused; none for who wants no session.

use serde_json::Value;

use crate::harness::{limited, shared, value};
use crate::program::Program;
use crate::wire::{SSL_REQUEST, Wire, sqlstate, x};

fn ends_because(program: &Program, pid: u32) -> String {
    let fields = program.until_logged("session ends", |fields| fields["server_pid"] == pid);
    assert!(fields["client_bytes"].is_u64() && fields["server_bytes"].is_u64());
    assert!(fields["duration_ms"].is_u64());
    fields["reason"].as_str().unwrap().to_owned()
}

#[test]
fn sessions_are_logged_with_how_they_end() {
    limited(|| {
        let mut program = Program::start(shared());
        let mut polite = Wire::connect(&program.place);
        let parameters = [
            ("user", "postgres"),
            ("database", "template1"),
            ("application_name", "app\nname"),
        ];
        polite.start(&parameters);
        let pid = polite.pid();
        let begun = program.until_logged("session begins", |fields| fields["server_pid"] == pid);
        let text = |name: &str| begun[name].as_str().unwrap().to_owned();
        assert!(text("client").starts_with("127.0.0.1:"), "{begun}");
        assert_eq!(text("user"), "postgres");
        assert_eq!(text("database"), "template1");
        assert_eq!(text("application"), "app\nname");
        assert_eq!(text("client_tls"), "none");
        assert_eq!(text("server_tls"), "none");
        assert!(begun["took_ms"].is_u64());
        polite.run("SELECT 1");
        polite.send(&x());
        assert_eq!(ends_because(&program, pid), "the client closed it");
        let ended = program.until_logged("session ends", |fields| fields["server_pid"] == pid);
        assert!(ended["client_bytes"].as_u64() > Some(10), "{ended}");
        assert!(ended["server_bytes"].as_u64() > Some(100), "{ended}");

        let vanishing = program.session();
        let pid = vanishing.pid();
        drop(vanishing);
        let reason = ends_because(&program, pid);
        assert_eq!(reason, "the client went away without saying goodbye");

        let mut terminated = program.session();
        let pid = terminated.pid();
        value("postgres", &format!("SELECT pg_terminate_backend({pid})"));
        assert_eq!(sqlstate(&terminated.until_end()), "57P01");
        assert_eq!(ends_because(&program, pid), "the server ended it: 57P01");

        let staying = program.session();
        program.signal("TERM");
        let reason = ends_because(&program, staying.pid());
        assert_eq!(reason, "lockkeeper is shutting down");
        assert_eq!(program.ends_with(), Some(0));
    });
}

#[test]
fn who_is_refused_is_logged_and_who_only_looks_is_not() {
    limited(|| {
        let program = Program::start(shared());
        drop(Wire::connect(&program.place));
        let mut probe = Wire::connect(&program.place);
        probe.send(&SSL_REQUEST);
        assert_eq!(probe.byte(), Some(b'N'));
        drop(probe);
        let mut half = Wire::connect(&program.place);
        half.send(&[0, 0, 0, 90, 0, 3, 0, 0, b'u']);
        drop(half);

        let parameters = [("user", "postgres"), ("database", "no such")];
        let frames = Wire::connect(&program.place).start(&parameters);
        assert_eq!(sqlstate(&frames), "3D000");
        let is_refused = |word: &'static str| {
            move |fields: &Value| fields["reason"].as_str().unwrap().contains(word)
        };
        let refused = program.until_logged("client refused", is_refused("3D000"));
        assert_eq!(refused["user"], "postgres");
        assert_eq!(refused["database"], "no such");
        Wire::connect(&program.place).send(b"GET / HTTP/1.0\r\n\r\n");
        let refused = program.until_logged("client refused", is_refused("length"));
        assert!(refused.get("user").is_none(), "{refused}");
        assert_eq!(program.logged("client refused").len(), 2);
        assert_eq!(program.logged("client left").len(), 0);
        assert_eq!(program.logged("session begins").len(), 0);
    });
}

#[test]
fn it_can_be_turned_off() {
    limited(|| {
        let upstream = format!("127.0.0.1:{}", shared().port());
        let mut program = Program::start_at("127.0.0.1:0", &upstream, |command| {
            command.env("LOCKKEEPER__LOG__CONNECTIONS", "false");
        });
        program.session().run("SELECT 1");
        program.signal("TERM");
        assert_eq!(program.ends_with(), Some(0));
        program.until_logged("ended", |_| true);
        assert_eq!(program.logged("session begins").len(), 0);
        assert_eq!(program.logged("session ends").len(), 0);
    });
}
