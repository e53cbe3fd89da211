//! A router that lies: its UPDATEs are taken apart, changed and put together again before they leave.

use std::fmt;

use sam_bgp::wire::{DecodeContext, Message, Update, frame};

/// All sessions of a fabric are internal, know four-octet AS numbers and tell paths apart.
pub(crate) const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: true,
    extended: true,
    ipv6: None,
};

/// What is done to each UPDATE that announces something.
pub struct Forgery(Box<dyn Fn(&mut Update)>);

impl Forgery {
    /// Lies as `lie` says.
    #[must_use]
    pub fn new(lie: impl Fn(&mut Update) + 'static) -> Self {
        Self(Box::new(lie))
    }

    /// Takes all whole messages from `stream`; returns what is sent instead.
    pub(crate) fn forge(&self, stream: &mut Vec<u8>) -> Vec<u8> {
        let mut forged = Vec::new();
        while let Some(len) = frame(stream, CONTEXT).expect("our own messages are well-formed") {
            let message: Vec<u8> = stream.drain(..len).collect();
            let decoded = Message::decode(&message, CONTEXT);
            if let Message::Update(mut update) = decoded.expect("our own messages are well-formed")
                && !update.announced.is_empty()
            {
                (self.0)(&mut update);
                forged.extend(Message::Update(update).encode(CONTEXT));
            } else {
                forged.extend(message);
            }
        }
        forged
    }
}

impl fmt::Debug for Forgery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forgery")
    }
}
