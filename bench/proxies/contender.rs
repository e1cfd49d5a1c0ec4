//! The server, and whoever stands in front of it.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, ensure};
use lockkeeper::pg::temporary::{HOW_TO_GET, Options, TemporaryServer, Tls, find_binaries};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::background::{Background, bound_command, clean_command};
use crate::environment::version;

/// pgbench's scale: 100,000 accounts each, 150 MB at this one.
const SCALE: &str = "10";

/// Who carries the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Direct,
    Lockkeeper,
    Pgbouncer,
    Haproxy,
}

/// One of those that are compared.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) binary: PathBuf,
}

impl Contender {
    /// This build of lockkeeper, Debian's PgBouncer and HAProxy.
    pub(crate) fn usual(kind: Kind) -> Self {
        let (name, binary) = match kind {
            Kind::Direct => ("direct", ""),
            Kind::Lockkeeper => ("lockkeeper", env!("CARGO_BIN_EXE_lockkeeper")),
            Kind::Pgbouncer => ("PgBouncer", "/usr/sbin/pgbouncer"),
            Kind::Haproxy => ("HAProxy", "/usr/sbin/haproxy"),
        };
        Self {
            name: name.to_owned(),
            kind,
            binary: binary.into(),
        }
    }

    /// What it says of its version, if it is a program.
    pub(crate) fn version(&self) -> Option<String> {
        let flag = match self.kind {
            Kind::Direct => return None,
            Kind::Haproxy => "-v",
            Kind::Lockkeeper | Kind::Pgbouncer => "--version",
        };
        Some(version(&self.binary, flag))
    }

    /// Another build of lockkeeper.
    pub(crate) fn other(number: usize, binary: PathBuf) -> Self {
        Self {
            name: format!("lockkeeper {number}"),
            kind: Kind::Lockkeeper,
            binary,
        }
    }
}

/// What stays the same for everybody: server, database, certificate.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) server: TemporaryServer,
    /// The certificate that the server and the proxies have towards clients, when TLS is on.
    pub(crate) tls: Option<Tls>,
}

impl Bench {
    /// Starts a server, for this many idle connections or else with pgbench's tables.
    pub(crate) fn start(tls: bool, idle: Option<u32>) -> anyhow::Result<Self> {
        let mut options = Options::new(find_binaries().ok_or_else(|| anyhow!(HOW_TO_GET))?);
        options.tls = tls.then(certificate).transpose()?;
        let mut set = |name: &str, value: String| options.settings.push((name.to_owned(), value));
        match idle {
            Some(connections) => set("max_connections", (connections + 100).to_string()),
            None => set("shared_buffers", "512MB".to_owned()),
        }
        let bench = Bench {
            tls: options.tls.clone(),
            server: TemporaryServer::start(&options)?,
        };
        if idle.is_none() {
            let mut fill = bench.pgbench(bench.server.port());
            fill.args(["-i", "-q", "-s", SCALE, "postgres"]);
            let output = fill.output().context("run pgbench")?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "pgbench -i: {errors}");
        }
        Ok(bench)
    }

    /// pgbench, towards a port.
    pub(crate) fn pgbench(&self, port: u16) -> Command {
        let packaged = self.server.binaries().join("pgbench");
        let found = packaged.is_file();
        let mut command = clean_command(if found {
            &packaged
        } else {
            Path::new("pgbench")
        });
        let mode = if self.tls.is_some() {
            "require"
        } else {
            "disable"
        };
        command
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p"])
            .arg(port.to_string())
            .env("PGSSLMODE", mode)
            .env("PGGSSENCMODE", "disable");
        command
    }

    /// Starts a contender in front of the server.
    pub(crate) fn run(&self, contender: &Contender) -> anyhow::Result<Running> {
        if contender.kind == Kind::Direct {
            return Ok(Running {
                port: self.server.port(),
                process: None,
            });
        }
        ensure!(
            contender.binary.is_file(),
            "there is no {}; 'make bench' installs it",
            contender.binary.display()
        );
        let place = Place::new(self)?;
        let command = match contender.kind {
            Kind::Lockkeeper => place.lockkeeper(&contender.binary),
            Kind::Pgbouncer => place.pgbouncer(&contender.binary)?,
            _ => place.haproxy(&contender.binary)?,
        };
        let log = place.path("log");
        let mut background = Background::start(command, log)?;
        background.until_it_listens(&contender.name, place.port)?;
        Ok(Running {
            port: place.port,
            process: Some(Process {
                background,
                _directory: place.directory,
            }),
        })
    }
}

