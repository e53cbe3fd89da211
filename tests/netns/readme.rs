//! The commands that README.md shows, run as they stand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sam_testkit::netns::{Daemon, Fabric, Outcome, Site, holds_within};

use crate::case::{Case, Need, checkout, samctl};

pub(crate) const CASES: &[Case] = &[Case {
    name: "readme::every_command_of_the_readme_works",
    needs: &[Need::File("README.md")],
    run: commands,
}];

/// Verbs that other tests run at length; here their command lines are only read.
const LONG: [&str; 3] = ["demo", "lab", "run"];

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                ▲ asked by default
/// ```
fn commands() {
    let fabric = Fabric::running(samctl(), 2);
    let folder = fabric.path("readme");
    fs::create_dir_all(folder.join("bin")).expect("writable");
    symlink(samctl(), folder.join("bin/samctl")).expect("writable");
    symlink(checkout("configs"), folder.join("configs")).expect("writable");
    // The files that the README asks for, in a folder of our own instead of /etc/samctl.
    fs::create_dir_all(folder.join("etc")).expect("writable");
    let config = fs::read_to_string(fabric.config(Site::ONPREM)).expect("readable");
    let config = config.replace(
        "onprem.key",
        &fabric.path("onprem.key").display().to_string(),
    );
    fs::write(folder.join("etc/samctl.yaml"), config).expect("writable");
    let readme = fs::read_to_string(checkout("README.md")).expect("readable");
    let commands = samctl_commands(&readme);
    assert!(
        !commands.is_empty(),
        "the README shows no samctl command in a ```sh block"
    );
    let mut failed = Vec::new();
    for command in commands {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &runnable(&command, &folder.join("etc"))])
            .current_dir(&folder)
            .env("PATH", format!("{}:{path}", folder.join("bin").display()))
            .env("SAMCTL_SOCKET", fabric.router(Site::ONPREM).socket())
            .stdin(Stdio::null());
        let outcome = if streams(&command) {
            stream(shell, &folder.join("log"))
        } else {
            shell.output().expect("sh starts").into()
        };
        if outcome.code != 0 {
            failed.push(format!(
                "{command}: exit {}\n{}",
                outcome.code,
                outcome.text()
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Lines of ```sh blocks that call samctl, without sudo and comments; continued lines are joined.
fn samctl_commands(readme: &str) -> Vec<String> {
    let blocks = readme.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let command = |line: String| {
        let line = line
            .trim()
            .trim_start_matches("$ ")
            .trim_start_matches("sudo ");
        let line = line.split(" #").next().unwrap_or_default().trim();
        line.contains("samctl ").then(|| line.replace("sudo ", ""))
    };
    lines
        .filter_map(command)
        .filter(|line| !line.starts_with("cargo "))
        .collect()
}

/// A verb that takes long or never ends becomes a look at its help.
fn runnable(command: &str, etc: &Path) -> String {
    let command = command.replace("/etc/samctl", &etc.display().to_string());
    let words: Vec<&str> = command.split_whitespace().collect();
    let verb = words.iter().skip_while(|word| **word != "samctl").nth(1);
    match verb {
        Some(verb) if LONG.contains(verb) => {
            format!("{} --help", words.join(" ").replace(" &", ""))
        }
        _ => command,
    }
}

fn streams(command: &str) -> bool {
    command.contains("events -f")
        || command.contains("events --follow")
        || command.contains(" pcap")
}

/// Lets a command that never ends by itself run for a second.
fn stream(shell: Command, log: &Path) -> Outcome {
    let mut daemon = Daemon::start(shell, log);
    let ended = holds_within(Duration::from_secs(1), || daemon.exit_code().is_some());
    let code = if ended {
        daemon.exit_code().unwrap_or(-1)
    } else {
        0
    };
    Outcome {
        code,
        stdout: daemon.log(),
        stderr: String::new(),
    }
}
