//! What a listener shows of itself: certificates and keys from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
pub use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::{self, crypto};

use crate::config::settings::TlsSettings;
use crate::config::{Settings, SettingsError};

/// HTTP/2, as clients ask for it in the handshake (RFC 9113, section 3.2).
pub const HTTP_2: &[u8] = b"h2";

/// Why TLS can't be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read as what it should be.
    #[error("{file}: expected {expected} in PEM: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// There is no certificate in a file.
    #[error("{file}: expected at least one certificate in PEM, and there is none")]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// The key does not go with the certificate, or is of a kind that is not known.
    #[error("{key} does not go with {certificate}: {source}")]
    Pair {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// All that is wrong with the files that settings name, as settings.
#[must_use]
pub fn mistakes(settings: &Settings) -> Vec<SettingsError> {
    let listeners = settings.listeners.iter().enumerate();
    let of_tls = listeners.filter_map(|(at, listener)| Some((at, listener.tls.as_ref()?)));
    of_tls.filter_map(|(at, tls)| Some(load(tls).err()?.of(at, tls))).collect()
}

impl TlsError {
    /// As what is wrong with a setting of the listener at this place.
    fn of(&self, at: usize, tls: &TlsSettings) -> SettingsError {
        let (certificate, key) = (tls.certificate.display(), tls.key.display());
        let setting = |name: &str| format!("listener.{at}.tls.{name}");
        match self {
            Self::File { file, expected, source } => {
                let name = if *file == tls.certificate { "certificate" } else { "key" };
                let expected = format!("a file with {expected} in PEM ({source})");
                SettingsError::new(setting(name), file.display(), expected)
            }
            Self::NoCertificate { .. } => {
                let expected = "a file with at least one certificate in PEM, and there is none in it";
                SettingsError::new(setting("certificate"), certificate, expected)
            }
            Self::Pair { source, .. } => {
                SettingsError::new(setting("key"), key, format!("the key of {certificate} ({source})"))
            }
        }
    }
}

/// Reads a certificate chain and its key. HTTP/2 is offered before HTTP/1.1.
///
/// # Errors
/// Naming the file, and what would be right.
pub fn load(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let file = |file: &Path, expected| {
        let file = file.to_owned();
        move |source| TlsError::File { file, expected, source }
    };
    let certificates = CertificateDer::pem_file_iter(&settings.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(file(&settings.certificate, "certificates"))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { file: settings.certificate.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(file(&settings.key, "a private key"))?;
    let pair = |source| TlsError::Pair {
        certificate: settings.certificate.clone(),
        key: settings.key.clone(),
        source,
    };
    // Named, so that it does not depend on what else in the process has set.
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
