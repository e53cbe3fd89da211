//! What tests do to a world: orders of operators, cables of hosts, death and return of routers.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_router::config::Config;
use sam_router::{Command, HostEvent, Input};

use crate::host::Host;
use crate::packet::Arp;
use crate::topology::{GATEWAY, LAN, UNDERLAY_MTU, node_id, router_mac, underlay};
use crate::world::World;

/// What a host remembers when its cable is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Nothing: its link was down.
    Forgotten,
    /// Everything: a virtual machine that moved while it ran.
    Kept,
}

/// How the MACs of [`World::storm`] begin.
pub(crate) const FORGED: [u8; 3] = [2, 0xf0, 0x9e];
/// The second byte of the MAC of a host that has the address of another one.
const DUPLICATE: u8 = 0xd0;

impl World {
    /// Hands an input to a router and lets everything that follows at once happen.
    pub fn input(&mut self, site: usize, input: Input<'_>) {
        self.sites[site].input(input, self.now);
        self.settle(site);
    }

    /// Applies a configuration to a running router.
    pub fn reload(&mut self, site: usize, config: Config) {
        let at = &mut self.sites[site];
        let former = std::mem::replace(&mut at.config, config.clone());
        for address in former.local.owned.difference(&config.local.owned) {
            at.told.remove(address);
        }
        for address in config.local.owned.difference(&former.local.owned) {
            at.told.insert(*address);
        }
        self.addresses.extend(&config.local.owned);
        self.truth_changed();
        self.input(site, Input::Config(Box::new(config)));
    }

    /// Owns an address at a site from now on, as `samctl announce` does.
    pub fn announce(&mut self, site: usize, address: Ipv4Addr) {
        self.sites[site].told.insert(address);
        self.addresses.insert(address);
        self.truth_changed();
        self.input(site, Input::Command(Command::Announce(address)));
    }

    /// Says that an address lives at a site, whoever found that out.
    pub fn believe(&mut self, site: usize, address: Ipv4Addr) {
        self.sites[site].told.insert(address);
        self.addresses.insert(address);
        self.truth_changed();
    }

    /// Says that an address does not live at a site any more.
    pub fn disbelieve(&mut self, site: usize, address: Ipv4Addr) {
        self.sites[site].told.remove(&address);
        self.addresses.insert(address);
        self.truth_changed();
    }

    /// Sends a frame on a LAN, whoever its sender is.
    pub fn shout(&mut self, site: usize, frame: Vec<u8>) {
        self.send_host_frame(site, false, frame);
    }

    /// Plugs another host with the address of one beside it, which announces itself.
    ///
    /// # Panics
    /// When no host has the address.
    pub fn duplicate(&mut self, address: Ipv4Addr) {
        let site = self.site_of(address).expect("the host is on a LAN");
        let mut hosts = self.sites[site].hosts.iter();
        let first = hosts.find(|host| host.address == address);
        let mut host = Host::new(address);
        host.mac[1] = DUPLICATE;
        host.island = first.expect("just found").island;
        let (island, announcement) = (host.island, host.announcement());
        self.plug(host, site);
        self.send_host_frame(site, island, announcement);
    }

    /// Removes all hosts that [`Self::duplicate`] plugged in with an address; tells whether there were any.
    pub fn remove_duplicates(&mut self, address: Ipv4Addr) -> bool {
        let mut found = false;
        for site in &mut self.sites {
            let before = site.hosts.len();
            let is_second = |host: &Host| host.address == address && host.mac[1] == DUPLICATE;
            site.hosts.retain(|host| !is_second(host));
            found |= site.hosts.len() < before;
        }
        found
    }

    /// Has hosts that do not exist claim addresses on a LAN, each with a MAC of its own: by question, announcement and reply to
    /// everybody. Who forges answers to questions that he does not see is believed (decision 0034).
    pub fn storm(&mut self, site: usize, addresses: impl Iterator<Item = Ipv4Addr>) {
        for (number, address) in (0_u16..).zip(addresses) {
            let [high, low] = number.to_be_bytes();
            let [first, second, third] = FORGED;
            let sender = ([first, second, third, 0, high, low], address);
            let mut frame = Arp::request(sender, address);
            match number % 3 {
                0 => {}
                1 => frame.target.1 = GATEWAY,
                _ => (frame.operation, frame.target) = (2, sender),
            }
            self.send_host_frame(site, false, frame.frame());
        }
    }

    /// Stops owning an address at a site, as `samctl withdraw` does.
    pub fn withdraw(&mut self, site: usize, address: Ipv4Addr) {
        self.sites[site].told.remove(&address);
        self.truth_changed();
        self.input(site, Input::Command(Command::Withdraw(address)));
    }

    /// Has a site give an address to another one, as `samctl handover` does.
    pub fn hand_over(&mut self, from: usize, address: Ipv4Addr, to: usize) {
        self.sites[from].told.remove(&address);
        self.sites[to].told.insert(address);
        self.truth_changed();
        let to = node_id(to);
        self.input(from, Input::Command(Command::Handover { address, to }));
    }

