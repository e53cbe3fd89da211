//! WireGuard against wireguard-go: who calls, preshared keys, new sessions, roaming, wrong keys.
//!
//! BIRD announces wireguard-go's client, so that packets of clients pass through the tunnel; its session is also a
//! witness for whether the tunnel was ever interrupted for long.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sam_net::Netlink;

use crate::daemon::{Announcement, Daemon, Kind, Setup};
use crate::fabric::{Fabric, WG_PORT, random};
use crate::kernel_host::KernelHost;
use crate::router::Router;
use crate::scratch::Scratch;
use crate::traffic::{bulk, ping};
use crate::wait::{eventually, within};
use crate::world::{Place, World, network};

/// samctl.
const OURS: Place = Place(1);
/// wireguard-go.
const THEIRS: Place = Place(2);

/// A tunnel between samctl and wireguard-go, with a client at each end.
struct Tunnel {
    world: World,
    fabric: Fabric,
    ours: Router,
    _bird: Box<dyn Daemon>,
    theirs: KernelHost,
}

/// Who can call whom, and the preshared keys of both ends.
struct Ends {
    hidden: Option<Place>,
    our_preshared: Option<PathBuf>,
    their_preshared: Option<PathBuf>,
}

/// samctl calls: wireguard-go does not know where it is.
pub(crate) fn we_call(scratch: &Scratch) -> Result<()> {
    let mut ends = Ends::open();
    ends.hidden = Some(OURS);
    Tunnel::start(&ends, scratch)?.carries_data_both_ways()
}

/// wireguard-go calls: samctl does not know where it is.
pub(crate) fn they_call(scratch: &Scratch) -> Result<()> {
    let mut ends = Ends::open();
    ends.hidden = Some(THEIRS);
    Tunnel::start(&ends, scratch)?.carries_data_both_ways()
}

/// As [`we_call`], with a preshared key.
pub(crate) fn we_call_with_preshared_key(scratch: &Scratch) -> Result<()> {
    let mut ends = Ends::preshared(scratch)?;
    ends.hidden = Some(OURS);
    let tunnel = Tunnel::start(&ends, scratch)?;
    ensure!(tunnel.ours.tunnel(THEIRS)?["preshared_key"] == true);
    tunnel.carries_data_both_ways()
}

/// As [`they_call`], with a preshared key.
pub(crate) fn they_call_with_preshared_key(scratch: &Scratch) -> Result<()> {
    let mut ends = Ends::preshared(scratch)?;
    ends.hidden = Some(THEIRS);
    let tunnel = Tunnel::start(&ends, scratch)?;
    ensure!(tunnel.ours.tunnel(THEIRS)?["preshared_key"] == true);
    tunnel.carries_data_both_ways()
}

/// wireguard-go forgets us and is told anew: it calls, and its session replaces ours.
pub(crate) fn their_new_session_is_taken(scratch: &Scratch) -> Result<()> {
    let tunnel = Tunnel::start(&Ends::open(), scratch)?;
    let before = tunnel.handshakes()?;

    tunnel.theirs.remove_peer(&tunnel.fabric, OURS)?;
    tunnel.theirs.add_peer(&tunnel.fabric, OURS)?;

    eventually("clients reach each other by a new session", || {
        tunnel.ping_both_ways()?;
        ensure!(tunnel.handshakes()? > before, "no new handshake");
        Ok(())
    })
}

/// wireguard-go forgets our session and cannot call: samctl notices that no answer comes (WireGuard paper
/// section 6.2, 15 s) and calls by itself.
pub(crate) fn we_call_again_when_no_answer_comes(scratch: &Scratch) -> Result<()> {
    let tunnel = Tunnel::start(&Ends::open(), scratch)?;
    let before = tunnel.handshakes()?;

    tunnel.theirs.remove_peer(&tunnel.fabric, OURS)?;
    tunnel.theirs.add_peer_at(&tunnel.fabric, OURS, None)?;

    within(NO_ANSWER, "samctl calls again", || {
        tunnel.ping_both_ways()?;
        ensure!(tunnel.handshakes()? > before, "no new handshake");
        Ok(())
    })
}

/// samctl does not answer for a while, although it has the session: wireguard-go calls, and the session is renewed.
pub(crate) fn they_call_again_when_no_answer_comes(scratch: &Scratch) -> Result<()> {
    let tunnel = Tunnel::start(&Ends::open(), scratch)?;
    let before = (tunnel.handshakes()?, tunnel.their_handshake()?);
    let (near, far) = (tunnel.world.site(OURS)?, tunnel.world.site(THEIRS)?);
    let log = scratch.path(&format!("{}-wireguard-go.log", THEIRS.name()));

    tunnel.ours.freeze()?;
    within(NO_ANSWER, "wireguard-go notices", || {
        ensure!(ping(far, near).is_err(), "samctl answers");
        let said = std::fs::read_to_string(&log)?;
        ensure!(said.contains("stopped hearing back"), "not yet");
        Ok(())
    })?;
    tunnel.ours.thaw()?;

    eventually("clients reach each other by a new session", || {
        tunnel.ping_both_ways()?;
        let after = (tunnel.handshakes()?, tunnel.their_handshake()?);
        ensure!(after.0 > before.0 && after.1 > before.1, "{after:?}");
        Ok(())
    })?;
    let row = tunnel.ours.tunnel(THEIRS)?;
    ensure!(row["up"] == true, "{row}");
    Ok(())
}

