//! An ordinary HTTP/2 client: one connection, many requests at once.
use super::{Answer, Client, get};
use crate::body::Script;
use crate::wait::within;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// What a connection lets the server send that has not been read yet, in bytes.
const WINDOW: u32 = 1 << 20;
/// The same for a stream of a client that is going to stop reading one.
const SMALL: u32 = 1000;

/// A connection. Clones share it; dropping what a request returned, or the future of it, resets its stream.
#[derive(Debug, Clone)]
pub struct Http2 {
    sender: http2::SendRequest<Script>,
    /// Scheme and authority.
    base: String,
    /// Whether the connection has ended.
    ended: watch::Receiver<bool>,
}

impl Http2 {
    /// Connects by prior knowledge.
    pub async fn connect(client: Client) -> Self {
        Self::plain(client, WINDOW).await
    }

    /// The same with small windows for each stream, and a large one for all: a stream whose answer is not read is felt
    /// soon, and does not hold up the others.
    pub async fn connect_small(client: Client) -> Self {
        Self::plain(client, SMALL).await
    }

    async fn plain(client: Client, window: u32) -> Self {
        let stream = client.connect().await.expect("the server accepts");
        Self::over(stream, format!("http://{}", client.server()), window).await
    }

    /// Connects over TLS and trusts who is certified by `roots`, in PEM.
    ///
    /// # Panics
    /// If the server speaks something else than HTTP/2.
    pub async fn connect_tls(client: Client, roots: &[u8]) -> Self {
        let stream = handshake(client, roots, &[b"h2", b"http/1.1"]).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 was offered");
        Self::over(stream, format!("https://{}", client.server()), WINDOW).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        base: String,
        window: u32,
    ) -> Self {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(WINDOW);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("a socket");
        let (end, ended) = watch::channel(false);
        tokio::spawn(async move {
            // Its errors come back from the requests.
            let _ = connection.await;
            end.send_replace(true);
        });
        Self { sender, base, ended }
    }

    /// GETs `target`. Panics if that fails.
    pub async fn get(&self, target: &str) -> Answer {
        self.answer(get(target)).await
    }

    /// Sends a request and reads the whole answer. Panics if either fails.
    pub async fn answer(&self, request: Request<Script>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        let response = self.send(request).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        Answer::read(response).await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends a request, to this server if it names none; the answer's body is still to be read.
    ///
    /// # Errors
    /// hyper's: the stream was reset, or the connection closed.
    pub async fn send(&self, request: Request<Script>) -> hyper::Result<Response<Incoming>> {
        let (mut head, body) = request.into_parts();
        if head.uri.authority().is_none() {
            head.uri = format!("{}{}", self.base, head.uri).parse().expect("a target");
        }
        let mut sender = self.sender.clone();
        within("an answer", async {
            sender.ready().await?;
            sender.send_request(Request::from_parts(head, body)).await
        })
        .await
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits until the connection has ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        within("the end of a connection", ended.wait_for(|ended| *ended)).await.expect("it is told");
    }
}

/// A TLS connection to who is certified by `roots`, in PEM, with these protocols offered.
///
/// # Errors
/// The socket's, or what TLS says.
pub async fn handshake(client: Client, roots: &[u8], alpn: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
    let mut trusted = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots) {
        trusted.add(root.expect("a certificate")).expect("a root");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::from(client.server().ip());
    let connector = TlsConnector::from(Arc::new(config));
    within("a TLS handshake", connector.connect(name, client.connect().await?)).await
}