    /// Tells a router to stop in order; it goes on to run until it is killed.
    pub fn shutdown(&mut self, site: usize) {
        self.sites[site].stopping = true;
        self.truth_changed();
        self.input(site, Input::Command(Command::Shutdown));
    }

    /// Adds a host to a LAN.
    pub fn plug(&mut self, host: Host, site: usize) {
        self.sites[site].hosts.push(host);
    }

    /// Takes a host from its LAN.
    ///
    /// # Panics
    /// When the host is on no LAN.
    pub fn unplug(&mut self, address: Ipv4Addr) -> Host {
        let site = self.site_of(address).expect("the host is on a LAN");
        self.watch.on_left(address);
        let hosts = &mut self.sites[site].hosts;
        let at = hosts.iter().position(|host| host.address == address);
        hosts.remove(at.expect("just found"))
    }

    /// Moves a host's cable to another LAN; the routers are not told.
    pub fn replug(&mut self, address: Ipv4Addr, to: usize, cache: Cache) {
        let mut host = self.unplug(address);
        if cache == Cache::Forgotten {
            host.forget();
        }
        self.plug(host, to);
    }

    /// Lets a host probe for a conflict and announce itself on its LAN, as it may do when its link comes up.
    ///
    /// # Panics
    /// When the host is on no LAN.
    pub fn speak_up(&mut self, address: Ipv4Addr) {
        let site = self.site_of(address).expect("the host is on a LAN");
        let mut hosts = self.sites[site].hosts.iter();
        let host = hosts
            .find(|host| host.address == address)
            .expect("just found");
        let island = host.island;
        for frame in [host.conflict_probe(), host.announcement()] {
            self.send_host_frame(site, island, frame);
        }
    }

    /// Moves a host and its address: cable, announcement at the new site, withdrawal at the old one.
    pub fn move_host(&mut self, address: Ipv4Addr, from: usize, to: usize, cache: Cache) {
        self.replug(address, to, cache);
        self.announce(to, address);
        self.withdraw(from, address);
    }

    /// Connects a router to its LAN, or cuts it off.
    pub fn set_lan(&mut self, site: usize, up: bool) {
        self.sites[site].lan_up = up;
        self.truth_changed();
        let fact = self.lan_fact(site, up);
        self.input(site, Input::Host(fact));
    }

    /// Stops a router as an operator does: its role is handed over first; then its process ends.
    pub fn stop(&mut self, site: usize) {
        let now = self.now;
        self.sites[site].stop(now);
        self.settle(site);
    }

    /// Lets the process of a router stand still; what arrives meanwhile waits.
    pub fn freeze(&mut self, site: usize, time: Duration) {
        self.sites[site].frozen_until = self.now + time;
        self.truth_changed();
    }

    /// Cuts the islands of a LAN off from the rest of it, or joins them again.
    pub fn set_partition(&mut self, lan: usize, partitioned: bool) {
        if partitioned {
            self.partitioned.insert(lan);
            let routers = self.sites.iter().filter(|site| site.lan == lan);
            routers.for_each(|site| self.watch.on_cut_off(site.index));
        } else if self.partitioned.remove(&lan) {
            self.watch.on_healed(lan, self.now);
        }
        self.truth_changed();
    }

    /// Kills a router: its state is gone, what it had to keep is kept. [`Self::restart`] brings it back.
    pub fn kill(&mut self, site: usize) {
        self.sites[site].up = false;
        self.truth_changed();
    }

    /// Starts a killed router anew.
    pub fn restart(&mut self, site: usize) {
        self.sites[site].restart(&mut self.rng, self.now);
        self.truth_changed();
        self.introduce(site);
    }

    /// Cuts a site off from all others.
    pub fn isolate(&mut self, site: usize) {
        (0..self.sites.len()).for_each(|other| self.faults.cut(site, other));
    }

    /// Reconnects a site with all others.
    pub fn reconnect(&mut self, site: usize) {
        (0..self.sites.len()).for_each(|other| self.faults.heal(site, other));
    }

    /// Tells a router about its host.
    pub(crate) fn introduce(&mut self, site: usize) {
        let lan_up = self.sites[site].lan_up;
        let mut facts = vec![
            self.lan_fact(site, lan_up),
            HostEvent::Tun {
                index: 4,
                mtu: 1440,
            },
        ];
        let others = (0..self.sites.len()).filter(|other| *other != site);
        facts.extend(others.map(|other| HostEvent::Endpoint {
            node: node_id(other),
            address: underlay(other),
            interface: 0,
            underlay_mtu: UNDERLAY_MTU,
            into_tun: false,
        }));
        for fact in facts {
            self.input(site, Input::Host(fact));
        }
    }

    fn lan_fact(&self, site: usize, up: bool) -> HostEvent {
        let address = self.sites[site].lan_address;
        HostEvent::Lan {
            interface: LAN.to_owned(),
            index: 2,
            mac: router_mac(site),
            address: Some(ipnet::Ipv4Net::new_assert(address, 24)),
            mtu: 1500,
            up,
        }
    }
}
