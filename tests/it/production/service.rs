//! Under systemd: what it is told, and that it would take the unit.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::harness::{clean_command, limited, run, shared};
use crate::program::{PROGRAM, Program};

/// How long the next message may take.
const MESSAGE_LIMIT: Duration = Duration::from_secs(60);

/// The socket on which a service manager listens.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(MESSAGE_LIMIT)).unwrap();
        Manager(socket)
    }

    fn message(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.0.recv(&mut bytes).expect("a message in time");
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    /// Waits for a message with all of these.
    fn until(&self, words: &[&str]) -> String {
        loop {
            let message = self.message();
            if words.iter().all(|word| message.contains(word)) {
                return message;
            }
        }
    }
}

#[test]
fn systemd_is_told() {
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = Manager::listen(&path);
        let upstream = format!("127.0.0.1:{}", shared().port());
        let mut program = Program::start_at("127.0.0.1:0", &upstream, |command| {
            command
                .env("NOTIFY_SOCKET", &path)
                .env("WATCHDOG_USEC", "300000");
        });
        let first = manager.message();
        let address = format!("STATUS=serving on 127.0.0.1:{}\n", program.place.port());
        assert!(first.starts_with("READY=1\n"), "{first}");
        assert!(first.contains(&address), "{first}");
        let mut wire = program.session();
        manager.until(&["WATCHDOG=1\n", "clients: 1"]);
        program.signal("HUP");
        manager.until(&["RELOADING=1\n", "MONOTONIC_USEC="]);
        manager.until(&["READY=1\n"]);
        wire.run("BEGIN");
        program.signal("TERM");
        let stopping = manager.until(&["STOPPING=1\n"]);
        // shutdown.grace is ten minutes here.
        assert!(
            stopping.contains("EXTEND_TIMEOUT_USEC=615000000\n"),
            "{stopping}"
        );
        manager.until(&["WATCHDOG=1\n", "STATUS=draining", "clients: 1"]);
        wire.run("COMMIT");
        assert_eq!(program.ends_with(), Some(0));
    });
}

#[test]
fn it_serves_though_nobody_listens() {
    limited(|| {
        let upstream = format!("127.0.0.1:{}", shared().port());
        let program = Program::start_at("127.0.0.1:0", &upstream, |command| {
            command.env("NOTIFY_SOCKET", "/no/such/socket");
        });
        program.session().run("SELECT 1");
    });
}

#[test]
fn systemd_takes_the_unit() {
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let unit = include_str!("../../../packaging/lockkeeper.service");
        let unit = unit.replace("/usr/bin/lockkeeper", PROGRAM);
        for (file, name) in [
            ("lockkeeper.service", "lockkeeper.service"),
            ("lockkeeper@.service", "lockkeeper@blue.service"),
        ] {
            std::fs::write(directory.path().join(file), &unit).unwrap();
            let mut command = clean_command("systemd-analyze");
            command
                .args(["verify", "--man=no"])
                .arg(directory.path().join(name));
            let said = run(&mut command, "");
            assert!(said.status.success(), "{said:?}");
            assert_eq!(said.err.trim(), "", "{name}");
        }
    });
}
