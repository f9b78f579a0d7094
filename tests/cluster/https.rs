//! HTTPS servers of this process, which pods and the API server of a cluster reach that runs on this machine.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

use crate::world::World;

/// What is asked, without a body.
pub struct Request {
    /// The path, with the query behind it.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// What a header says; the case of its name does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// A status, and a body of JSON.
pub type Answer = (u16, String);

/// Serves until this process ends, and gives the port. Certificate and key are files of `tests`.
pub fn serve<A>(world: &World, certificate: &str, key: &str, answer: A) -> u16
where
    A: Fn(&Request) -> Answer + Clone + Send + 'static,
{
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let certificate = CertificateDer::from_pem_file(folder.join(certificate)).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(key)).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind(SocketAddr::new(world.host().unwrap(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let answer = answer.clone();
            thread::spawn(move || speak(&mut BufReader::new(StreamOwned::new(connection, stream)), &answer));
        }
    });
    port
}

/// One request after the other, none of which has a body.
fn speak<S: Read + Write>(stream: &mut BufReader<S>, answer: &impl Fn(&Request) -> Answer) {
    loop {
        let (mut first, mut line, mut headers) = (String::new(), String::new(), Vec::new());
        if stream.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
            let (name, value) = line.split_once(':').unwrap_or_default();
            headers.push((name.to_owned(), value.trim().to_owned()));
            line.clear();
        }
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let (code, body) = answer(&Request { target, headers });
        let head =
            format!("HTTP/1.1 {code} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        let written =
            stream.get_mut().write_all(format!("{head}{body}").as_bytes()).and_then(|()| stream.get_mut().flush());
        if written.is_err() {
            return;
        }
    }
}

/// A Service of this name, at a port of this machine: what reaches it at 443 reaches that.
pub fn service(world: &World, namespace: &str, name: &str, port: u16) -> [Value; 2] {
    let metadata = json!({"name": name, "namespace": namespace});
    let of_it = json!({"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}});
    let address = world.host().unwrap();
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"ports": [{"port": 443, "targetPort": port}]}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": of_it, "endpoints": [{"addresses": [address]}], "ports": [{"port": port}]}),
    ]
}
