//! The HTTP client: what was sent and what was not, bounds, proxies, sources.

use std::cell::Cell;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sam_capture::provider::{ErrorClass, Standing};
use sam_cloud::http::{Answer, Call, Client, Failure, MAX_BODY, Method};
use sam_cloud::metadata::Metadata;
use sam_cloud::purpose::Purpose;
use sam_cloud::{Secret, Settings};

use crate::lab::HoldsFor;
use crate::stub::{Stub, respond};

pub(crate) fn settings() -> Settings {
    Settings::new("02:00:00:00:00:01".parse().expect("an address"))
}

fn client(settings: &Settings) -> Client {
    Client::new(settings).expect("a client")
}

fn get(settings: &Settings, url: &str) -> Result<Answer, Failure> {
    client(settings).send(&Call::new(Method::Get, url, Duration::from_secs(2)))
}

/// A port that nobody listens on.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/", listener.local_addr().expect("an address"))
}

#[test]
fn what_was_never_sent_is_told_from_what_was_not_answered() {
    let refused = get(&settings(), &closed()).expect_err("nobody is there");
    assert!(!refused.sent, "{refused:?}");
    let closing = Stub::serve(|_, _| {});
    let lost = get(&settings(), &closing.url()).expect_err("no answer");
    assert!(lost.sent, "{lost:?}");

    let class = |failure: &Failure, changes| failure.clone().into_error(changes).class;
    assert_eq!(class(&refused, true), ErrorClass::Unavailable);
    assert_eq!(class(&lost, true), ErrorClass::Unknown);
    assert_eq!(class(&lost, false), ErrorClass::Unavailable);
}

#[test]
fn a_change_whose_reason_ends_while_it_connects_is_not_sent() {
    let server = Stub::serve(|_, stream| respond(stream, "200 OK", ""));
    let mut client = client(&settings());
    let call = Call::new(Method::Put, server.url(), Duration::from_secs(2));
    for (times, connects) in [(0, false), (1, true)] {
        let reason = HoldsFor(Cell::new(times));
        let fenced = client.send_for(&call, Purpose::Change(&reason));
        assert_eq!(fenced.expect_err("ended").class, ErrorClass::Fenced);
        let seen = server.requests.recv_timeout(Duration::from_millis(500));
        let head = seen.ok().map(|(_, head)| head);
        assert_eq!(head, connects.then(String::new));
    }
    let reason = HoldsFor(Cell::new(2));
    for purpose in [Purpose::Change(&reason), Purpose::Look] {
        let answer = client.send_for(&call, purpose).expect("an answer");
        assert_eq!(answer.status, 200);
    }

    let call = Call::new(Method::Put, closed(), Duration::from_secs(2));
    let refused = client.send_for(&call, Purpose::Change(&HoldsFor(Cell::new(9))));
    let class = refused.expect_err("nobody is there").class;
    assert_eq!(class, ErrorClass::Unavailable);
}