/// A contender that accepts connections; gone when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) port: u16,
    process: Option<Process>,
}

/// A proxy, and then its files: dropped in this order.
#[derive(Debug)]
struct Process {
    background: Background,
    _directory: TempDir,
}

impl Running {
    /// The process that is measured, if there is one between client and server.
    pub(crate) fn id(&self) -> Option<u32> {
        let process = self.process.as_ref();
        process.map(|process| process.background.child.id())
    }
}

/// Where a proxy has its files, and where it listens.
struct Place {
    directory: TempDir,
    port: u16,
    server: u16,
    tls: bool,
}

impl Place {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let place = Self {
            directory: tempfile::tempdir()?,
            port: TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port(),
            server: bench.server.port(),
            tls: bench.tls.is_some(),
        };
        if let Some(tls) = &bench.tls {
            place.write("tls.crt", &tls.certificate_pem)?;
            place.write("tls.key", &tls.key_pem)?;
        }
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let mut file = fs::File::create(self.path(name))?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        Ok(())
    }

    /// All settings as they are by default, so schema changes are guarded and every text is
    /// classified.
    fn lockkeeper(&self, binary: &Path) -> Command {
        let mut command = bound_command(binary);
        command
            .arg("serve")
            .arg(format!("--listen=127.0.0.1:{}", self.port))
            .arg(format!("--upstream=127.0.0.1:{}", self.server))
            .arg("--http=");
        if self.tls {
            command
                .env("LOCKKEEPER__LISTEN__TLS", "require")
                .env("LOCKKEEPER__LISTEN__CERTIFICATE", self.path("tls.crt"))
                .env("LOCKKEEPER__LISTEN__KEY", self.path("tls.key"));
        }
        command
    }

    /// One server session for each client, as lockkeeper does it.
    fn pgbouncer(&self, binary: &Path) -> anyhow::Result<Command> {
        let directory = self.directory.path().display();
        let mut text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {directory}/users\npool_mode = session\n\
             default_pool_size = 2000\nmax_client_conn = 2000\n\
             ignore_startup_parameters = extra_float_digits\n",
            self.server, self.port
        );
        if self.tls {
            text += &format!(
                "client_tls_sslmode = require\nclient_tls_cert_file = {directory}/tls.crt\n\
                 client_tls_key_file = {directory}/tls.key\n"
            );
        }
        self.write("pgbouncer.ini", &text)?;
        self.write("users", "\"postgres\" \"\"\n")?;
        let configuration = self.path("pgbouncer.ini");
        let Some((user, group)) = other_user()? else {
            let mut command = bound_command(binary);
            command.arg(configuration);
            return Ok(command);
        };
        for entry in fs::read_dir(self.directory.path())? {
            chown(entry?.path(), Some(user), Some(group))?;
        }
        chown(self.directory.path(), Some(user), Some(group))?;
        let mut command = clean_command("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={group}"))
            .args(["--clear-groups", "--pdeathsig=KILL", "--"])
            .arg(binary)
            .arg(configuration);
        Ok(command)
    }

    fn haproxy(&self, binary: &Path) -> anyhow::Result<Command> {
        let text = format!(
            "global\n    nbthread 1\n    maxconn 4000\n\
             defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 1h\n    timeout server 1h\n\
             listen postgresql\n    bind 127.0.0.1:{}\n    server postgresql 127.0.0.1:{}\n",
            self.port, self.server
        );
        self.write("haproxy.cfg", &text)?;
        let mut command = bound_command(binary);
        command.arg("-db").arg("-f").arg(self.path("haproxy.cfg"));
        Ok(command)
    }
}

/// A self-signed certificate with a key of ECDSA P-256.
fn certificate() -> anyhow::Result<Tls> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    Ok(Tls {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// The user and group to run PgBouncer as, which refuses to run as root; `None` when this isn't root.
fn other_user() -> anyhow::Result<Option<(u32, u32)>> {
    let output = Command::new("id").arg("-u").output().context("run id")?;
    if output.stdout.trim_ascii() != b"0" {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let ids = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some("postgres")).then_some(())?;
        let mut ids = fields.skip(1);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    let found = passwd.lines().find_map(ids);
    Ok(Some(
        found.ok_or_else(|| anyhow!("there is no user postgres"))?,
    ))
}
