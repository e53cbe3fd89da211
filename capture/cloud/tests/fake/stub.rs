//! Servers of a few lines, for what the fake cloud is too well-behaved for.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// A server on a loopback port: it reads the head of each request and lets `answer` do the rest.
pub(crate) struct Stub {
    pub(crate) port: u16,
    /// Who called, and the head of the request.
    pub(crate) requests: Receiver<(IpAddr, String)>,
}

impl Stub {
    pub(crate) fn serve(answer: impl Fn(&str, TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (tell, requests) = sync_channel(1024);
        thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                let head = head(&mut stream);
                skip_body(&head, &mut stream);
                if tell.send((peer.ip(), head.clone())).is_err() {
                    return;
                }
                answer(&head, stream);
            }
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads the body away: a connection that is closed with something unread is reset, and the answer lost.
fn skip_body(head: &str, stream: &mut TcpStream) {
    let mut lines = head.lines().map(str::to_lowercase);
    let length = lines.find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).expect("the whole body");
}

/// Answers with a status and a body.
pub(crate) fn respond(mut stream: TcpStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    // Who does not want the whole answer closes the connection.
    stream.write_all(text.as_bytes()).unwrap_or(());
}
