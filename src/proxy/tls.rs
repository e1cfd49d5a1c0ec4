//! TLS towards clients and towards the server.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::parse_x509_certificate;

use crate::config::{ClientCertificate, ClientTls, Listen, ServerTls, Upstream};
use crate::sql::name::{clip, one_line};

/// The ALPN protocol of PostgreSQL 17's direct TLS.
pub const ALPN: &[u8] = b"postgresql";

/// TLS settings that can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The library refuses them.
    #[error(transparent)]
    Rustls(#[from] RustlsError),
    /// Verification needs authorities.
    #[error("no certificate authority is known: set upstream.ca to a PEM file")]
    NoAuthorities,
}

fn file_error(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        why: why.to_string(),
    }
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// [`TlsError::File`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = File::open(path).map_err(|error| file_error(path, error))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(BufReader::new(file)).collect();
    let certificates = read.map_err(|error| file_error(path, error))?;
    if certificates.is_empty() {
        Err(file_error(path, "holds no PEM certificate"))
    } else {
        Ok(certificates)
    }
}

/// The subject of a certificate as text (`O=…, CN=…`), on one line, at most 1 KiB; `None` when it can't be
/// read.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    const LONGEST: usize = 1024;
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let subject = one_line(&certificate.subject().to_string());
    Some(clip(&subject, LONGEST).to_owned())
}

/// What TLS on the legs means for clients that use SCRAM, where it means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BothLegs {
    /// On the server leg only.
    #[error(
        "TLS on the server leg only: clients can't use channel binding (channel_binding=require is refused)"
    )]
    ServerOnly,
    /// On the client leg only.
    #[error(
        "TLS on the client leg only: clients can't use channel binding (channel_binding=require is refused)"
    )]
    ClientOnly,
    /// On both.
    #[error(
        "TLS on both legs: a client that uses SCRAM gets in only if listen.certificate is the server's own \
         certificate, or with channel_binding=disable; else the server says \"SCRAM channel binding check failed\""
    )]
    Tls,
}

impl BothLegs {
    /// `None` when neither leg has TLS.
    pub fn of(client_tls: bool, server_tls: bool) -> Option<BothLegs> {
        match (client_tls, server_tls) {
            (false, false) => None,
            (false, true) => Some(BothLegs::ServerOnly),
            (true, false) => Some(BothLegs::ClientOnly),
            (true, true) => Some(BothLegs::Tls),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What accepts TLS from clients, with the certificate that it shows.
#[derive(Clone)]
pub struct ClientAcceptor {
    /// Accepts.
    pub acceptor: TlsAcceptor,
    /// lockkeeper's own certificate.
    pub certificate: CertificateDer<'static>,
}

/// What accepts TLS from clients; `None` when it is disabled.
///
/// # Errors
/// [`TlsError`].
pub fn acceptor(listen: &Listen) -> Result<Option<ClientAcceptor>, TlsError> {
    let (Some(certificate), Some(key)) = (&listen.certificate, &listen.key) else {
        return Ok(None);
    };
    if listen.tls == ClientTls::Disable {
        return Ok(None);
    }
    let chain = certificates(certificate)?;
    let own = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, error))?;
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match &listen.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(
                Arc::new(authorities(path)?),
                provider(),
            );
            let verifier = match listen.client_certificate {
                ClientCertificate::Optional => verifier.allow_unauthenticated(),
                ClientCertificate::Required => verifier,
            };
            builder.with_client_cert_verifier(
                verifier.build().map_err(|error| file_error(path, error))?,
            )
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| file_error(certificate, error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(ClientAcceptor {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        certificate: own,
    }))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| file_error(path, error))?;
    }
    Ok(roots)
}

/// What speaks TLS to the server, and under which name it knows it.
#[derive(Clone)]
pub struct ServerConnector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for ServerConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConnector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ServerConnector {
    /// From the settings; `None` when TLS is disabled.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(
        upstream: &Upstream,
        host: Option<&str>,
    ) -> Result<Option<ServerConnector>, TlsError> {
        let Some(host) = host else { return Ok(None) };
        let verifier: Arc<dyn ServerCertVerifier> = match upstream.tls {
            ServerTls::Disable => return Ok(None),
            ServerTls::Prefer | ServerTls::Require => Arc::new(AnyCertificate {
                provider: provider(),
            }),
            ServerTls::VerifyFull => web_pki(upstream)?,
            ServerTls::VerifyCa => Arc::new(AnyName {
                inner: web_pki(upstream)?,
            }),
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| TlsError::File {
            path: format!("upstream.address {host}"),
            why: error.to_string(),
        })?;
        Ok(Some(ServerConnector {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        }))
    }

    /// Performs the handshake.
    ///
    /// # Errors
    /// What the handshake says.
    pub async fn connect(&self, raw: super::leg::Raw) -> io::Result<super::leg::Stream> {
        let stream = self.connector.connect(self.name.clone(), raw).await?;
        Ok(super::leg::Stream::Connected(Box::new(stream)))
    }
}

fn web_pki(upstream: &Upstream) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let roots = match &upstream.ca {
        Some(path) => authorities(path)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| TlsError::Rustls(RustlsError::General(error.to_string())))
}

/// libpq's `sslmode=prefer` and `require`: the certificate isn't checked.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

/// libpq's `verify-ca`: the signature is checked, the name isn't.
#[derive(Debug)]
struct AnyName {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(RustlsError::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
