//! TLS on either leg, on both, with the certificates that are checked and those that aren't; SCRAM with channel binding
//! through both; and nothing that was sent in the clear is taken for something sent under TLS.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lockkeeper::config::{ClientCertificate, ClientTls, Config, ServerTls};
use lockkeeper::pg::temporary::{TemporaryServer, Tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Proxy, limited, place, psql, shared, start_server, value};
use crate::wire::{
    GSS_REQUEST, Place, SSL_REQUEST, Wire, cancel_request, column, prepare, q, sqlstate, startup,
    tags,
};

const PASSWORD: &str = "secret";

/// A certificate with its key, PEM.
pub(crate) struct Certificate {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// An authority and what it has signed.
pub(crate) struct Authority {
    pub(crate) certificate: String,
    /// For `localhost` and `127.0.0.1`.
    pub(crate) local: Certificate,
    /// The same names, another key.
    pub(crate) other: Certificate,
    /// For `db.invalid` alone.
    elsewhere: Certificate,
    /// The same names, and over.
    pub(crate) expired: Certificate,
}

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Not the name that certificates have by default: OpenSSL would take those for self-signed ones.
    params
        .distinguished_name
        .push(DnType::CommonName, "lockkeeper's test authority");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let sign_until = |names: &[&str], year: i32| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Shop's migrations");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        Certificate {
            chain: params.signed_by(&key, &issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    };
    let sign = |names: &[&str]| sign_until(names, 4096);
    Authority {
        certificate,
        local: sign(&["localhost", "127.0.0.1"]),
        other: sign(&["localhost", "127.0.0.1"]),
        elsewhere: sign(&["db.invalid"]),
        expired: sign_until(&["localhost", "127.0.0.1"], 2001),
    }
}

/// The authority whose certificates are used; another one is its like.
pub(crate) fn trusted() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(authority)
}

/// A server with the certificate `local`: `postgres` by SCRAM, `guest` under TLS only and without a password.
pub(crate) fn secure() -> &'static TemporaryServer {
    static SERVER: OnceLock<TemporaryServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = start_server(|options| {
            options.superuser_password = Some(PASSWORD.to_owned());
            options.tls = Some(Tls {
                certificate_pem: trusted().local.chain.clone(),
                key_pem: trusted().local.key.clone(),
            });
            let lines = [
                "local all all trust",
                "hostssl all guest 127.0.0.1/32 trust",
                "host all postgres 127.0.0.1/32 scram-sha-256",
            ];
            options.hba = Some(lines.join("\n") + "\n");
        });
        let socket = Place::Unix(server.socket_directory().to_owned(), server.port());
        Wire::session(&socket, "postgres").run("CREATE ROLE guest LOGIN");
        server
    })
}

/// A file that its owner alone may read, as libpq wants a key's to be.
pub(crate) fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Has the proxy speak TLS to clients.
pub(crate) fn listen_with(
    config: &mut Config,
    directory: &Path,
    tls: ClientTls,
    certificate: &Certificate,
) {
    config.listen.tls = tls;
    config.listen.certificate = Some(write(directory, "client.crt", &certificate.chain));
    config.listen.key = Some(write(directory, "client.key", &certificate.key));
}

/// Has the proxy speak TLS to the server.
pub(crate) fn connect_with(
    config: &mut Config,
    directory: &Path,
    tls: ServerTls,
    authority: &Authority,
) {
    config.upstream.tls = tls;
    config.upstream.ca = Some(write(directory, "ca.crt", &authority.certificate));
}

fn address(proxy: &Proxy) -> std::net::SocketAddr {
    match proxy.place() {
        Place::Tcp(address) => *address,
        Place::Unix(..) => panic!("TCP"),
    }
}

/// A raw client under TLS that checks the proxy's certificate; direct, or after an SSLRequest.
pub(crate) fn under_tls(proxy: &Proxy, alpn: Option<&[u8]>) -> std::io::Result<Wire> {
    let mut stream = TcpStream::connect(address(proxy))?;
    prepare(&stream);
    if alpn.is_none() {
        stream.write_all(&SSL_REQUEST)?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        assert_eq!(&answer, b"S");
    }
    let mut roots = RootCertStore::empty();
    let pem = trusted().certificate.as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(Wire::over(stream))
}

