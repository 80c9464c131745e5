use std::time::Duration;

use lakebed_record::TopicPartition;

use super::{Assigned, Consumer, Member, State};
use crate::core::Core;

impl Member {
    /// Whether the member may still work on one of these. One that does not say what it has is taken to have all.
    fn may_own(partitions: &Assigned, owned: Option<&[TopicPartition]>) -> bool {
        !partitions.is_empty() && owned.is_none_or(|owned| owned.iter().any(|at| partitions.contains_key(at)))
    }

    pub(super) fn set_epoch(&mut self, epoch: i32) {
        if self.epoch != epoch {
            self.previous_epoch = self.epoch;
            self.epoch = epoch;
        }
    }
}

impl Consumer {
    /// Takes one member a step towards its target: first it gives up what is another's, then it moves to the target's epoch and gets what is
    /// free, then what others release. `owned` is what it says it has.
    pub(super) fn reconcile(
        &mut self,
        core: &mut Core,
        member_id: &str,
        owned: Option<&[TopicPartition]>,
        now: Duration,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        match member.state {
            State::Stable if member.epoch == self.target_epoch => return,
            State::Unrevoked if Member::may_own(&member.revoking, owned) => return,
            _ => {}
        }
        let before = (member.state, member.epoch, member.assigned.clone(), member.revoking.clone());
        let (mut assigned, excess): (Assigned, Assigned) =
            member.assigned.iter().map(|(at, epoch)| (*at, *epoch)).partition(|(at, _)| member.target.contains(at));
        self.holders.release(member_id, &member.assigned);
        self.holders.release(member_id, &member.revoking);
        if Member::may_own(&excess, owned) {
            member.state = State::Unrevoked;
            member.revoking = excess;
            member.revoke_by = Some(now.saturating_add(member.rebalance_timeout));
        } else {
            let wanted = member.target.iter().filter(|at| !assigned.contains_key(at));
            let (free, taken): (Vec<_>, Vec<_>) =
                wanted.copied().partition(|at| self.holders.is_free_for(member_id, at));
            assigned.extend(free.into_iter().map(|at| (at, self.target_epoch)));
            member.state = if taken.is_empty() { State::Stable } else { State::Unreleased };
            member.revoking.clear();
            member.revoke_by = None;
            member.set_epoch(self.target_epoch);
        }
        member.assigned = assigned;
        self.holders.take(member_id, &member.assigned);
        self.holders.take(member_id, &member.revoking);
        if before != (member.state, member.epoch, member.assigned.clone(), member.revoking.clone()) {
            core.out.changed();
        }
    }
}
