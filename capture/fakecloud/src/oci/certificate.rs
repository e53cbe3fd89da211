//! The certificates of instances (RFC 5280): made from their names each time, so that equal ones compare equal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::der::{
    self, BIT_STRING, EXPLICIT_0, INTEGER, NULL, OBJECT, SEQUENCE, SET, UTC_TIME, UTF8,
};
use super::key;
use crate::cloud::Cloud;

/// Object identifier 1.2.840.113549.1.1.11, sha256WithRSAEncryption (RFC 8017).
const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
/// 2.5.4.3 (RFC 4519).
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 2.5.4.11 (RFC 4519).
const UNIT: &[u8] = &[0x55, 4, 11];

/// Who signs the certificates of instances.
const ISSUER: &str = "PKISVC Identity Intermediate lab";

/// Longer than any lab lives: the clock of a certificate is nothing to rehearse here.
const VALID: [&str; 2] = ["200101000000Z", "491231235959Z"];

/// Makes the certificate of an instance, as DER; its units say whose it is, as OCI's do.
pub(super) fn of_instance(cloud: &Cloud, instance: &str) -> Option<Vec<u8>> {
    let settings = &cloud.settings;
    let mut subject = relative_name(COMMON_NAME, instance);
    for unit in [
        "opc-certtype:instance".to_owned(),
        format!("opc-compartment:{}", settings.group),
        format!("opc-instance:{instance}"),
        format!("opc-tenant:{}", settings.account),
    ] {
        subject.extend(relative_name(UNIT, &unit));
    }
    signed(&subject)
}

/// Makes the certificate of who signs those of instances, as DER.
pub(super) fn of_issuer() -> Option<Vec<u8>> {
    signed(&relative_name(COMMON_NAME, ISSUER))
}

/// Writes a certificate as PEM.
pub(super) fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|start| &text[start..text.len().min(start + 64)])
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

/// Writes the SHA-1 fingerprint of a certificate.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let bytes: Vec<String> = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(":")
}

fn relative_name(kind: &[u8], value: &str) -> Vec<u8> {
    let kind = der::write(OBJECT, kind);
    let pair = der::wrap(SEQUENCE, &[&kind, &der::write(UTF8, value.as_bytes())]);
    der::write(SET, &pair)
}

fn signed(subject: &[u8]) -> Option<Vec<u8>> {
    let object = der::write(OBJECT, SHA256_WITH_RSA);
    let algorithm = der::wrap(SEQUENCE, &[&object, &der::write(NULL, &[])]);
    // The highest bit stays clear: a serial number is positive.
    let mut serial = digest::digest(&digest::SHA256, subject).as_ref()[..16].to_vec();
    serial[0] = serial[0] & 0x3f | 0x40;
    let [from, to] = VALID.map(|time| der::write(UTC_TIME, time.as_bytes()));
    let content = der::wrap(
        SEQUENCE,
        &[
            &der::wrap(EXPLICIT_0, &[&der::write(INTEGER, &[2])]),
            &der::write(INTEGER, &serial),
            &algorithm,
            &der::write(SEQUENCE, &relative_name(COMMON_NAME, ISSUER)),
            &der::wrap(SEQUENCE, &[&from, &to]),
            &der::write(SEQUENCE, subject),
            &key::lab_public_key_der()?,
        ],
    );
    let signature = der::wrap(BIT_STRING, &[&[0], &key::lab_sign(&content)?]);
    Some(der::wrap(SEQUENCE, &[&content, &algorithm, &signature]))
}