pub(crate) fn conninfo(proxy: &Proxy, user: &str, more: &str) -> String {
    let port = proxy.place().port();
    format!("host=127.0.0.1 port={port} user={user} dbname=postgres password={PASSWORD} {more}")
}

#[test]
fn the_clients_leg() {
    limited(|| {
        for tls in [ClientTls::Allow, ClientTls::Require] {
            let proxy = Proxy::start(shared(), |config, directory| {
                listen_with(config, directory, tls, &trusted().local);
            });
            let ca = write(proxy.directory(), "root.crt", &trusted().certificate);
            let verified = format!("sslmode=verify-full sslrootcert={}", ca.display());
            let ask =
                |more: &str| psql(&conninfo(&proxy, "postgres", more), &["-c", "SELECT 7"], "");
            assert_eq!(ask(&verified).ok(), "7");
            let plain = ask("sslmode=disable");
            assert_eq!(plain.status.success(), tls == ClientTls::Allow, "{plain:?}");
            let mut wire = Wire::connect(proxy.place());
            let frames = wire.start(&[("user", "postgres")]);
            let expected = if tls == ClientTls::Allow { "" } else { "28000" };
            assert_eq!(sqlstate(&frames), expected);
            let mut wire = under_tls(&proxy, None).unwrap();
            wire.start(&[("user", "postgres")]);
            let long = "x".repeat(1 << 20);
            assert_eq!(wire.value(&format!("SELECT '{long}'")), long);
        }
        let proxy = Proxy::shared();
        let mut wire = Wire::connect(proxy.place());
        wire.send(&SSL_REQUEST);
        assert_eq!(wire.byte(), Some(b'N'));
        wire.start(&[("user", "postgres")]);
        wire.run("SELECT 1");
    });
}

#[test]
fn the_clients_own_certificate() {
    limited(|| {
        let (authority, stranger) = (authority(), authority());
        let start = |demand| {
            Proxy::start(shared(), |config, directory| {
                listen_with(config, directory, ClientTls::Require, &trusted().local);
                let ca = write(directory, "clients.crt", &authority.certificate);
                config.listen.client_ca = Some(ca);
                config.listen.client_certificate = demand;
            })
        };
        let ask = |proxy: &Proxy, certificate: Option<&Certificate>| {
            let own = certificate.map_or_else(
                || "sslcert=/nonexistent".to_owned(),
                |own| {
                    let chain = write(proxy.directory(), "own.crt", &own.chain);
                    let key = write(proxy.directory(), "own.key", &own.key);
                    format!("sslcert={} sslkey={}", chain.display(), key.display())
                },
            );
            let conninfo = conninfo(proxy, "postgres", &format!("sslmode=require {own}"));
            let said = psql(&conninfo, &["-c", "SELECT 7"], "");
            (said.status.success(), said.err)
        };
        for demand in [ClientCertificate::Optional, ClientCertificate::Required] {
            let proxy = start(demand);
            assert!(ask(&proxy, Some(&authority.local)).0);
            assert_eq!(ask(&proxy, None).0, demand == ClientCertificate::Optional);
            let (is_in, why) = ask(&proxy, Some(&stranger.local));
            assert!(!is_in && why.contains("alert"), "{why}");
        }
    });
}

