//! Certificates for a listener, and clients that ask no questions about them.

use crate::SLUICEGATE;
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::process::{Sluicegate, run};
use sluicegate_testkit::upstream::Upstream;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

/// Starts the gateway with TLS.
pub(super) async fn serve(upstream: &Upstream, args: &[&str]) -> Sluicegate {
    let (certificate, key) = pair().await;
    let (listen, admin) = (Reserved::new(), Reserved::new());
    let (url, at, admin_at) = (upstream.url(), listen.addr().to_string(), admin.addr().to_string());
    let mut all = vec!["serve", "--upstream", &url, "--listen", &at, "--admin", &admin_at];
    all.extend(["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    all.extend(args);
    Sluicegate::start_mute(SLUICEGATE, &all, listen.addr(), admin.addr()).await
}

/// A certificate of its own making and its key, in files.
async fn pair() -> &'static (PathBuf, PathBuf) {
    static PAIR: OnceCell<(PathBuf, PathBuf)> = OnceCell::const_new();
    PAIR.get_or_init(|| async {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (certificate, key) = (folder.join("hostile-cert.pem"), folder.join("hostile-key.pem"));
        let (to, with) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let ended =
            run("openssl", &[&args[..], &["-subj", "/CN=a", "-keyout", with, "-out", to]].concat()).await;
        assert_eq!(ended.code, Some(0), "openssl: {}", ended.stderr);
        (certificate, key)
    })
    .await
}

/// Any certificate is right.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client's TLS, HTTP/1.1 only.
pub(super) fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let any = Arc::new(Any(provider));
    Arc::new(builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth())
}

/// A TLS session over this socket.
pub(super) async fn connect(socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config()).connect(ServerName::try_from("a").unwrap(), socket).await
}

/// The first flight of a client: its `ClientHello`, in its record.
pub(super) fn hello() -> Vec<u8> {
    let mut client = rustls::ClientConnection::new(config(), ServerName::try_from("a").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
