//! libpq's `sslmode` by rustls: which certificates are trusted, and which names.

use crate::PostgresError;
use pgassay_model::connection::{ConnectionSettings, Host, SslMode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The TLS configuration that `sslmode` and `sslrootcert` ask for (manual, section 34.19.1): `prefer` and
/// `require` encrypt without checking, unless for `require` a root certificate file is there; `verify-ca`
/// checks the chain; `verify-full` checks the host name too.
pub fn client_config(settings: &ConnectionSettings) -> Result<Arc<ClientConfig>, PostgresError> {
    let failed =
        |message: String| PostgresError::TlsFailed { server: settings.to_string(), message };
    let provider = Arc::new(ring::default_provider());
    let root_file = root_file(settings);
    let (trust, name) = match settings.ssl_mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => (None, false),
        SslMode::Require if root_file.is_none() => (None, false),
        SslMode::Require | SslMode::VerifyCa => {
            (Some(trusted(root_file.as_deref()).map_err(failed)?), false)
        }
        SslMode::VerifyFull => (Some(trusted(root_file.as_deref()).map_err(failed)?), true),
    };
    let verifier = Verifier { trust, name, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The name that the server's certificate has to carry, sent as SNI unless it is an address.
pub fn server_name(settings: &ConnectionSettings) -> Result<ServerName<'static>, PostgresError> {
    let host = match &settings.host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(_) => "localhost".to_owned(),
    };
    ServerName::try_from(host).map_err(|error| PostgresError::TlsFailed {
        server: settings.to_string(),
        message: format!("the host name cannot stand in a certificate: {error}"),
    })
}

/// `sslrootcert`, else `~/.postgresql/root.crt` where it exists; `system` means the system's certificates.
fn root_file(settings: &ConnectionSettings) -> Option<PathBuf> {
    match &settings.ssl_root_cert {
        Some(file) => Some(file.clone()),
        None => std::env::var_os("HOME")
            .map(|home| Path::new(&home).join(".postgresql/root.crt"))
            .filter(|file| file.is_file()),
    }
}

/// Certificates that are trusted.
#[derive(Debug)]
struct Trust {
    roots: RootCertStore,
    /// The same as given: OpenSSL accepts a server certificate that is itself in the root file, also where
    /// it is marked as an authority's, which webpki refuses.
    given: Vec<CertificateDer<'static>>,
}

fn trusted(file: Option<&Path>) -> Result<Trust, String> {
    let given = match file.filter(|file| *file != Path::new("system")) {
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
            .map_err(|error| format!("root certificate file {}: {error}", file.display()))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(given.iter().cloned());
    if roots.is_empty() {
        return Err(match file {
            Some(file) => format!("{} holds no root certificate", file.display()),
            None => "the system has no root certificates".to_owned(),
        });
    }
    Ok(Trust { roots, given })
}

/// Checks as much as `sslmode` asks for. Signatures of the handshake are always checked, so that the peer
/// holds the key of the certificate that it shows.
#[derive(Debug)]
struct Verifier {
    /// None: any certificate.
    trust: Option<Trust>,
    /// Whether the host name is checked.
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !trust.given.iter().any(|given| given == end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &trust.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
