//! What a batched send reports about messages that the kernel refused for good.

use std::io;

/// Names one message of a batch that was not sent and will not be retried.
#[derive(Debug)]
pub struct SendFailure {
    /// Index of the unit or train in the slice that was to be sent.
    pub index: usize,
    /// Wire packets lost with it: 1, or the datagrams of a train.
    pub packets: usize,
    /// The kernel's reason: EMSGSIZE is a path too narrow, ENOBUFS a full queue after the retries.
    pub error: io::Error,
}

/// How often a batch that met ENOBUFS is tried again before messages count as lost. ENOBUFS is transient, and a
/// sleep would cost a timer tick, so the retries only yield the processor. A device that stays full does not hold up what
/// waits behind the batch.
pub(crate) const ENOBUFS_RETRIES: u8 = 2;
