//! One emulated machine with network cards on taps of a namespace.

use std::cell::RefCell;
use std::time::Duration;

use sam_net::Namespace;

use super::image::{Image, QEMU};
use super::line::Line;
use crate::netns::{Daemon, Folder, Outcome, wait_until};

/// A running guest; dropping it ends it.
#[derive(Debug)]
pub struct Guest {
    line: RefCell<Line>,
    // Ended before its files go.
    _qemu: Daemon,
    _folder: Folder,
}

impl Guest {
    /// Boots a guest whose `eth0`, `eth1`, … are `taps`, which must exist in `namespace`; no interface is up yet.
    /// Returns when it takes commands.
    ///
    /// # Panics
    /// When it does not boot; says what it wrote.
    #[must_use]
    pub fn boot(image: &Image, namespace: &Namespace, taps: &[&str]) -> Self {
        let folder = Folder::new("guest");
        let (socket, console) = (folder.path().join("line"), folder.path().join("console"));
        let mut command = namespace.command(QEMU);
        command.args(MACHINE).arg("-append").arg(KERNEL_ARGUMENTS);
        command.arg("-kernel").arg(&image.kernel);
        command.arg("-initrd").arg(&image.initramfs);
        command.arg("-serial");
        command.arg(format!("file:{}", console.display()));
        command.arg("-serial");
        command.arg(format!("unix:{},server=on,wait=off", socket.display()));
        for (number, tap) in taps.iter().enumerate() {
            let back = format!("tap,id=n{number},ifname={tap},script=no,downscript=no");
            let mac = format!("52:54:00:00:00:{number:02x}");
            let front = format!("virtio-net-pci,netdev=n{number},mac={mac},romfile=");
            command.args(["-netdev", &back, "-device", &front]);
        }
        let mut qemu = Daemon::start(command, &folder.path().join("log"));
        wait_until("the guest boots", BOOT, || {
            let said = std::fs::read_to_string(&console).unwrap_or_default();
            assert_eq!(qemu.exit_code(), None, "{}{said}", qemu.log());
            said.contains("guest ready")
        });
        Self {
            line: RefCell::new(Line::connect(&socket)),
            _qemu: qemu,
            _folder: folder,
        }
    }

    /// Runs a shell command, which is killed after 90 s; its standard error comes with its standard output.
    ///
    /// # Panics
    /// When the guest does not answer.
    pub fn run(&self, command: &str) -> Outcome {
        self.line.borrow_mut().run(command, COMMAND)
    }

    /// Runs a shell command that must succeed and returns what it wrote.
    ///
    /// # Panics
    /// When it fails.
    pub fn order(&self, command: &str) -> String {
        let outcome = self.run(command);
        assert_eq!(outcome.code, 0, "`{command}`: {}", outcome.stdout);
        outcome.stdout
    }

    /// Writes a text file that only root may read.
    pub fn write(&self, path: &str, text: &str) {
        self.order(&format!(
            "umask 077; cat > {path} << 'END OF FILE'\n{text}\nEND OF FILE\n"
        ));
    }
}

const MACHINE: [&str; 13] = [
    "-machine",
    "pc",
    "-accel",
    "tcg",
    "-cpu",
    "max",
    "-m",
    "256",
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
    "-display",
    "none",
];
/// What costs time in an emulator is off, and its random numbers are trusted.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr \
                                random.trust_cpu=on tsc=reliable no_timer_check";
/// It takes 5 s on an idle machine.
const BOOT: Duration = Duration::from_secs(120);
const COMMAND: Duration = Duration::from_secs(90);
