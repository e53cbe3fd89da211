//! `samctl bench` over loopback: both sides of ours, and strangers that speak nonsense.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use samctl::bench::parameters::{Direction, Parameters, Transport};
use samctl::bench::report::{Row, Way};
use samctl::bench::server::Server;
use samctl::bench::{Fault, Report, client};
use samctl::exit::Exit;

use crate::run::run;

const COOKIE: [u8; 37] = *b"abcdefghijklmnopqrstuvwxyz2345672345\0";

#[test]
fn both_sides_count_the_same() {
    for transport in [Transport::Tcp, Transport::Udp] {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Both] {
            let (address, served) = serve(1);
            let parameters = Parameters {
                transport,
                direction,
                streams: 3,
                bits_per_second: Some(8_000_000),
                length: 1000,
                ..one_second()
            };
            let report = client::measure(address, &parameters).expect("measured");
            let other = served.join().expect("no panic").remove(0).expect("served");
            let ways = [Some(&report.way), report.back.as_ref()];
            let others = [Some(&other.way), other.back.as_ref()];
            let counts = ways.map(|way| way.is_some());
            assert_eq!(counts, [true, direction == Direction::Both]);
            assert_eq!(counts, others.map(|way| way.is_some()));
            let others = others.into_iter().flatten();
            for (way, other) in ways.into_iter().flatten().zip(others) {
                check_way(way, other, transport);
            }
        }
    }
}

/// One direction as both sides tell it: 3 MB in a second, less what is under way at the end.
fn check_way(way: &Way, other: &Way, transport: Transport) {
    assert_eq!(counts(&way.sum), counts(&other.sum));
    // What crosses the wire as decimal text may differ in its last digit.
    let rates = [&way.sum, &other.sum].map(|row| row.received_bits_per_second);
    assert!((rates[0] - rates[1]).abs() < 1.0, "{rates:?}");
    assert_eq!(way.streams.len(), 3);
    assert_ne!(way.direction, other.direction);
    let sent = way.sum.sent_bytes;
    assert!((2_000_000..4_500_000).contains(&sent), "{way:?}");
    assert!(way.sum.received_bytes <= sent, "{way:?}");
    assert!(way.sum.received_bytes > sent / 2, "{way:?}");
    let datagrams = way.sum.datagrams.map(|datagrams| datagrams.datagrams_sent);
    assert_eq!(
        datagrams,
        (transport == Transport::Udp).then_some(sent / 1000)
    );
}

/// Bytes sent and received; datagrams sent, lost and ignored.
fn counts(row: &Row) -> (u64, u64, Option<[u64; 3]>) {
    let datagrams = row.datagrams.as_ref().map(|datagrams| {
        [
            datagrams.datagrams_sent,
            datagrams.datagrams_lost,
            datagrams.datagrams_ignored,
        ]
    });
    (row.sent_bytes, row.received_bytes, datagrams)
}

