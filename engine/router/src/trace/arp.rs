//! Whether this router draws the packet in: a host of the LAN asks by ARP who has the destination.

use sam_dataplane::PortId;
use sam_dataplane::arp_responder::ArpResponder;
use sam_dataplane::notice::Mac;
use sam_dataplane::packet::arp::ArpPacket;

use super::Walk;
use super::stage::Stage;
use crate::view::mac_text;

impl Walk<'_> {
    /// Lets the source ask for the destination. A silent router stops no packet that is sent to its MAC nevertheless.
    pub(super) fn ask_arp(&mut self, port: PortId) {
        let Some(lan) = self.snapshot.lan(port) else {
            return;
        };
        let (source, destination) = (self.subject.from, self.subject.to);
        if !lan.is_on_link(destination) {
            let text = format!(
                "{destination} is not on {}: hosts send to their gateway",
                lan.name
            );
            return self.note(Stage::Arp, text);
        }
        if lan.address == Some(destination) {
            let text = format!("{destination} is this host's own: its kernel answers");
            return self.note(Stage::Arp, text);
        }
        let mut responder = ArpResponder::new();
        let sightings = self.router.foreign_answers.newest_first().into_iter();
        let mut claims = sightings.filter(|(address, ..)| *address == destination);
        if let Some((address, mac, sighting)) = claims.next() {
            responder.observe(address, mac, true, lan, sighting.last);
        }
        let request = ArpPacket::request(ANY_HOST, source, destination);
        match responder.answer(&request, lan, &self.snapshot.fib, self.now) {
            Ok(reply) => {
                let mac = mac_text(reply.sender_mac);
                let text = format!("who has {destination}? this router answers, with {mac}");
                self.pass(Stage::Arp, text);
            }
            Err(withheld) => {
                let (name, why) = (withheld.name(), withheld.text());
                let text = format!("who has {destination}? no answer from here ({name}): {why}");
                self.note(Stage::Arp, text);
            }
        }
    }
}

/// A locally administered MAC address that is not ours.
const ANY_HOST: Mac = [2, 0, 0, 0, 0, 0xff];