/// A session is renewed after 120 s under traffic, without a lost packet.
pub(crate) fn sessions_are_renewed_under_traffic(scratch: &Scratch) -> Result<()> {
    let tunnel = Tunnel::start(&Ends::open(), scratch)?;
    let before = tunnel.handshakes()?;
    let end = Instant::now() + REKEY_AFTER_TIME + Duration::from_secs(15);
    let mut pings = 0;
    while Instant::now() < end {
        tunnel
            .ping_both_ways()
            .with_context(|| format!("after {pings} pings"))?;
        pings += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(tunnel.handshakes()? > before, "no new handshake");
    Ok(())
}

/// wireguard-go's port changes, as behind a NAT that forgot: samctl follows.
pub(crate) fn we_follow_a_roaming_peer(scratch: &Scratch) -> Result<()> {
    let tunnel = Tunnel::start(&Ends::open(), scratch)?;
    let roams = tunnel.ours.tunnel(THEIRS)?["roams"].as_u64();

    tunnel.theirs.wg(&["set", "wg0", "listen-port", "40404"])?;

    let moved = SocketAddr::from((THEIRS.underlay(), 40404));
    eventually("samctl follows the new port", || {
        tunnel.ping_both_ways()?;
        let row = tunnel.ours.tunnel(THEIRS)?;
        ensure!(row["endpoint"] == moved.to_string(), "{}", row["endpoint"]);
        ensure!(row["roams"].as_u64() > roams, "not counted");
        Ok(())
    })?;
    tunnel.session_lived_on()
}

/// Our WAN address changes: wireguard-go follows, because samctl goes on sending from the new one.
pub(crate) fn a_peer_follows_us_when_we_roam(scratch: &Scratch) -> Result<()> {
    let tunnel = Tunnel::start(&Ends::open(), scratch)?;
    let new = Ipv4Addr::new(203, 0, 113, 99);

    tunnel.world.site(OURS)?.router.enter(|| -> Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link("wan0")?.index;
        // In this order: with the first address of a subnet the kernel takes the others away too.
        netlink.remove_address(index, network(OURS.underlay(), 24))?;
        netlink.add_address(index, network(new, 24))?;
        Ok(())
    })??;

    let moved = SocketAddr::from((new, WG_PORT));
    eventually("wireguard-go follows the new address", || {
        tunnel.ping_both_ways()?;
        let peer = tunnel.theirs.peer(&tunnel.fabric, OURS)?;
        ensure!(peer.endpoint == Some(moved), "{peer:?}");
        Ok(())
    })?;
    tunnel.session_lived_on()
}

/// Preshared keys differ: no session, and the reason is counted.
pub(crate) fn a_wrong_preshared_key_is_refused(scratch: &Scratch) -> Result<()> {
    let mut ends = Ends::preshared(scratch)?;
    ends.their_preshared = Ends::preshared(scratch)?.their_preshared;
    ends.hidden = Some(OURS);
    let (world, fabric) = (World::build(2)?, Fabric::new(2, None)?.hide(OURS));
    let theirs = ends.start_theirs(&world, &fabric, scratch)?;
    let ours = ends.start_ours(&world, &fabric, scratch)?;

    eventually("refused handshakes are counted", || {
        ensure!(ours.drops("wg-handshake-rejected")? >= 2, "not counted");
        Ok(())
    })?;

    ensure!(theirs.peer(&fabric, OURS)?.handshake == 0);
    let row = ours.tunnel(THEIRS)?;
    ensure!(row["up"] == false && row["handshakes"] == 0, "{row}");
    let (near, far) = (world.site(OURS)?, world.site(THEIRS)?);
    ensure!(ping(near, far).is_err() && ping(far, near).is_err());
    Ok(())
}