#[test]
fn a_server_survives_clients_that_speak_nonsense() {
    let long: &[u8] = &[0xff, 0xff, 0xff, 0xff];
    let nonsense = [
        Vec::new(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        COOKIE.to_vec(),
        [&COOKIE[..], long].concat(),
        [&COOKIE[..], &frame("{}")].concat(),
        [&COOKIE[..], &frame("\u{0}\u{1}")].concat(),
        [&COOKIE[..], &frame(r#"{"tcp":true,"parallel":9999}"#)].concat(),
    ];
    let (address, served) = serve(nonsense.len() + 1);
    for bytes in &nonsense {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.write_all(bytes).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("open");
        let mut answer = Vec::new();
        // The server may reset a connection whose bytes it does not want.
        stream.read_to_end(&mut answer).ok();
        assert!(answer.len() <= 10, "{answer:?}");
    }
    let report = client::measure(address, &one_second()).expect("a good client is served");
    assert!(report.way.sum.received_bytes > 0);
    let outcomes = served.join().expect("no panic");
    for (bytes, outcome) in nonsense.iter().zip(&outcomes) {
        assert!(outcome.is_err(), "{bytes:?}: {outcome:?}");
    }
    assert!(outcomes[nonsense.len()].is_ok());
}

#[test]
fn streams_without_the_cookie_have_no_part_and_others_are_told_to_wait() {
    let (address, served) = serve(1);
    let mut control = TcpStream::connect(address).expect("connected");
    control.write_all(&COOKIE).expect("sent");
    assert_eq!(byte(&mut control), 9);
    control
        .write_all(&frame(r#"{"tcp":true,"time":5,"parallel":1,"len":1000}"#))
        .expect("sent");
    assert_eq!(byte(&mut control), 10);

    let mut stranger = TcpStream::connect(address).expect("connected");
    stranger.write_all(&[b'x'; 37]).expect("sent");
    assert_eq!(byte(&mut stranger), 0xff);
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(&COOKIE).expect("sent");
    assert_eq!((byte(&mut control), byte(&mut control)), (1, 2));
    stream.write_all(&[0; 1000]).expect("sent");

    let busy = client::measure(address, &one_second());
    assert!(matches!(busy, Err(Fault::Busy)), "{busy:?}");

    // A client that vanishes frees the server.
    drop((control, stream));
    let outcome = served.join().expect("no panic").remove(0);
    assert!(
        matches!(outcome, Err(Fault::Closed(_) | Fault::Io(..))),
        "{outcome:?}"
    );
}

/// As iperf3 turns a client away: it reads no cookie, so that the kernel resets the connection, and the client may miss the byte.
#[test]
fn a_server_that_resets_who_comes_while_it_measures_is_busy() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = thread::spawn(move || {
        for _ in 0..20 {
            let (stream, _) = listener.accept().expect("accepted");
            // Until the cookie is there.
            stream.peek(&mut [0]).expect("heard");
        }
    });
    for _ in 0..20 {
        let turned_away = client::measure(address, &one_second());
        assert!(matches!(turned_away, Err(Fault::Busy)), "{turned_away:?}");
    }
    server.join().expect("no panic");
}

#[test]
fn datagrams_of_others_open_no_stream() {
    let (address, served) = serve(1);
    let mut control = TcpStream::connect(address).expect("connected");
    control.write_all(&COOKIE).expect("sent");
    assert_eq!(byte(&mut control), 9);
    let parameters = r#"{"udp":true,"time":5,"parallel":1,"len":100}"#;
    control.write_all(&frame(parameters)).expect("sent");
    assert_eq!(byte(&mut control), 10);

    // Another address of this host, and a hello that is none.
    let other = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("a port");
    other.send_to(b"9876", address).expect("sent");
    let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    own.send_to(b"98765", address).expect("sent");
    own.send_to(b"9876", address).expect("sent");
    assert_eq!((byte(&mut control), byte(&mut control)), (1, 2));
    own.set_read_timeout(Some(Duration::from_secs(5)))
        .expect("set");
    assert_eq!(own.recv(&mut [0; 8]).expect("answered"), 4);
    other.set_nonblocking(true).expect("set");
    assert!(other.recv(&mut [0; 8]).is_err());

    // What has no header of this test is counted apart.
    own.send_to(b"9876", address).expect("sent");
    own.send_to(&[[0; 11].as_slice(), &[1; 89]].concat(), address)
        .expect("sent");
    thread::sleep(Duration::from_millis(200));
    control.write_all(&[4]).expect("sent");
    assert_eq!(byte(&mut control), 13);
    let results = r#"{"streams":[{"bytes":100,"packets":1}]}"#;
    control.write_all(&frame(results)).expect("sent");
    control.write_all(&[16]).expect("sent");
    let report = served.join().expect("no panic").remove(0).expect("served");
    let datagrams = report.way.sum.datagrams.expect("UDP");
    assert_eq!(datagrams.datagrams_ignored, 1);
    assert_eq!(datagrams.datagrams_lost, 0);
    assert_eq!(report.way.sum.received_bytes, 100);
}

#[test]
fn a_client_survives_servers_that_speak_nonsense() {
    let cases: [(&[u8], &str); 6] = [
        (&[], "closed the connection"),
        (&[200], "no state"),
        (&[16], "IperfDone"),
        (&[0xff], "another client"),
        (&[0xfe, 0, 0, 0, 13, 0, 0, 0, 0], "refuses"),
        (&[9, 11], "ended the test early"),
    ];
    for (answer, word) in cases {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepted");
            stream.read_exact(&mut [0; 37]).expect("a cookie");
            stream.write_all(answer).expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("open");
            stream.read_to_end(&mut Vec::new()).ok();
        });
        let fault = client::measure(address, &one_second()).expect_err(word);
        assert!(fault.to_string().contains(word), "{answer:?}: {fault}");
        server.join().expect("no panic");
    }
}

#[test]
fn a_server_that_stops_reading_does_not_hold_the_client() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = thread::spawn(move || {
        let (mut control, _) = listener.accept().expect("accepted");
        control.read_exact(&mut [0; 37]).expect("a cookie");
        control.write_all(&[9, 10]).expect("sent");
        let (stream, _) = listener.accept().expect("accepted");
        control.write_all(&[1, 2]).expect("sent");
        // Parameters, then TestEnd; the stream stays open and unread all the while.
        let mut byte = [0];
        while control.read_exact(&mut byte).is_ok() && byte != [4] {}
        control.write_all(&[13]).expect("sent");
        let mut head = [0; 4];
        control.read_exact(&mut head).expect("results");
        drop(stream);
    });
    let begun = Instant::now();
    let outcome = client::measure(address, &one_second());
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.join().expect("no panic");
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_is_opened() {
    for arguments in [
        &["bench"][..],
        &["bench", "127.0.0.1", "--server"],
        &["bench", "127.0.0.1", "--time", "0"],
        &["bench", "127.0.0.1", "--parallel", "129"],
        &["bench", "127.0.0.1", "--bitrate", "fast"],
        &["bench", "127.0.0.1", "--one-off"],
        &["bench", "--server", "--udp"],
        &["bench", "127.0.0.1", "--reverse", "--bidir"],
        &["bench", "127.0.0.1", "--udp", "--length", "15"],
        &["bench", "127.0.0.1", "--length", "1048577"],
    ] {
        let printed = run(arguments);
        assert_eq!(
            printed.exit,
            Exit::Usage,
            "{arguments:?}: {}",
            printed.stderr
        );
        assert_eq!(printed.stdout, "");
    }
}

#[test]
fn nobody_there_and_no_router_are_told_apart() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = free.local_addr().expect("bound").port().to_string();
    drop(free);
    let nobody = run(&["bench", "127.0.0.1", "--port", &port]);
    assert_eq!(nobody.exit, Exit::Failed);
    assert!(nobody.stderr.contains("iperf3 -s"), "{}", nobody.stderr);
    let no_router = run(&["--socket", "/nonexistent/socket", "bench", "aws"]);
    assert_eq!(no_router.exit, Exit::Unreachable, "{}", no_router.stderr);
}

/// Serves a number of tests in a thread.
fn serve(tests: usize) -> (SocketAddr, JoinHandle<Vec<Result<Report, Fault>>>) {
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let address = server.address();
    let thread = thread::spawn(move || (0..tests).map(|_| server.serve()).collect());
    (address, thread)
}

fn one_second() -> Parameters {
    Parameters {
        transport: Transport::Tcp,
        direction: Direction::Forward,
        seconds: Some(1),
        streams: 1,
        length: 10_000,
        bits_per_second: None,
        wide_counters: true,
    }
}

fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn byte(stream: &mut TcpStream) -> u8 {
    let patience = Some(Duration::from_secs(5));
    stream.set_read_timeout(patience).expect("set");
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("a byte");
    byte[0]
}
