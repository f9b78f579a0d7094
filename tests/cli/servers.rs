//! Servers that are no API server, each in its own way. They end with the test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, Stream,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value;

fn listen(scheme: &str, serve: impl Fn(TcpStream) + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    format!("{scheme}://{address}")
}

/// Takes connections and never says a word.
pub fn silent(scheme: &str) -> String {
    listen(scheme, read_on)
}

/// Answers whatever it is told with a line that is no TLS.
pub fn babbling() -> String {
    listen("https", |mut stream| {
        let _gone = stream.write_all(b"220 mail.example.org ESMTP, and good morning\r\n");
        read_on(stream);
    })
}

/// Shakes hands with a certificate of its own, and never answers a request.
pub fn with_certificate() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    listen("https", move |mut stream| {
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        read_on(Stream::new(&mut connection, &mut stream));
    })
}

/// Answers every request as the API server answers whom it does not know, or who may not do what was asked.
pub fn refusing(code: u16, reason: &'static str, message: &'static str) -> String {
    listen("http", move |mut stream| {
        let body = format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
        );
        let head = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut heard = [0; 4096];
        // None of these requests has a body or is longer than this.
        while stream.read(&mut heard).is_ok_and(|count| count > 0) {
            if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                break;
            }
        }
    })
}

fn read_on(mut stream: impl Read) {
    let mut heard = [0; 1024];
    while stream.read(&mut heard).is_ok_and(|count| count > 0) {}
}

/// An API server of few words: answers each request, by method, path and query, and what was sent, with a status and JSON.
pub fn answering(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Clone + 'static) -> String {
    listen("http", move |stream| {
        let mut heard = BufReader::new(stream);
        loop {
            let (mut first, mut length) = (String::new(), 0);
            if heard.read_line(&mut first).unwrap_or(0) == 0 {
                return;
            }
            let mut line = String::new();
            while heard.read_line(&mut line).is_ok_and(|count| count > 2) {
                let lower = line.to_lowercase();
                length = lower.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
                line.clear();
            }
            let mut sent = vec![0; length];
            heard.read_exact(&mut sent).unwrap();
            let request = first.rsplit_once(' ').map_or("", |(request, _)| request);
            let (code, body) = answer(request, &serde_json::from_slice(&sent).unwrap_or(Value::Null));
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            if heard.get_mut().write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
        }
    })
}
