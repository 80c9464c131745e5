use std::time::Duration;

use super::{Classic, Phase};
use crate::GroupError;
use crate::core::Core;
use crate::effect::{JoinFeatures, JoinRequest, LeaderAssigns, Reply, Token};

impl Classic {
    /// KIP-345: a static member comes back under a new member id and takes the old one's place and assignment. As long as the group
    /// would speak the same protocol, nobody else hears of it.
    pub(super) fn replace_static(
        &mut self,
        core: &mut Core,
        token: Token,
        old_id: &str,
        new_id: String,
        request: JoinRequest,
        now: Duration,
    ) {
        let features = request.features;
        self.update(core, old_id, request, GroupError::FencedInstanceId);
        let Some(member) = self.members.remove(old_id) else { return };
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        let led = self.leader.as_deref() == Some(old_id);
        if led {
            self.leader = Some(new_id.clone());
        }
        if self.phase != Phase::Stable || self.select_protocol() != self.protocol {
            self.await_join(&new_id, token);
            return self.rebalance(core, now);
        }
        core.out.changed();
        self.touch(core, &new_id, now);
        let mut reply = self.joined(core, &new_id, LeaderAssigns::Skips);
        if led && features < JoinFeatures::SkipAssignment {
            // An older client that hears that it leads would assign anew; told of its former self, it follows.
            reply.leader = old_id.into();
            reply.members.clear();
            reply.leader_assigns = LeaderAssigns::Yes;
        }
        core.out.reply_when_written(token, &new_id, Reply::Join(Ok(reply)));
    }
}
