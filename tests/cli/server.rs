//! A router made of files: answers HTTP on a unix socket from `tests/cli/views/`.
//!
//! One thread, one request per connection, as much HTTP as the client speaks. It records what it was asked.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::run::folder;

/// A listening router; it lives as long as the test process.
pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a router; `name` is the test's.
    pub(crate) fn start(name: &str) -> Self {
        // The path of a socket is short, the build folder's may not be.
        let folder = std::env::temp_dir().join(format!("samctl-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("creatable");
        let socket = folder.join("s");
        let listener = UnixListener::bind(&socket).expect("bindable");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("accepted"), &log);
            }
        });
        Self { socket, asked }
    }

    /// Returns the socket as an argument.
    pub(crate) fn socket(&self) -> &str {
        self.socket.to_str().expect("UTF-8")
    }

    /// Returns the requests so far: method, target and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(folder) = self.socket.parent() {
            drop(fs::remove_dir_all(folder));
        }
    }
}

/// Answers one request, and records it before, because who has the answer may look.
fn answer(mut stream: UnixStream, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("clonable"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("readable");
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("readable");
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("readable");
    let body = String::from_utf8(body).expect("UTF-8");
    let target = line.split(' ').nth(1).expect("a target").to_owned();
    let method = line.split(' ').next().unwrap_or_default();
    let request = format!("{method} {target} {body}").trim_end().to_owned();
    log.lock().expect("not poisoned").push(request);
    let (status, content) = content(&target, &body);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    // A client that refuses an answer may have gone.
    drop(
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&content)),
    );
}

/// Paths of orders that are questions when nothing is said with them.
fn is_order(target: &str) -> bool {
    matches!(target, "/v1/drain" | "/v1/handover") || target.starts_with("/v1/bgp/neighbors/aws/")
}

/// Finds the answer: a view by its path, or one of the router's refusals.
fn content(target: &str, body: &str) -> (&'static str, Vec<u8>) {
    let refuse = |status, error: &str, remedy: &str| {
        let body = format!(r#"{{"error": "{error}", "remedy": "{remedy}"}}"#);
        (status, body.into_bytes())
    };
    match target {
        "/v1/reload" => return ("204 No Content", Vec::new()),
        "/v1/announce" if body.contains("10.1.1.1") => {
            return refuse(
                "409 Conflict",
                "10.1.1.1 is outside of all pools",
                "see `samctl owners`",
            );
        }
        _ if !body.is_empty() && is_order(target) => {
            return ("200 OK", body.as_bytes().to_vec());
        }
        "/v1/announce" | "/v1/withdraw" | "/v1/handover/cancel" | "/v1/bgp/graceful-shutdown" => {
            return ("200 OK", body.as_bytes().to_vec());
        }
        "/v1/bgp/neighbors/nobody" => {
            return refuse(
                "404 Not Found",
                "no neighbor is named nobody",
                "see `samctl bgp neighbors`",
            );
        }
        "/v1/doctor?area=secret" => return refuse("403 Forbidden", "this needs root", "use sudo"),
        "/v1/doctor?area=cellar" => {
            return refuse(
                "400 Bad Request",
                "there is no area cellar",
                "areas: host, lan",
            );
        }
        _ if target.contains("protocol=icmp&port=80") => {
            return refuse(
                "400 Bad Request",
                "icmp has no ports",
                "leave the port out, or name tcp or udp",
            );
        }
        _ if target.ends_with("size=10&df=false") => {
            return refuse(
                "400 Bad Request",
                "the headers of icmp alone are 28 bytes long",
                "give 28 to 65535 bytes",
            );
        }
        _ if target.contains("filter=from") => {
            return refuse(
                "400 Bad Request",
                "'from' begins no term of a filter",
                "a term is src, dst or host with an address",
            );
        }
        "/v1/doctor?area=nonsense" => return ("200 OK", b"<html>".to_vec()),
        "/v1/bgp/mrt" => return ("200 OK", b"\x00\x0da dump".to_vec()),
        "/v1/pcap" => return ("200 OK", b"\x0a\x0d\x0d\x0apcapng".to_vec()),
        _ => {}
    }
    let path = target
        .trim_start_matches("/v1/")
        .split('?')
        .next()
        .unwrap_or_default();
    let ending = if target.ends_with("follow=true") || path == "trace/live" || path == "bgp/monitor"
    {
        "jsonl"
    } else {
        "json"
    };
    let path = match target {
        "/v1/bgp/why?prefix=10.77.60.21/32" => "bgp/why/nobody",
        _ => path,
    };
    let name = format!("{}.{ending}", path.replace('/', "-"));
    match fs::read(folder("tests/cli/views").join(name)) {
        Ok(view) => ("200 OK", view),
        Err(_) => refuse("404 Not Found", &format!("no {path}"), ""),
    }
}
