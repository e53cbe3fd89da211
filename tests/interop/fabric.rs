//! The fabric that all routers of a test share: keys, who reflects, who can be called.

use anyhow::Result;
use sam_wg::PrivateKey;

use crate::world::{GATEWAY, Place};

/// AS number of the fabric.
pub(crate) const ASN: u32 = 64577;

/// Keys and roles of all nodes.
pub(crate) struct Fabric {
    nodes: Vec<Node>,
    /// The route reflector; without one all peer with all.
    pub(crate) reflector: Option<Place>,
    /// Whether routes of IPv6 are exchanged.
    ipv6: bool,
}

struct Node {
    place: Place,
    key: PrivateKey,
    /// Whether others know its underlay address.
    callable: bool,
}

impl Fabric {
    /// Makes keys for nodes 1 to `count`; all of them can be called.
    pub(crate) fn new(count: u8, reflector: Option<Place>) -> Result<Self> {
        let node = |number| -> Result<Node> {
            Ok(Node {
                place: Place(number),
                key: PrivateKey::generate(random()?),
                callable: true,
            })
        };
        let nodes = (1..=count).map(node).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            nodes,
            reflector,
            ipv6: false,
        })
    }

    /// Has routes of IPv6 exchanged too.
    #[must_use]
    pub(crate) fn with_ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Keeps the underlay address of a node secret, so that only it can call.
    #[must_use]
    pub(crate) fn hide(mut self, place: Place) -> Self {
        for node in &mut self.nodes {
            node.callable &= node.place != place;
        }
        self
    }

    /// Lists all nodes but one.
    pub(crate) fn others(&self, place: Place) -> impl Iterator<Item = Place> {
        let places = self.nodes.iter().map(|node| node.place);
        places.filter(move |other| *other != place)
    }

    /// Tells whether others know the node's underlay address.
    pub(crate) fn is_callable(&self, place: Place) -> bool {
        self.nodes
            .iter()
            .any(|node| node.place == place && node.callable)
    }

    /// Returns a node's private key.
    pub(crate) fn key(&self, place: Place) -> &PrivateKey {
        &self.node(place).key
    }

    /// Returns a node's private key in base64.
    pub(crate) fn private_key(&self, place: Place) -> String {
        self.key(place).to_base64().to_string()
    }

    /// Returns a node's public key in base64.
    pub(crate) fn public_key(&self, place: Place) -> String {
        self.key(place).public().to_string()
    }

    /// Renders the part of samctl's configuration that all routers share.
    pub(crate) fn yaml(&self) -> String {
        let reflectors = self.reflector.map(Place::name).unwrap_or_default();
        let nodes: String = self.nodes.iter().map(|node| self.node_yaml(node)).collect();
        let ipv6 = if self.ipv6 {
            ", ipv6: [\"2001:db8::/32\"]"
        } else {
            ""
        };
        format!(
            "version: 1\nfabric:\n  name: interop\n  asn: {ASN}\n  pools:\n    - {{name: lan60, prefix: 10.77.60.0/24, \
             exclude: [{GATEWAY}]}}\n  bgp: {{timers: fast, routeReflectors: [{reflectors}]{ipv6}}}\n  nodes:\n{nodes}"
        )
    }

    fn node_yaml(&self, node: &Node) -> String {
        let Place(number) = node.place;
        let endpoint = if node.callable {
            format!("endpoint: \"{}:{WG_PORT}\", ", node.place.underlay())
        } else {
            String::new()
        };
        format!(
            "    - {{id: {number}, name: {name}, site: {name}, role: onprem, overlay: {overlay}, {endpoint}publicKey: \"{key}\"}}\n",
            name = node.place.name(),
            overlay = node.place.overlay(),
            key = self.public_key(node.place),
        )
    }

    fn node(&self, place: Place) -> &Node {
        let node = self.nodes.iter().find(|node| node.place == place);
        node.expect("tests ask for nodes of their fabric")
    }
}

/// Makes 32 random bytes.
pub(crate) fn random() -> Result<[u8; 32]> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// UDP port of WireGuard, in namespaces of the test's own.
pub(crate) const WG_PORT: u16 = 51820;
