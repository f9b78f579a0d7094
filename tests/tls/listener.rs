//! A listener such as an API server has: TLS, and the version of HTTP that both sides speak. It is shown the certificate of
//! this folder, which is for 127.0.0.1.

use std::{io, net::SocketAddr, sync::Arc};

use axum::serve::Listener;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Who signed the certificate.
pub const AUTHORITY: &[u8] = include_bytes!("authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("server.pem");
const KEY: &[u8] = include_bytes!("server.key");

/// What the API server offers, and in this order.
pub const BOTH: &[&str] = &["h2", "http/1.1"];

pub struct Encrypted {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Encrypted {
    /// Offers these versions of HTTP, in words of ALPN.
    pub fn new(tcp: TcpListener, versions: &[&str]) -> Self {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
        let mut config = builder.with_single_cert(vec![certificate], key).expect("they belong together");
        config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
        Self { tcp, tls: TlsAcceptor::from(Arc::new(config)) }
    }
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.tcp).await;
            // As Go does, in which API servers are written.
            stream.set_nodelay(true).expect("it is TCP");
            // Who went away before this was done wants no answer.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
