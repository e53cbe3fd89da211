//! What a guest boots: a kernel and an initramfs, as `tests/guest/fetch` makes them.

use std::path::{Path, PathBuf};

use crate::netns::is_installed;

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";

/// A kernel and its initramfs.
#[derive(Debug, Clone)]
pub struct Image {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
}

impl Image {
    /// Finds the files below cargo's target folder.
    ///
    /// # Errors
    /// Says what is missing, for people.
    pub fn find(target: &Path) -> Result<Self, String> {
        if !is_installed(QEMU) {
            return Err(format!("{QEMU} is not installed"));
        }
        let folder = target.join("guest");
        // Written last.
        if !folder.join("stamp").is_file() {
            let folder = folder.display();
            return Err(format!(
                "there is no guest kernel in {folder} (run tests/guest/fetch)"
            ));
        }
        Ok(Self {
            kernel: folder.join("vmlinuz"),
            initramfs: folder.join("initramfs.gz"),
        })
    }
}