#[test]
fn the_subject_of_the_clients_certificate_is_recorded() {
    limited(|| {
        let authority = authority();
        let proxy = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Allow, &trusted().local);
            let ca = write(directory, "clients.crt", &authority.certificate);
            config.listen.client_ca = Some(ca);
        });
        let chain = write(proxy.directory(), "own.crt", &authority.local.chain);
        let key = write(proxy.directory(), "own.key", &authority.local.key);
        let own = format!("sslcert={} sslkey={}", chain.display(), key.display());
        let none = "sslcert=/nonexistent".to_owned();
        let ways = [
            ("require", own, true),
            ("require", none.clone(), false),
            ("disable", none, false),
        ];
        for (mode, certificate, _) in &ways {
            let conninfo = conninfo(&proxy, "postgres", &format!("sslmode={mode} {certificate}"));
            psql(&conninfo, &["-c", "CREATE TEMPORARY TABLE t (a int)"], "").ok();
        }
        let events = proxy.events();
        assert_eq!(events.len(), ways.len(), "{events:?}");
        for (event, (_, _, has_subject)) in events.iter().zip(&ways) {
            let subject = event.get("tls_subject");
            assert_eq!(subject.is_some(), *has_subject, "{event}");
            let subject = subject.and_then(|subject| subject.as_str());
            assert!(subject.is_none_or(|name| name.contains("O=Shop's migrations")));
        }
    });
}

#[test]
fn direct_tls_needs_its_protocol_named() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().local);
        });
        let mut wire = under_tls(&proxy, Some(b"postgresql")).unwrap();
        wire.start(&[("user", "postgres")]);
        wire.run("SELECT 1");
        let refused = match under_tls(&proxy, Some(b"http/1.1")) {
            Err(_) => true,
            Ok(mut wire) => wire.start(&[("user", "postgres")]).is_empty(),
        };
        assert!(refused);
    });
}

#[test]
fn what_is_sent_in_the_clear_behind_a_request_for_tls_is_not_executed() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Allow, &trusted().local);
        });
        let table = format!("smuggled_{}", std::process::id());
        let smuggled = [
            startup(&[("user", "postgres"), ("database", "postgres")]),
            q(&format!("CREATE TABLE {table}(a int)")),
        ];
        let mut wire = Wire::connect(proxy.place());
        wire.send(&[SSL_REQUEST.to_vec(), smuggled.concat()].concat());
        assert_eq!(wire.byte(), Some(b'S'));
        while wire.byte().is_some() {}
        let count = format!("SELECT count(*) FROM pg_class WHERE relname = '{table}'");
        assert_eq!(value("postgres", &count), "0");
        assert_eq!(proxy.event_words(), [""; 0]);
    });
}

#[test]
fn requests_for_encryption_in_either_order_once_each() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Allow, &trusted().local);
        });
        let mut wire = Wire::connect(proxy.place());
        wire.send(&GSS_REQUEST);
        assert_eq!(wire.byte(), Some(b'N'));
        wire.start(&[("user", "postgres")]);
        wire.run("SELECT 1");
        for request in [SSL_REQUEST, GSS_REQUEST] {
            let mut wire = under_tls(&proxy, None).unwrap();
            wire.send(&request);
            assert_eq!(sqlstate(&wire.until_end()), "0A000", "no TLS within TLS");
        }
    });
}

const IS_TLS: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[test]
fn the_servers_leg() {
    limited(|| {
        let foreign = authority();
        let port = secure().port();
        for (tls, authority, host, expected) in [
            (ServerTls::Prefer, &foreign, "127.0.0.1", ""),
            (ServerTls::Require, &foreign, "127.0.0.1", ""),
            (ServerTls::VerifyCa, trusted(), "127.0.0.1", ""),
            (ServerTls::VerifyFull, trusted(), "127.0.0.1", ""),
            (ServerTls::VerifyFull, trusted(), "localhost", ""),
            (ServerTls::VerifyCa, &foreign, "127.0.0.1", "57P03"),
            (ServerTls::VerifyFull, &foreign, "127.0.0.1", "57P03"),
            (ServerTls::Disable, trusted(), "127.0.0.1", "28000"),
        ] {
            let proxy = Proxy::start(secure(), |config, directory| {
                connect_with(config, directory, tls, authority);
                config.upstream.address = format!("{host}:{port}");
            });
            let mut wire = Wire::connect(proxy.place());
            let frames = wire.start(&[("user", "guest"), ("database", "postgres")]);
            assert_eq!(sqlstate(&frames), expected, "{tls:?} {host}: {frames:?}");
            if expected.is_empty() {
                assert_eq!(column(&wire.query(IS_TLS)), ["t"], "{tls:?}");
            }
        }
    });
}

