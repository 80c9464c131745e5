use std::collections::BTreeMap;
use std::time::Duration;

use lakebed_record::{TopicId, TopicPartition};

use super::{Assigned, Consumer, Member, State, Subscription};
use crate::assignor::Assignor;
use crate::core::Core;
use crate::effect::Client;
use crate::persisted::{
    PersistedConsumer, PersistedConsumerMember, PersistedPartitions, PersistedState, PersistedTopic, RestoreError,
};

impl Consumer {
    pub fn to_persisted(&self) -> PersistedConsumer {
        let mut places = Places::default();
        self.topics.iter().for_each(|(topic, partitions)| {
            places.of(*topic);
            let last = places.list.len() - 1;
            places.list[last].partitions = Some(*partitions);
        });
        let members = self.members.iter().map(|(id, m)| m.to_persisted(id, &mut places)).collect();
        PersistedConsumer {
            target_epoch: self.target_epoch,
            assignor: self.assignor.name().into(),
            topics: places.list,
            members,
        }
    }

    /// Goes on where the last owner was: same epochs and partitions, every member with a full session before it.
    pub fn restore(persisted: PersistedConsumer, core: &Core, now: Duration) -> Result<Self, RestoreError> {
        let mut group = Self::new(core.generation);
        let mut topics = Vec::with_capacity(persisted.topics.len());
        for entry in &persisted.topics {
            let topic =
                TopicId::from_bytes(&entry.topic).ok_or(RestoreError::Invalid("a topic id has not 16 bytes"))?;
            topics.push(topic);
            group.topics.extend(entry.partitions.map(|n| (topic, n)));
        }
        group.target_epoch = persisted.target_epoch;
        group.assignor = Assignor::named(&persisted.assignor).ok_or(RestoreError::Invalid("an unknown assignor"))?;
        for member in persisted.members {
            let id = member.member_id.clone();
            let member = Member::restore(member, &topics, core, now)?;
            for held in [&member.assigned, &member.revoking] {
                if held.keys().any(|at| !group.holders.is_free_for(&id, at)) {
                    return Err(RestoreError::Invalid("two members have one partition"));
                }
                group.holders.take(&id, held);
            }
            if let Some(instance) = &member.instance_id
                && group.statics.insert(instance.clone(), id.clone()).is_some()
            {
                return Err(RestoreError::Invalid("two members have one group.instance.id"));
            }
            if group.members.insert(id, member).is_some() {
                return Err(RestoreError::Invalid("two members have one id"));
            }
        }
        Ok(group)
    }
}

impl Member {
    fn to_persisted(&self, id: &str, places: &mut Places) -> PersistedConsumerMember {
        let state = match self.state {
            State::Stable => PersistedState::Stable,
            State::Unrevoked => PersistedState::Unrevoked,
            State::Unreleased => PersistedState::Unreleased,
        };
        PersistedConsumerMember {
            member_id: id.into(),
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client.id.clone(),
            client_host: self.client.host.clone(),
            rebalance_timeout_ms: u64::try_from(self.rebalance_timeout.as_millis()).unwrap_or(u64::MAX),
            names: self.subscription.names.iter().cloned().collect(),
            regex: self.subscription.regex.clone(),
            server_assignor: self.server_assignor.map(|a| a.name().into()),
            epoch: self.epoch,
            previous_epoch: self.previous_epoch,
            state: state.into(),
            assigned: bundle(self.assigned.iter().map(|(at, epoch)| (*at, Some(*epoch))), places),
            revoking: bundle(self.revoking.iter().map(|(at, epoch)| (*at, Some(*epoch))), places),
            target: bundle(self.target.iter().map(|at| (*at, None)), places),
        }
    }

    fn restore(
        persisted: PersistedConsumerMember,
        topics: &[TopicId],
        core: &Core,
        now: Duration,
    ) -> Result<Self, RestoreError> {
        let state = match PersistedState::try_from(persisted.state) {
            Ok(PersistedState::Stable) => State::Stable,
            Ok(PersistedState::Unrevoked) => State::Unrevoked,
            Ok(PersistedState::Unreleased) => State::Unreleased,
            Err(_) => return Err(RestoreError::Invalid("an unknown member state")),
        };
        let rebalance_timeout = Duration::from_millis(persisted.rebalance_timeout_ms);
        Ok(Self {
            instance_id: persisted.instance_id,
            rack_id: persisted.rack_id,
            client: Client { id: persisted.client_id, host: persisted.client_host },
            rebalance_timeout,
            subscription: Subscription { names: persisted.names.into_iter().collect(), regex: persisted.regex },
            server_assignor: persisted.server_assignor.as_deref().and_then(Assignor::named),
            epoch: persisted.epoch,
            previous_epoch: persisted.previous_epoch,
            state,
            assigned: unbundle(&persisted.assigned, topics)?,
            revoking: unbundle(&persisted.revoking, topics)?,
            target: unbundle(&persisted.target, topics)?.into_keys().collect(),
            topics: None,
            session_end: now.saturating_add(core.config.consumer_session_timeout),
            revoke_by: (state == State::Unrevoked).then(|| now.saturating_add(rebalance_timeout)),
        })
    }
}

/// The list of topics that partitions are named by.
#[derive(Default)]
struct Places {
    list: Vec<PersistedTopic>,
    by_topic: BTreeMap<TopicId, u32>,
}

impl Places {
    fn of(&mut self, topic: TopicId) -> u32 {
        *self.by_topic.entry(topic).or_insert_with(|| {
            self.list.push(PersistedTopic { topic: topic.0.to_be_bytes().to_vec(), partitions: None });
            self.list.len() as u32 - 1
        })
    }
}

/// Partitions, which come in order, by topic.
fn bundle(
    partitions: impl Iterator<Item = (TopicPartition, Option<i32>)>,
    places: &mut Places,
) -> Vec<PersistedPartitions> {
    let mut bundles: Vec<PersistedPartitions> = Vec::new();
    for (at, epoch) in partitions {
        let topic = places.of(at.topic);
        if bundles.last().is_none_or(|b| b.topic != topic) {
            bundles.push(PersistedPartitions { topic, ..Default::default() });
        }
        if let Some(bundle) = bundles.last_mut() {
            bundle.partitions.push(at.partition.0);
            bundle.epochs.extend(epoch);
        }
    }
    for bundle in &mut bundles {
        if bundle.epochs.windows(2).all(|pair| pair[0] == pair[1]) {
            bundle.epochs.truncate(1);
        }
    }
    bundles
}

/// The inverse of [`bundle`]; 0 stands for an epoch that is not there.
fn unbundle(bundles: &[PersistedPartitions], topics: &[TopicId]) -> Result<Assigned, RestoreError> {
    let mut assigned = Assigned::new();
    for bundle in bundles {
        let topic =
            topics.get(bundle.topic as usize).ok_or(RestoreError::Invalid("a topic that is not in the list"))?;
        let epoch = |i: usize| match bundle.epochs.as_slice() {
            [] => Some(0),
            [one] => Some(*one),
            epochs => epochs.get(i).copied(),
        };
        for (i, partition) in bundle.partitions.iter().enumerate() {
            let epoch = epoch(i).ok_or(RestoreError::Invalid("fewer epochs than partitions"))?;
            assigned.insert(TopicPartition::new(*topic, *partition), epoch);
        }
    }
    Ok(assigned)
}