#[test]
fn a_silent_server_costs_the_timeout_and_no_more() {
    let silent = Stub::serve(|_, stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let start = Instant::now();
    let mut client = client(&settings());
    let call = Call::new(Method::Put, silent.url(), Duration::from_millis(300));
    let lost = client.send(&call).expect_err("no answer");
    assert!(lost.sent && lost.reason.contains("timed out"), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_failed_handshake_is_nothing_sent() {
    let no_tls = Stub::serve(|_, stream| respond(stream, "400 Bad Request", "no TLS here"));
    let url = no_tls.url().replace("http:", "https:");
    let failure = get(&settings(), &url).expect_err("no TLS");
    assert!(!failure.sent, "{failure:?}");
}

#[test]
fn an_answer_has_a_bound() {
    let endless = Stub::serve(|_, mut stream| {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        let chunk = vec![b'x'; 1 << 16];
        let mut written = stream.write_all(head);
        while written.is_ok() {
            written = stream.write_all(&chunk);
        }
    });
    let failure = get(&settings(), &endless.url()).expect_err("too much");
    assert!(
        failure.reason.contains(&MAX_BODY.to_string()),
        "{failure:?}"
    );
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let elsewhere = Stub::serve(|_, stream| respond(stream, "200 OK", "secret"));
    let location = elsewhere.url();
    let here = Stub::serve(move |_, mut stream| {
        let text = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).expect("a reader");
    });
    let answer = get(&settings(), &here.url()).expect("an answer");
    assert_eq!(answer.status, 307);
    assert!(elsewhere.requests.try_recv().is_err());
}

#[test]
fn calls_start_from_the_chosen_source() {
    let server = Stub::serve(|_, stream| respond(stream, "200 OK", ""));
    let mut settings = settings();
    settings.egress.source = Some([127, 0, 0, 77].into());
    get(&settings, &server.url()).expect("an answer");
    let (peer, _) = server.requests.recv().expect("a request");
    assert_eq!(peer, std::net::IpAddr::from([127, 0, 0, 77]));

    settings.egress.source = Some([192, 0, 2, 1].into());
    let failure = get(&settings, &server.url()).expect_err("not an address of this host");
    assert!(!failure.sent, "{failure:?}");
}

#[test]
fn the_source_is_of_the_family_that_is_called() {
    let server = Stub::serve(|_, stream| respond(stream, "200 OK", ""));
    let mut settings = settings();
    settings.egress.source = Some(std::net::IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
    let failure = get(&settings, &server.url()).expect_err("IPv6 does not reach IPv4");
    assert!(!failure.sent, "{failure:?}");
}

#[test]
fn without_the_chosen_interface_nothing_is_sent() {
    let server = Stub::serve(|_, stream| respond(stream, "200 OK", ""));
    let mut settings = settings();
    settings.egress.interface = Some("not-there0".to_owned());
    let failure = get(&settings, &server.url()).expect_err("no such interface");
    assert!(!failure.sent, "{failure:?}");
    assert!(server.requests.try_recv().is_err());
}

/// A proxy that connects to whatever it is asked for.
pub(crate) fn proxy() -> Stub {
    Stub::serve(|head, mut stream| {
        let target = head.strip_prefix("CONNECT ");
        let target = target.and_then(|rest| rest.split(' ').next());
        let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) else {
            return respond(stream, "502 Bad Gateway", "");
        };
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .expect("a client");
        relay(&stream, &server);
        relay(&server, &stream);
    })
}

/// Carries what comes from one to the other, until either ends.
fn relay(from: &TcpStream, to: &TcpStream) {
    let mut from = from.try_clone().expect("a socket");
    let mut to = to.try_clone().expect("a socket");
    thread::spawn(move || {
        std::io::copy(&mut from, &mut to).unwrap_or(0);
        to.shutdown(Shutdown::Write).unwrap_or(());
    });
}

#[test]
fn a_proxy_is_used_for_the_provider_and_never_for_the_metadata_service() {
    let server = Stub::serve(|_, stream| respond(stream, "200 OK", "hello"));
    let proxy = proxy();
    let mut settings = settings();
    settings.egress.proxy = Some(Secret::new(format!(
        "http://me:hunter2@127.0.0.1:{}",
        proxy.port
    )));
    let answer = get(&settings, &server.url()).expect("an answer");
    assert_eq!(answer.body, b"hello");
    let (_, head) = proxy.requests.recv().expect("a request to the proxy");
    assert!(head.starts_with("CONNECT 127.0.0.1:"), "{head}");
    assert!(
        head.to_lowercase().contains("proxy-authorization: basic"),
        "{head}"
    );
    let shown = format!("{settings:?} {:?}", client(&settings));
    assert!(!shown.contains("hunter2"), "{shown}");

    settings.endpoints.metadata = Some(server.url());
    let mut metadata = Metadata::new(&settings).expect("a client");
    let call = metadata.call(Method::Get, "/x");
    assert_eq!(metadata.send(&call).expect("an answer").body, b"hello");
    assert!(proxy.requests.try_recv().is_err(), "directly");

    settings.egress.no_proxy = "127.0.0.1".to_owned();
    get(&settings, &server.url()).expect("an answer");
    assert!(proxy.requests.try_recv().is_err(), "without the proxy");
}

#[test]
fn a_proxy_that_refuses_has_seen_nothing_of_the_request() {
    let refusing = Stub::serve(|_, stream| respond(stream, "403 Forbidden", ""));
    let mut settings = settings();
    settings.egress.proxy = Some(Secret::new(refusing.url()));
    let failure = get(&settings, "http://192.0.2.1/").expect_err("refused");
    assert!(!failure.sent, "{failure:?}");
}

#[test]
fn settings_that_make_no_client_are_named_without_their_value() {
    let mut settings = settings();
    settings.egress.proxy = Some(Secret::new("socks5://me:hunter2@127.0.0.1:1"));
    let error = Client::new(&settings).expect_err("no such proxy");
    assert_eq!(error.setting, "proxy");
    assert!(!error.to_string().contains("hunter2"));
    settings.egress.proxy = None;
    settings.egress.roots = Some("no certificate".to_owned());
    assert_eq!(
        Client::new(&settings).expect_err("no roots").setting,
        "roots"
    );
}

#[test]
fn the_clock_of_the_provider_is_followed_within_reason() {
    let dated = |seconds: i64| {
        Stub::serve(move |_, mut stream| {
            let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
            let date = (now + chrono::TimeDelta::seconds(seconds)).to_rfc2822();
            let text = format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(text.as_bytes()).expect("a reader");
        })
    };
    for (offset, followed) in [(1, false), (600, true), (-600, true), (3600, false)] {
        let server = dated(offset);
        let mut client = client(&settings());
        let call = Call::new(Method::Get, server.url(), Duration::from_secs(2));
        client.send(&call).expect("an answer");
        let measured = client.clock_offset().expect("a date").num_seconds();
        assert!((measured - offset).abs() <= 2, "{measured} of {offset}");
        let applied = client.now() - chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
        assert_eq!(applied.num_seconds().abs() > 60, followed, "{offset}");
    }
}

#[test]
fn what_a_client_tells_of_its_provider_is_of_the_last_answer() {
    let server = Stub::serve(|_, stream| respond(stream, "200 OK", ""));
    let mut client = client(&settings());
    let send = |client: &mut Client, url: &str| {
        let call = Call::new(Method::Get, url, Duration::from_secs(2));
        client.send(&call).is_ok()
    };
    let expires = Some(client.now() + chrono::TimeDelta::hours(1));
    assert!(!send(&mut client, &closed()));
    assert_eq!(client.standing(expires), Standing::default());

    assert!(send(&mut client, &server.url()));
    let told = client.standing(expires);
    assert!(told.answered.is_some_and(|at| at <= Instant::now()));
    assert!(told.credentials.is_some_and(|left| left > Duration::ZERO));
    assert!(!send(&mut client, &closed()));
    assert_eq!(client.standing(expires), told, "no answer tells nothing");

    assert!(send(&mut client, &server.url()));
    assert!(client.standing(expires).answered > told.answered);
}

#[test]
fn a_call_shows_no_value_of_a_header_and_no_query() {
    let call = Call::new(Method::Get, "http://host/path?sig=hunter2", Duration::ZERO);
    let call = call.with("authorization", "Bearer hunter2");
    let shown = format!("{call:?}");
    assert!(
        !shown.contains("hunter2") && shown.contains("http://host/path"),
        "{shown}"
    );
}