#[test]
fn the_servers_name_is_checked_where_it_should_be() {
    limited(|| {
        let server = start_server(|options| {
            options.tls = Some(Tls {
                certificate_pem: trusted().elsewhere.chain.clone(),
                key_pem: trusted().elsewhere.key.clone(),
            });
        });
        for (tls, expected) in [(ServerTls::VerifyCa, ""), (ServerTls::VerifyFull, "57P03")] {
            let proxy = Proxy::start(&server, |config, directory| {
                connect_with(config, directory, tls, trusted());
            });
            let frames = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
            assert_eq!(sqlstate(&frames), expected, "{tls:?}: {frames:?}");
        }
    });
}

#[test]
fn a_server_without_tls() {
    limited(|| {
        for (tls, expected) in [(ServerTls::Prefer, ""), (ServerTls::Require, "57P03")] {
            let proxy = Proxy::start(shared(), |config, _| config.upstream.tls = tls);
            let frames = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
            assert_eq!(sqlstate(&frames), expected, "{tls:?}: {frames:?}");
        }
    });
}

#[test]
fn scram_with_channel_binding_through_both_legs() {
    limited(|| {
        let ask = |proxy: &Proxy, more: &str| {
            let conninfo = conninfo(proxy, "postgres", more);
            psql(&conninfo, &["-c", IS_TLS], "")
        };
        let same = Proxy::start(secure(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().local);
            connect_with(config, directory, ServerTls::VerifyFull, trusted());
        });
        for binding in ["require", "prefer", "disable"] {
            let more = format!("sslmode=require channel_binding={binding}");
            assert_eq!(ask(&same, &more).ok(), "t", "{binding}");
        }
        let other = Proxy::start(secure(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().other);
            connect_with(config, directory, ServerTls::VerifyFull, trusted());
        });
        // Whoever stands between with another certificate is noticed: that is what channel binding is for.
        assert!(
            !ask(&other, "sslmode=require channel_binding=require")
                .status
                .success()
        );
        assert_eq!(
            ask(&other, "sslmode=require channel_binding=disable").ok(),
            "t"
        );
        let plain_server = Proxy::start(secure(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().other);
        });
        assert_eq!(ask(&plain_server, "sslmode=require").ok(), "f");
    });
}

#[test]
fn a_cancel_request_under_tls() {
    limited(|| {
        let proxy = Proxy::start(secure(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().local);
            connect_with(config, directory, ServerTls::VerifyFull, trusted());
        });
        let mut wire = under_tls(&proxy, None).unwrap();
        wire.start(&[("user", "guest"), ("database", "postgres")]);
        wire.send(&q("SELECT 'started'; SELECT pg_sleep(600)"));
        let socket = Place::Unix(secure().socket_directory().to_owned(), secure().port());
        let mut admin = Wire::session(&socket, "postgres");
        let sql = format!(
            "SELECT coalesce(max(wait_event), '') FROM pg_stat_activity WHERE pid = {}",
            wire.pid()
        );
        crate::harness::eventually("it sleeps", || admin.value(&sql) == "PgSleep");
        let mut cancel = under_tls(&proxy, None).unwrap();
        cancel.send(&cancel_request(&wire.key));
        assert_eq!(cancel.until_end(), []);
        let frames = wire.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{}", tags(&frames));
    });
}

#[test]
fn schema_changes_under_tls_are_guarded_too() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().local);
            config.auth.allow_trust = true;
        });
        let database = crate::harness::database();
        let more = "sslmode=require";
        let conninfo = conninfo(&proxy, "postgres", more)
            .replace("dbname=postgres", &format!("dbname={database}"));
        psql(&conninfo, &["-c", "CREATE TABLE t(a int)"], "").ok();
        let log = proxy.directory().join("audit.jsonl");
        crate::harness::eventually("the event is written", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("CREATE TABLE t(a int)"))
        });
        assert_eq!(value("postgres", "SELECT 1"), "1");
        assert_eq!(
            Wire::session(&place(shared()), &database).value("SELECT count(*) FROM t"),
            "0"
        );
    });
}
