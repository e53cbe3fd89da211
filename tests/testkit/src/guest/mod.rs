//! A stock Debian kernel in QEMU, for tests that want another judge than the kernel that they run on.
//!
//! | file | owns |
//! |---|---|
//! | `image` | the files that `tests/guest/fetch` made |
//! | `line` | the serial line: a command goes in, its output and status come out |
//! | `machine` | one running guest |
//!
//! The line is apart from the network, so that commands work also while a test breaks that. Everything is emulated:
//! such a guest is slow and says nothing about speed.

mod image;
mod line;
mod machine;

pub use image::Image;
pub use machine::Guest;
