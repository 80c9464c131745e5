//! Where a consumer group is served (section 8 of the design): by the node that holds its claim, as long as that is not down or silent;
//! else by whoever claims it. Pure.

use std::time::Duration;

use lakebed_record::{GroupClaim, GroupKey, Incarnation};

use crate::hash;

/// An owner from which nothing was heard for so long has lost its claim to whoever asks for it.
pub const SILENT: Duration = Duration::from_secs(15);
/// The same for an owner that told clients the address that this node tells: most likely what ran here before a crash.
pub const FORMER_SELF_SILENT: Duration = Duration::from_secs(2);

/// A node that is not down, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub incarnation: Incarnation,
    /// For how long it has provably committed nothing.
    pub silent: Duration,
    pub has_my_address: bool,
}

impl Peer {
    fn is_gone(&self) -> bool {
        self.silent >= if self.has_my_address { FORMER_SELF_SILENT } else { SILENT }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This node holds the claim.
    Mine(GroupClaim),
    /// Nobody does who is there; a claim must name this epoch (0: none).
    Claimable(u64),
    Other(Incarnation),
}

/// `owner`: the holder of the claim, unless it is down.
pub fn place(claim: Option<GroupClaim>, me: Incarnation, owner: Option<Peer>) -> Place {
    match (claim, owner) {
        (None, _) => Place::Claimable(0),
        (Some(claim), _) if claim.owner == me => Place::Mine(claim),
        (Some(claim), Some(owner)) if !owner.is_gone() => Place::Other(claim.owner),
        (Some(claim), _) => Place::Claimable(claim.epoch),
    }
}

/// The node that an unclaimed group should have, of this node and those that are heard of: rendezvous hashing, so that all who see the same nodes
/// choose alike and few groups move when one comes or goes.
pub fn rendezvous(group: &GroupKey, me: Incarnation, peers: impl Iterator<Item = Peer>) -> Incarnation {
    let others = peers.filter(|p| p.incarnation != me && !p.has_my_address && p.silent < SILENT).map(|p| p.incarnation);
    others.chain([me]).max_by_key(|node| weight(group, *node)).unwrap_or(me)
}

fn weight(group: &GroupKey, node: Incarnation) -> u64 {
    let text = group.namespace.as_str().bytes().chain([0]).chain(group.id.as_str().bytes());
    hash::mix(hash::fnv(text.chain(node.0.to_le_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Incarnation = Incarnation(1);
    const OTHER: Incarnation = Incarnation(2);

    fn peer(incarnation: Incarnation, silent: u64) -> Peer {
        Peer { incarnation, silent: Duration::from_secs(silent), has_my_address: false }
    }

    #[test]
    fn a_claim_holds_until_its_owner_is_down_or_silent() {
        let claim = |owner| Some(GroupClaim { epoch: 7, owner });
        assert_eq!(place(None, ME, None), Place::Claimable(0));
        assert_eq!(place(claim(ME), ME, None), Place::Mine(GroupClaim { epoch: 7, owner: ME }));
        assert_eq!(place(claim(OTHER), ME, Some(peer(OTHER, 14))), Place::Other(OTHER));
        assert_eq!(place(claim(OTHER), ME, Some(peer(OTHER, 15))), Place::Claimable(7));
        assert_eq!(place(claim(OTHER), ME, None), Place::Claimable(7), "it is down");
        let former = Peer { has_my_address: true, ..peer(OTHER, 2) };
        assert_eq!(place(claim(OTHER), ME, Some(former)), Place::Claimable(7));
    }

    #[test]
    fn unclaimed_groups_spread_and_stay() {
        let groups: Vec<_> = (0..3_000).filter_map(|n| GroupKey::parse("default", &format!("g{n}"))).collect();
        let nodes = [peer(ME, 0), peer(OTHER, 0), peer(Incarnation(3), 0)];
        let count = |node| groups.iter().filter(|g| rendezvous(g, ME, nodes.iter().copied()) == node).count();
        for node in [ME, OTHER, Incarnation(3)] {
            assert!((800..1_200).contains(&count(node)), "{}", count(node));
        }
        for group in &groups {
            let three = rendezvous(group, ME, nodes.iter().copied());
            assert_eq!(three, rendezvous(group, OTHER, nodes.iter().copied()), "all choose alike");
            let two = rendezvous(group, ME, nodes[..2].iter().copied());
            assert!(three == two || three == Incarnation(3), "only what the third had moves");
        }
        assert_eq!(rendezvous(&groups[0], ME, [peer(OTHER, 20)].into_iter()), ME);
    }
}
