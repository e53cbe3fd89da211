//! The command line: what is printed, where, and with which exit code.
//!
//! `corpus`: broken and good configuration files. `views`: verbs against a router made of files. `process`: the
//! real binary. `lab`: the fake cloud. `iam_policy`: what a router at a provider must be permitted. `bench`: measuring
//! over loopback. `inject`: routes of a file told to a speaker. `UPDATE_EXPECT=1` rewrites the expected texts; read the difference before you commit it.

mod bench;
mod corpus;
mod iam_policy;
mod inject;
mod inspection;
mod lab;
mod process;
mod rehearse;
mod run;
mod server;
mod views;
