//! What the sender of a refused packet is told.

use sam_dataplane::icmp_error::{may_answer, reporter};
use sam_dataplane::ingress::Ingress;
use sam_dataplane::packet::Classified;
use sam_dataplane::packet::icmp::IcmpError;

use super::Walk;
use super::stage::Stage;

impl Walk<'_> {
    /// Notes the ICMP error about the packet, and from which address it comes.
    pub(super) fn report(&mut self, ingress: Ingress, classified: &Classified, error: IcmpError) {
        let source = reporter(self.snapshot, ingress, classified.destination);
        let text = match source {
            Some(source) if may_answer(classified) => {
                let (kind, code, _) = error.header();
                let mtu = match error {
                    IcmpError::FragmentationNeeded { mtu } => format!(", MTU {mtu}"),
                    IcmpError::TimeExceeded
                    | IcmpError::NetUnreachable
                    | IcmpError::HostUnreachable
                    | IcmpError::AdminProhibited => String::new(),
                };
                format!(
                    "{} (type {kind}, code {code}{mtu}) to {} from {source}",
                    error.name(),
                    classified.source
                )
            }
            Some(_) => "no error is sent about such a packet".into(),
            None => "no error is sent: this router has no address to send it from".into(),
        };
        self.note(Stage::Icmp, text);
    }
}
