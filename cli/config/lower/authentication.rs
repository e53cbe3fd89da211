//! How the segments of a foreign neighbor are signed, and where the key comes from.

use sam_router::Secret;
use sam_router::foreign::{AoAlgorithm, Authentication};

use super::Input;
use super::local::absolute;
use crate::config::finding::Findings;
use crate::config::key_file::{KeyFileError, check_secret, read_secret};
use crate::config::raw::{self, AuthenticationKind};
use crate::config::read::{At, Field};
use crate::config::source::Span;
use crate::config::{SecretSource, Secrets, beside};

/// Checks how segments are signed; reads the key unless secrets are left alone.
pub(super) fn authentication(
    input: &Input<'_>,
    at: &At<raw::Authentication>,
    findings: &mut Findings,
) -> Option<(Authentication, SecretSource)> {
    let raw = &at.value;
    let help = "it is `md5` or `tcp-ao`";
    let kind = raw.kind.required("type", at.span, help, findings)?;
    let (key, source) = key(input, at, findings)?;
    if kind.value == AuthenticationKind::TcpAo {
        let mut id = |key: &str, field: &Field<u16>| key_id(key, field, findings);
        let (send_id, receive_id) = (id("sendId", &raw.send_id), id("receiveId", &raw.receive_id));
        let algorithm = raw.algorithm.or(AoAlgorithm::HmacSha1);
        return Some((
            Authentication::TcpAo {
                key,
                send_id,
                receive_id,
                algorithm,
            },
            source,
        ));
    }
    let idle: [(&str, Option<Span>); 3] = [
        ("sendId", raw.send_id.given().map(|at| at.span)),
        ("receiveId", raw.receive_id.given().map(|at| at.span)),
        ("algorithm", raw.algorithm.given().map(|at| at.span)),
    ];
    for (key, at) in idle.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        findings
            .error(at, format!("`{key}` means nothing with `type: md5`"))
            .help("remove it, or write `type: tcp-ao`");
    }
    Some((Authentication::Md5(key), source))
}

fn key_id(key: &str, field: &Field<u16>, findings: &mut Findings) -> u8 {
    let Some(id) = field.given() else {
        return DEFAULT_KEY_ID;
    };
    u8::try_from(id.value).unwrap_or_else(|_| {
        findings
            .error(id.span, format!("`{key}` cannot be {}", id.value))
            .help("a KeyID is a number from 0 to 255");
        DEFAULT_KEY_ID
    })
}

fn key(
    input: &Input<'_>,
    at: &At<raw::Authentication>,
    findings: &mut Findings,
) -> Option<(Secret, SecretSource)> {
    let raw = &at.value;
    let (read, source, span): (Result<Secret, KeyFileError>, _, _) =
        match (raw.key_file.given(), raw.key_env.given()) {
            (Some(file), None) => {
                let source = SecretSource::File(absolute(input.path, &file.value));
                let read = match input.secrets {
                    Secrets::Skip => Ok(Secret::new(vec![0])),
                    Secrets::Read => read_secret(&beside(input.path, &file.value)),
                };
                (read, source, file.span)
            }
            (None, Some(name)) => {
                let source = SecretSource::Environment(name.value.clone());
                let read = match input.secrets {
                    Secrets::Skip => Ok(Secret::new(vec![0])),
                    Secrets::Read => from_environment(&name.value),
                };
                (read, source, name.span)
            }
            (Some(_), Some(name)) => {
                findings
                    .error(name.span, "both `keyFile` and `keyEnv` are given")
                    .help("keep one of the two");
                return None;
            }
            (None, None) => {
                if raw.key_file.is_absent() && raw.key_env.is_absent() {
                    findings.error(at.span, "`keyFile` is missing").help(
                        "name the file with the shared key, or by `keyEnv` an environment variable",
                    );
                }
                return None;
            }
        };
    match read {
        Ok(key) => Some((key, source)),
        Err(error) => {
            findings.error(span, error.message).help(error.help);
            None
        }
    }
}

fn from_environment(name: &str) -> Result<Secret, KeyFileError> {
    use std::os::unix::ffi::OsStringExt;
    match std::env::var_os(name) {
        Some(value) => check_secret(
            value.into_vec(),
            &format!("the environment variable `{name}`"),
        ),
        None => Err(KeyFileError {
            message: format!("the environment variable `{name}` is not set"),
            help: format!("set `{name}` where samctl is started, or use `keyFile`"),
        }),
    }
}

/// KeyID where none is written.
const DEFAULT_KEY_ID: u8 = 1;
