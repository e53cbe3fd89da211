//! Rules about single files: each says what is wrong with a file, or nothing.

use crate::source::Source;

/// Production lines per file (tests at its end do not count).
const MAX_LINES: usize = 600;
/// Lines of the comment at the head of a file.
const MAX_HEAD: usize = 40;

/// A rule: its name in `allow.txt`, and what it says.
pub(crate) type Rule = (&'static str, fn(&Source) -> Option<String>);

/// All of them.
pub(crate) const RULES: &[Rule] = &[
    ("size", size),
    ("head", head),
    ("unsafe", unsafe_code),
    ("bounded", bounded),
    ("packet path", packet_path),
    ("unfinished", unfinished),
    ("suppression", suppression),
];

/// R11
fn size(source: &Source) -> Option<String> {
    let lines = source.production().lines().count();
    (lines > MAX_LINES).then(|| format!("{lines} production lines, at most {MAX_LINES}"))
}

/// R11
fn head(source: &Source) -> Option<String> {
    let comments = |line: &&str| line.starts_with("//!");
    match source.text.lines().take_while(comments).count() {
        0 => Some("the first line must be a //! comment that says what the file owns".into()),
        lines if lines > MAX_HEAD => Some(format!("{lines} lines of head, at most {MAX_HEAD}")),
        _ => None,
    }
}

/// R3
fn unsafe_code(source: &Source) -> Option<String> {
    const WORDS: [&str; 6] = [
        "unsafe {",
        "unsafe fn",
        "unsafe impl",
        "unsafe extern",
        "unsafe trait",
        "(unsafe_code",
    ];
    if source.name.starts_with("engine/net/") {
        return None;
    }
    let found = source
        .code()
        .find(|line| WORDS.iter().any(|word| line.contains(word)))?;
    Some(format!("unsafe outside engine/net: {}", found.trim()))
}

/// R10
fn bounded(source: &Source) -> Option<String> {
    const WORDS: [&str; 5] = [
        "unbounded_channel",
        "UnboundedSender",
        "mpsc::channel()",
        "channel::unbounded",
        "channel::<",
    ];
    word_in_production(source, &WORDS)
}

/// Where packets pass: the whole data plane, what carries its packets in and out, and what seals and opens them. Left out are
/// the mailboxes (of a worker, and of the handshake thread) and a session's replay window, which is locked once for a run.
pub(crate) const PACKET_PATH: [&str; 24] = [
    "engine/dataplane/src/",
    "engine/net/src/message_batch.rs",
    "engine/net/src/packet_socket.rs",
    "engine/net/src/raw_ip.rs",
    "engine/net/src/segmentation.rs",
    "engine/net/src/sending.rs",
    "engine/net/src/spare.rs",
    "engine/net/src/tun.rs",
    "engine/net/src/udp.rs",
    "engine/net/src/vnet_hdr.rs",
    "engine/runtime/src/data_plane/budget.rs",
    "engine/runtime/src/data_plane/courtesy.rs",
    "engine/runtime/src/data_plane/lan.rs",
    "engine/runtime/src/data_plane/plain_ports.rs",
    "engine/runtime/src/data_plane/ports.rs",
    "engine/runtime/src/data_plane/underlay.rs",
    "engine/runtime/src/data_plane/worker.rs",
    "engine/wg/src/aead.rs",
    "engine/wg/src/arrival.rs",
    "engine/wg/src/data_path.rs",
    "engine/wg/src/replay.rs",
    "engine/wg/src/ring.rs",
    "engine/wg/src/table.rs",
    "engine/wg/src/traffic.rs",
];

/// Nothing on the packet path locks or is called through a table of functions; that nothing is allocated there is tested
/// where it runs (`engine/dataplane/tests/allocation.rs`).
fn packet_path(source: &Source) -> Option<String> {
    const WORDS: [&str; 4] = ["dyn ", "Mutex", "RwLock", "Condvar"];
    if !PACKET_PATH.iter().any(|path| source.name.starts_with(path)) {
        return None;
    }
    let mut code = source.production().lines();
    let found = code.find(|line| {
        let code = line.trim_start();
        !code.starts_with("//") && WORDS.iter().any(|word| code.contains(word))
    })?;
    Some(format!("not on the packet path: {}", found.trim()))
}

fn unfinished(source: &Source) -> Option<String> {
    word_in_production(
        source,
        &["todo!(", "unimplemented!(", "FIXME", "XXX", "TODO"],
    )
}

/// Style: an exception from a lint says why, and ends when it is not needed.
fn suppression(source: &Source) -> Option<String> {
    let found = source.code().find(|line| line.contains("[allow("))?;
    Some(format!("write #[expect(.., reason)]: {}", found.trim()))
}

fn word_in_production(source: &Source, words: &[&str]) -> Option<String> {
    let word = words
        .iter()
        .find(|word| source.production().contains(**word))?;
    Some(format!("'{word}' is not for production"))
}

#[test]
fn each_rule_refuses_what_it_is_for_and_nothing_else() {
    let long = format!("//! Long.\n{}", "x();\n".repeat(MAX_LINES));
    let tested = format!("//! Tested.\n#[cfg(test)]\nmod tests {{}}\n{}", long);
    let cases = [
        ("size", "bgp/src/a.rs", long.as_str(), true),
        ("size", "bgp/src/a.rs", &tested, false),
        ("head", "bgp/src/a.rs", "// not a head\n", true),
        ("head", "bgp/src/a.rs", &"//! x\n".repeat(41), true),
        ("head", "bgp/src/a.rs", "//! Head.\n", false),
        ("unsafe", "cli/a.rs", "let a = unsafe { b() };", true),
        ("unsafe", "cli/a.rs", "#![allow(unsafe_code)]", true),
        ("unsafe", "cli/a.rs", "// unsafe { in a comment }", false),
        ("unsafe", "engine/net/src/a.rs", "unsafe { b() }", false),
        ("bounded", "cli/a.rs", "let a = mpsc::channel();", true),
        (
            "bounded",
            "cli/a.rs",
            "let a = mpsc::unbounded_channel();",
            true,
        ),
        ("bounded", "cli/a.rs", "let a = mpsc::channel(16);", false),
        (
            "packet path",
            "engine/dataplane/src/a.rs",
            "fn a(b: &dyn C) {}",
            true,
        ),
        (
            "packet path",
            "engine/dataplane/src/a.rs",
            "// dyn in words",
            false,
        ),
        (
            "packet path",
            "engine/runtime/src/data_plane/worker.rs",
            "struct A(Mutex<u8>);",
            true,
        ),
        (
            "packet path",
            "engine/runtime/src/data_plane/mailbox.rs",
            "struct A(Mutex<u8>);",
            false,
        ),
        (
            "packet path",
            "engine/router/src/a.rs",
            "fn a(b: &dyn C) {}",
            false,
        ),
        ("unfinished", "cli/a.rs", "fn a() { todo!() }", true),
        ("unfinished", "cli/a.rs", "fn a() {}", false),
        ("suppression", "cli/a.rs", "#[allow(dead_code)]", true),
        (
            "suppression",
            "cli/a.rs",
            "#[expect(dead_code, reason = \"x\")]",
            false,
        ),
    ];
    for (rule, name, text, refused) in cases {
        let source = Source {
            name: name.into(),
            text: text.into(),
        };
        let (_, check) = RULES.iter().find(|(name, _)| *name == rule).expect(rule);
        assert_eq!(check(&source).is_some(), refused, "{rule}: {text:.40}");
    }
    for (rule, _) in RULES {
        assert!(
            cases
                .iter()
                .any(|(name, .., refused)| name == rule && *refused)
        );
    }
}
