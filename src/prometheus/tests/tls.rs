//! Credentials, authorities and redirects, over the wire. The certificates are those of `tests/tls`: an authority whose
//! key is gone, and what it signed for 127.0.0.1, valid and not any more, and for a client. What a certificate that is not
//! believed is told as, the scaler's remedies know it by.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rstest::rstest;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::prometheus::{Access, Client, Direct, Error};

const AUTHORITY: &[u8] = include_bytes!("../../../tests/tls/authority.pem");
const OTHER_AUTHORITY: &[u8] = include_bytes!("../../../tests/cli/other-authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/tls/server.pem");
const EXPIRED: &[u8] = include_bytes!("../../../tests/tls/expired.pem");
const KEY: &[u8] = include_bytes!("../../../tests/tls/server.key");
const CLIENT: &[u8] = include_bytes!("../../../tests/tls/client.pem");
const CLIENT_KEY: &[u8] = include_bytes!("../../../tests/tls/client.key");
const LIMIT: Duration = Duration::from_secs(5);

/// What a server was asked, as it came over the wire.
type Asked = Arc<Mutex<Vec<String>>>;

/// A server that answers whatever it is asked with this. It ends with the test.
fn serve(tls: Option<Arc<ServerConfig>>, answer: String) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let asked = Asked::default();
    let log = asked.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            match &tls {
                Some(config) => {
                    let connection = ServerConnection::new(config.clone()).expect("a configuration");
                    respond(StreamOwned::new(connection, stream), &answer, &log);
                }
                None => respond(&mut stream, &answer, &log),
            }
        }
    });
    (format!("{scheme}://{address}"), asked)
}

fn respond(mut stream: impl Read + Write, answer: &str, log: &Asked) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(length) if length > 0 => request.extend_from_slice(&part[..length]),
            // A handshake that failed, or somebody who only looks whether anybody listens.
            _ => return,
        }
    }
    log.lock().expect("a lock").push(String::from_utf8_lossy(&request).to_lowercase());
    let _gone = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
}

fn value() -> String {
    let body = r#"{"status":"success","data":{"resultType":"scalar","result":[0,"25"]}}"#;
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// TLS with our certificate; asks for a client's where it is to be `known`.
fn tls(known: bool) -> Arc<ServerConfig> {
    tls_with(CERTIFICATE, known)
}

fn tls_with(certificate: &[u8], known: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = if known {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(AUTHORITY).expect("a certificate")).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let certificate = CertificateDer::from_pem_slice(certificate).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    Arc::new(builder.with_single_cert(vec![certificate], key).expect("they belong together"))
}

async fn ask(base: &str, access: &Access) -> Result<f64, Error> {
    let _ = ring::default_provider().install_default();
    let client = Client::new(Direct::new(base, access).expect("a transport"), LIMIT);
    client.query("1").await.map(|samples| samples[0].value)
}

fn believes(authorities: &[u8]) -> Access {
    Access { authorities: Some(authorities.to_vec()), ..Access::default() }
}

#[tokio::test]
async fn a_certificate_is_believed_if_its_authority_was_given() {
    let (base, _) = serve(Some(tls(false)), value());
    assert_eq!(ask(&base, &believes(AUTHORITY)).await, Ok(25.0));
}

/// The machine's own authorities are not asked, and a name has to be the one that was signed.
#[rstest]
#[case::of_another_authority(believes(OTHER_AUTHORITY), "127.0.0.1", "UnknownIssuer")]
#[case::of_nobody(Access::default(), "127.0.0.1", "UnknownIssuer")]
#[case::of_another_name(believes(AUTHORITY), "localhost", "not valid for name")]
#[tokio::test]
async fn a_certificate_that_is_not_believed_is_told_and_nothing_is_shown_to_it(
    #[case] access: Access,
    #[case] host: &str,
    #[case] expected: &str,
) {
    let (base, asked) = serve(Some(tls(false)), value());
    let access = Access { bearer_token: Some("secret".to_owned()), ..access };
    let error = ask(&base.replace("127.0.0.1", host), &access).await.expect_err("it is not believed");
    assert_eq!(error.reason(), "PrometheusUnreachable");
    let told = error.to_string();
    assert!(told.contains(expected) && told.contains("invalid peer certificate"), "{told}");
    assert_eq!(*asked.lock().expect("a lock"), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_told_and_nothing_is_shown_to_it() {
    let (base, asked) = serve(Some(tls_with(EXPIRED, false)), value());
    let access = Access { bearer_token: Some("secret".to_owned()), ..believes(AUTHORITY) };
    let error = ask(&base, &access).await.expect_err("it has expired");
    assert_eq!(error.reason(), "PrometheusUnreachable");
    assert!(error.to_string().contains("invalid peer certificate: certificate expired"), "{error}");
    assert_eq!(*asked.lock().expect("a lock"), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_wants_to_know_its_clients_knows_us_by_our_certificate() {
    let (base, asked) = serve(Some(tls(true)), value());
    let error = ask(&base, &believes(AUTHORITY)).await.expect_err("we have shown none");
    assert_eq!(error.reason(), "PrometheusUnreachable");
    assert!(error.to_string().contains("received fatal alert: CertificateRequired"), "{error}");
    assert_eq!(asked.lock().expect("a lock").len(), 0);
    let identity = Some([CLIENT, b"\n", CLIENT_KEY].concat());
    assert_eq!(ask(&base, &Access { identity, ..believes(AUTHORITY) }).await, Ok(25.0));
}

#[rstest]
#[case::bearer(Access { bearer_token: Some("abc\n".to_owned()), ..Access::default() }, "authorization: bearer abc\r\n")]
// `u:p w` in base64, in lower case as everything here.
#[case::basic(Access { basic: Some(("u".to_owned(), "p w".to_owned())), ..Access::default() }, "authorization: basic dtpwihc=\r\n")]
#[case::header(Access { headers: vec![("X-Scope-OrgID".to_owned(), "shop".to_owned())], ..Access::default() }, "x-scope-orgid: shop\r\n")]
#[tokio::test]
async fn what_a_server_wants_to_see_is_shown_to_it(#[case] access: Access, #[case] expected: &str) {
    let (base, asked) = serve(Some(tls(false)), value());
    let access = Access { authorities: Some(AUTHORITY.to_vec()), ..access };
    assert_eq!(ask(&base, &access).await, Ok(25.0));
    let asked = asked.lock().expect("a lock");
    assert!(asked[0].contains(expected), "{asked:?}");
}

#[rstest]
#[case::moved(302)]
#[case::moved_for_good(308)]
#[tokio::test]
async fn a_redirect_is_told_and_not_followed(#[case] status: u16) {
    let (elsewhere, asked_elsewhere) = serve(None, value());
    let moved = format!(
        "HTTP/1.1 {status} Moved\r\nlocation: {elsewhere}/api/v1/query\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let (base, asked) = serve(None, moved);
    let access = Access { bearer_token: Some("secret".to_owned()), ..Access::default() };
    let error = ask(&base, &access).await.expect_err("it is not the answer");
    assert_eq!(error.reason(), "NotPrometheus");
    assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
    assert_eq!((asked.lock().expect("a lock").len(), asked_elsewhere.lock().expect("a lock").len()), (1, 0));
}
