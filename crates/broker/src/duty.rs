//! Which node does what is one node's to do.

use lakebed_manifest::{Manifest, State};

/// The node that the state says, which stays the same while several of them commit; while none does, the last author.
/// Two may believe it at once, which is safe and only waste.
pub(crate) fn is_ours(manifest: &Manifest) -> bool {
    let status = manifest.status();
    if status.in_doubt {
        return false;
    }
    match manifest.read(State::duty_node) {
        Some(node) => node == manifest.incarnation(),
        None => status.last_author,
    }
}