/// A key that the fabric does not know: no session, and the reason is counted.
pub(crate) fn an_unknown_key_is_refused(scratch: &Scratch) -> Result<()> {
    let ends = Ends::open();
    let world = World::build(2)?;
    let fabric = Fabric::new(2, None)?.hide(THEIRS);
    let theirs = ends.start_theirs(&world, &fabric, scratch)?;
    let ours = ends.start_ours(&world, &fabric, scratch)?;
    let stranger = Fabric::new(2, None)?.private_key(THEIRS);
    let file = scratch.write("stranger.key", &stranger)?;

    let file = file.display().to_string();
    theirs.wg(&["set", "wg0", "private-key", &file])?;

    let far = world.site(THEIRS)?;
    eventually("refused handshakes are counted", || {
        ping(far, world.site(OURS)?).ok();
        let (invalid, unknown) = (
            ours.drops("wg-handshake-rejected")?,
            ours.drops("wg-unknown-peer")?,
        );
        ensure!(invalid + unknown >= 1, "not counted");
        Ok(())
    })?;
    ensure!(ours.tunnel(THEIRS)?["up"] == false);
    Ok(())
}

impl Ends {
    fn open() -> Self {
        Self {
            hidden: None,
            our_preshared: None,
            their_preshared: None,
        }
    }

    fn preshared(scratch: &Scratch) -> Result<Self> {
        let key = sam_wg::PrivateKey::generate(random()?).to_base64();
        let name = format!("{}.psk", &key[..6].replace('/', "_"));
        let file = scratch.write(&name, &key)?;
        Ok(Self {
            hidden: None,
            our_preshared: Some(file.clone()),
            their_preshared: Some(file),
        })
    }

    fn start_ours(&self, world: &World, fabric: &Fabric, scratch: &Scratch) -> Result<Router> {
        let preshared = self.our_preshared.as_deref();
        Router::start(world.site(OURS)?, fabric, scratch, preshared)
    }

    fn start_theirs(
        &self,
        world: &World,
        fabric: &Fabric,
        scratch: &Scratch,
    ) -> Result<KernelHost> {
        let preshared = self.their_preshared.as_deref();
        KernelHost::start(world.site(THEIRS)?, fabric, scratch, preshared)
    }
}

impl Tunnel {
    /// Starts both ends, and waits until the clients reach each other.
    fn start(ends: &Ends, scratch: &Scratch) -> Result<Self> {
        let world = World::build(2)?;
        let mut fabric = Fabric::new(2, None)?;
        if let Some(hidden) = ends.hidden {
            fabric = fabric.hide(hidden);
        }
        let theirs = ends.start_theirs(&world, &fabric, scratch)?;
        let mut bird = Kind::Bird.start(&Setup {
            namespace: world.site(THEIRS)?.router.clone(),
            folder: scratch.subfolder("bird")?,
            log: scratch.path("bird.log"),
            own: THEIRS,
            neighbors: vec![OURS],
            reflector: false,
            graceful: false,
            restarted: false,
            add_path: false,
            ipv6: false,
        })?;
        bird.announce(&Announcement::claim(THEIRS, u32::from(THEIRS.0)))?;
        let tunnel = Self {
            ours: ends.start_ours(&world, &fabric, scratch)?,
            world,
            fabric,
            _bird: bird,
            theirs,
        };
        eventually("clients reach each other", || tunnel.ping_both_ways())?;
        Ok(tunnel)
    }

    fn ping_both_ways(&self) -> Result<()> {
        let (near, far) = (self.world.site(OURS)?, self.world.site(THEIRS)?);
        ping(near, far)?;
        ping(far, near)
    }

    /// Pings, 20 MB each way, and both ends' words about the session.
    fn carries_data_both_ways(&self) -> Result<()> {
        let (near, far) = (self.world.site(OURS)?, self.world.site(THEIRS)?);
        bulk(near, far, BULK_BYTES).context("from us to them")?;
        bulk(far, near, BULK_BYTES).context("from them to us")?;
        let row = self.ours.tunnel(THEIRS)?;
        ensure!(row["up"] == true && self.handshakes()? >= 1, "{row}");
        let peer = self.theirs.peer(&self.fabric, OURS)?;
        ensure!(peer.handshake > 0, "{peer:?}");
        let expected = SocketAddr::new(IpAddr::V4(OURS.underlay()), WG_PORT);
        ensure!(peer.endpoint == Some(expected), "{peer:?}");
        self.session_lived_on()
    }

    fn handshakes(&self) -> Result<u64> {
        let row = self.ours.tunnel(THEIRS)?;
        row["handshakes"].as_u64().context("no count")
    }

    /// When the newest handshake was, by wireguard-go's clock.
    fn their_handshake(&self) -> Result<u64> {
        Ok(self.theirs.peer(&self.fabric, OURS)?.handshake)
    }

    /// The BGP session over the tunnel was never lost.
    fn session_lived_on(&self) -> Result<()> {
        let view = self.ours.neighbor(THEIRS)?;
        if view["state"] != "established" || view["established_count"] != 1 {
            bail!("the session was lost: {}", view["last_down"]);
        }
        Ok(())
    }
}

const BULK_BYTES: usize = 20_000_000;
/// WireGuard paper, section 6.1.
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// 15 s until either side gives up on an answer, and the time of a BGP session to come back.
const NO_ANSWER: Duration = Duration::from_secs(45);
