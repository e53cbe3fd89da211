//! HTTPS on loopback: whose certificate is trusted, whose is not, and what was sent by then.
//!
//! The certificates are of an authority of our own (`tls/`), good for a hundred years and for `localhost` and 127.0.0.1.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sam_cloud::http::{Answer, Call, Client, Failure, Method};
use sam_cloud::{Secret, Settings};

use crate::http::{proxy, settings};

const AUTHORITY: &str = include_str!("tls/authority.pem");

/// Serves HTTPS at an address, and answers each request unless it is for `/lost`. Returns the port.
fn serve(address: [u8; 4]) -> u16 {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key"));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("PEM")], key.expect("PEM"))
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind((IpAddr::from(address), 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            // A client that does not trust us leaves during the handshake.
            exchange(StreamOwned::new(connection, stream)).unwrap_or(());
        }
    });
    port
}

fn exchange(mut stream: StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"GET /lost") {
        return Ok(());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn get(settings: &Settings, url: &str) -> Result<Answer, Failure> {
    let call = Call::new(Method::Get, url, Duration::from_secs(5));
    Client::new(settings).map_or_else(|error| panic!("{error}"), |mut client| client.send(&call))
}

fn trusting() -> Settings {
    let mut settings = settings();
    settings.egress.roots = Some(AUTHORITY.to_owned());
    settings
}

#[test]
fn a_trusted_certificate_of_the_right_name_is_needed() {
    let port = serve([127, 0, 0, 1]);
    let url = format!("https://localhost:{port}/");
    let answer = get(&trusting(), &url).expect("an answer");
    assert_eq!(answer.body, b"hello");
    let untrusted = get(&settings(), &url).expect_err("not on Mozilla's list");
    assert!(
        !untrusted.sent && untrusted.reason.contains("certificate"),
        "{untrusted:?}"
    );

    let port = serve([127, 0, 0, 2]);
    let other = get(&trusting(), &format!("https://127.0.0.2:{port}/"));
    let other = other.expect_err("another name");
    assert!(
        !other.sent && other.reason.contains("certificate"),
        "{other:?}"
    );
}

#[test]
fn behind_tls_a_lost_answer_was_sent() {
    let port = serve([127, 0, 0, 1]);
    let lost = get(&trusting(), &format!("https://localhost:{port}/lost"));
    assert!(lost.expect_err("no answer").sent);
}

#[test]
fn tls_goes_through_a_proxy_to_its_end() {
    let port = serve([127, 0, 0, 1]);
    let proxy = proxy();
    let mut settings = trusting();
    settings.egress.proxy = Some(Secret::new(proxy.url()));
    let answer = get(&settings, &format!("https://localhost:{port}/")).expect("an answer");
    assert_eq!(answer.body, b"hello");
    let (_, head) = proxy.requests.recv().expect("a request to the proxy");
    assert!(
        head.starts_with(&format!("CONNECT localhost:{port} ")),
        "{head}"
    );
    let lost = get(&settings, &format!("https://localhost:{port}/lost"));
    assert!(lost.expect_err("no answer").sent);

    settings.egress.roots = None;
    let untrusted = get(&settings, &format!("https://localhost:{port}/"));
    assert!(
        !untrusted.expect_err("not trusted").sent,
        "only the proxy was spoken to"
    );
}
