//! SIGHUP: what a running program takes, what it keeps when the new settings can't be used.

use std::fmt::Write;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{clean_command, eventually, limited, psql, shared};
use crate::program::{PROGRAM, Program};
use crate::tls::{Authority, authority, write};
use crate::windows::closed;
use crate::wire::{Wire, commands, q};

/// The program with a file of settings.
struct Reloadable {
    directory: TempDir,
    program: Program,
    reloads: u32,
}

impl Reloadable {
    fn start(settings: &str) -> Reloadable {
        let directory = tempfile::tempdir().unwrap();
        let file = write(directory.path(), "lockkeeper.toml", settings);
        let mut command = clean_command(PROGRAM);
        command.args(["serve", "--config"]).arg(file);
        Reloadable {
            program: Program::start_as(command, shared(), &[]),
            directory,
            reloads: 0,
        }
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Sends SIGHUP with new settings in the file, until they are `outcome`.
    fn reload(&mut self, settings: &str, outcome: &str) {
        write(self.directory(), "lockkeeper.toml", settings);
        self.reloads += 1;
        self.program.signal("HUP");
        let count = || -> u32 {
            let page = self.program.get("/metrics").1;
            let reloads = page
                .lines()
                .filter_map(|line| line.strip_prefix("lockkeeper_reloads_total{"))
                .filter_map(|line| line.rsplit_once(' '));
            reloads
                .map(|(_, count)| count.parse::<u32>().unwrap())
                .sum()
        };
        eventually("the signal is heard", || count() == self.reloads);
        let page = self.program.get("/metrics").1;
        assert!(page.contains(&format!("outcome=\"{outcome}\"")), "{page}");
    }
}

/// Whether a schema change of this session is guarded.
fn is_guarded(wire: &mut Wire) -> bool {
    wire.run("DROP TABLE IF EXISTS reloaded");
    wire.run("CREATE TABLE reloaded AS SELECT 1 AS a");
    let frames = wire.query("CREATE INDEX ON reloaded(a)");
    frames.iter().any(|frame| frame.is_lockkeepers_notice())
}

const SMALL: &str = "[guard]\nsmall_table = '0B'\n";

#[test]
fn running_sessions_obey_new_settings() {
    limited(|| {
        let mut lockkeeper = Reloadable::start(SMALL);
        let mut wire = lockkeeper.program.session();
        wire.run("CREATE TEMPORARY TABLE kept()");
        assert!(is_guarded(&mut wire));
        lockkeeper.reload(&format!("{SMALL}mode = 'off'"), "done");
        assert!(!is_guarded(&mut wire));
        lockkeeper.reload(&format!("{SMALL}mode = 'offf'"), "refused");
        assert!(!is_guarded(&mut wire));
        lockkeeper.reload(SMALL, "done");
        assert!(is_guarded(&mut wire));
        wire.run("TABLE kept");
        // Connections above a new limit are refused, those that are there stay.
        lockkeeper.reload("[limits]\nconnections = 1", "done");
        let mut refused = Wire::connect(&lockkeeper.program.place);
        let frames = refused.start(&[("user", "postgres")]);
        assert_eq!(crate::wire::sqlstate(&frames), "53300");
        wire.run("TABLE kept");
    });
}

/// More often than a statement is judged anew for other reasons.
#[test]
fn statements_that_wait_for_a_window_obey_new_ones() {
    limited(|| {
        let settings = |windows: &str| {
            format!("{SMALL}[policy]\nrules = {{ lock-queue = 'queue' }}\nwindows = ['{windows}']")
        };
        let mut lockkeeper = Reloadable::start(&settings(&closed()));
        let mut wire = lockkeeper.program.session();
        wire.run("CREATE TABLE queued_up()");
        wire.send(&q("ALTER TABLE queued_up ADD COLUMN a int"));
        for zone in ["Etc/GMT-1", "Etc/GMT-2", "Etc/GMT+1", "UCT", "Zulu", "GMT0"] {
            let frame = wire.next().unwrap();
            assert!(
                frame.field(b'M').contains("waits for a window"),
                "{frame:?}"
            );
            let windows = closed().replace("UTC", zone);
            lockkeeper.reload(&settings(&windows), "done");
        }
        let frame = wire.next().unwrap();
        assert!(frame.field(b'M').contains("(GMT0)"), "{frame:?}");
        lockkeeper.reload(&settings("00:00-24:00"), "done");
        assert_eq!(commands(&wire.until_ready()), ["ALTER TABLE"]);
        wire.run("DROP TABLE queued_up");
    });
}

#[test]
fn the_audit_file_can_be_moved_away() {
    limited(|| {
        let file = tempfile::tempdir().unwrap();
        let path = file.path().join("audit.jsonl");
        let settings = format!("[audit]\nfile = '{}'", path.display());
        let mut lockkeeper = Reloadable::start(&settings);
        let mut wire = lockkeeper.program.session();
        let events = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.lines().filter(|line| line.contains("\"sql\"")).count()
        };
        wire.run("CREATE TABLE IF NOT EXISTS moved()");
        eventually("the event is written", || events(&path) == 1);
        let moved = file.path().join("audit.jsonl.1");
        std::fs::rename(&path, &moved).unwrap();
        lockkeeper.reload(&settings, "done");
        wire.run("DROP TABLE moved");
        eventually("the event is in the new file", || events(&path) == 1);
        assert_eq!(events(&moved), 1);
    });
}

#[test]
fn certificates_are_read_again() {
    limited(|| {
        let (before, after) = (authority(), authority());
        let files = tempfile::tempdir().unwrap();
        let install = |authority: &Authority, key: &str| {
            write(files.path(), "server.crt", &authority.local.chain);
            write(files.path(), "server.key", key);
            write(files.path(), "root.crt", &authority.certificate);
        };
        let mut settings = "[listen]\ntls = 'require'\n".to_owned();
        for (key, name) in [("certificate", "server.crt"), ("key", "server.key")] {
            let path = files.path().join(name);
            writeln!(settings, "{key} = '{}'", path.display()).unwrap();
        }
        install(&before, &before.local.key);
        let mut lockkeeper = Reloadable::start(&settings);
        let is_verified = |lockkeeper: &Reloadable, authority: &Authority| {
            let root = write(files.path(), "root.crt", &authority.certificate);
            let conninfo = format!(
                "host=127.0.0.1 port={} user=postgres sslmode=verify-full sslrootcert={}",
                lockkeeper.program.place.port(),
                root.display()
            );
            psql(&conninfo, &["-c", "SELECT 7"], "").status.success()
        };
        assert!(is_verified(&lockkeeper, &before));
        // A key that isn't the certificate's: the old pair stays.
        install(&after, &before.local.key);
        lockkeeper.reload(&settings, "refused");
        assert!(is_verified(&lockkeeper, &before));
        install(&after, &after.local.key);
        lockkeeper.reload(&settings, "done");
        assert!(is_verified(&lockkeeper, &after));
        assert!(!is_verified(&lockkeeper, &before));
    });
}
