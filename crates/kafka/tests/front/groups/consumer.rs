//! ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848).

use std::time::Duration;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::*;
use tokio::time::{Instant, sleep};

use super::*;
use crate::client::node;

fn beat(id: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    let request = ConsumerGroupHeartbeatRequest::default().with_group_id(group(id));
    request.with_member_id(text(member)).with_member_epoch(epoch).with_rebalance_timeout_ms(-1)
}

fn enter(id: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    let request = beat(id, member, 0).with_rebalance_timeout_ms(10_000);
    request.with_subscribed_topic_names(Some(vec![TopicName(text("t"))])).with_topic_partitions(Some(Vec::new()))
}

fn owning(
    mut request: ConsumerGroupHeartbeatRequest,
    topic: Uuid,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let owned = TopicPartitions::default().with_topic_id(topic).with_partitions(partitions.to_vec());
    request.topic_partitions = Some(vec![owned]);
    request
}

fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let mut all: Vec<_> =
        answer.assignment.as_ref()?.topic_partitions.iter().flat_map(|t| t.partitions.iter().copied()).collect();
    all.sort_unstable();
    Some(all)
}

#[tokio::test]
async fn a_second_member_takes_over_what_the_first_gives_back() {
    let node = node().await;
    let (mut one, mut two) = (node.client().await, node.client().await);
    let id = topic(&mut one, "t", 4).await;
    let first = one.ask(1, &enter("g", "m1")).await;
    assert_eq!((first.error_code, first.error_message.clone()), (0, None));
    assert_eq!((first.member_id.clone().unwrap().as_str(), first.heartbeat_interval_ms), ("m1", 1_000));
    assert_eq!(assigned(&first), Some(vec![0, 1, 2, 3]));
    let epoch = first.member_epoch;
    assert!(epoch > 0);
    let next = one.ask(1, &owning(beat("g", "m1", epoch), id, &[0, 1, 2, 3])).await;
    assert_eq!((next.error_code, next.member_epoch), (0, epoch));

    let begun = Instant::now();
    let second = two.ask(1, &enter("g", "m2")).await;
    assert_eq!((second.error_code, assigned(&second)), (0, Some(vec![])), "nothing is free yet");
    assert!(second.member_epoch > epoch);
    // The first is told what it keeps, and owns it.
    let kept = loop {
        let answer = one.ask(1, &owning(beat("g", "m1", epoch), id, &[0, 1, 2, 3])).await;
        assert_eq!(answer.error_code, 0);
        if let Some(kept) = assigned(&answer) {
            break kept;
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(kept.len(), 2);
    let given = one.ask(1, &owning(beat("g", "m1", epoch), id, &kept)).await;
    assert_eq!((given.error_code, given.member_epoch), (0, second.member_epoch));
    let got = two.ask(1, &owning(beat("g", "m2", second.member_epoch), id, &[])).await;
    let taken = assigned(&got).unwrap();
    assert_eq!((taken.len(), taken.iter().any(|p| kept.contains(p))), (2, false));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    // Commits name the member's epoch.
    let now = second.member_epoch;
    let mut request = commit("g", "m1", now, "t", &[(kept[0], 11)]);
    assert_eq!(committed_by_id(&mut one, &request, id).await, [0]);
    request.generation_id_or_member_epoch = now + 5;
    assert_eq!(committed_by_id(&mut one, &request, id).await, [113]);
    let asked =
        OffsetFetchRequestTopics::default().with_name(TopicName(text("t"))).with_partition_indexes(vec![kept[0]]);
    let asked = OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(Some(vec![asked]));
    let of = |member: &str, epoch| {
        let asked = asked.clone().with_member_id(Some(text(member))).with_member_epoch(epoch);
        OffsetFetchRequest::default().with_groups(vec![asked])
    };
    let answer = one.ask_by_id(10, &of("m1", now), "t", id).await;
    assert_eq!((answer.groups[0].error_code, answer.groups[0].topics[0].partitions[0].committed_offset), (0, 11));
    assert_eq!(one.ask(9, &of("who", now)).await.groups[0].error_code, 25);
    assert_eq!(one.ask(9, &of("m1", now + 1)).await.groups[0].error_code, 113);

    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g"), group("none")]);
    let answer = two.ask(1, &request).await;
    let described = &answer.groups[0];
    assert_eq!((described.error_code, described.assignor_name.as_str()), (0, "uniform"));
    assert_eq!((described.group_epoch, described.assignment_epoch, described.members.len()), (now, now, 2));
    let member = described.members.iter().find(|m| m.member_id.as_str() == "m1").unwrap();
    assert_eq!(
        (member.client_id.as_str(), member.client_host.as_str(), member.member_epoch),
        ("test", "/127.0.0.1", now)
    );
    assert_eq!(member.target_assignment.topic_partitions[0].topic_name.as_str(), "t");
    assert_eq!(member.subscribed_topic_names, [TopicName(text("t"))]);
    assert_eq!((answer.groups[1].error_code, answer.groups[1].group_id.as_str()), (69, "none"));

    // One leaves: the other gets all of it.
    let left = one.ask(1, &beat("g", "m1", -1)).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    let got = loop {
        let answer = two.ask(1, &owning(beat("g", "m2", now), id, &taken)).await;
        assert_eq!(answer.error_code, 0);
        match assigned(&answer) {
            Some(all) if all.len() == 4 => break all,
            _ => sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(got, [0, 1, 2, 3]);
}

#[tokio::test]
async fn what_is_wrong_is_explained() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t", 1).await;
    // Version 0 is given an id.
    let given = client.ask(0, &enter("g", "")).await;
    assert_eq!((given.error_code, given.member_id.unwrap().len()), (0, 36));
    let mut refused = async |request: ConsumerGroupHeartbeatRequest| {
        let answer = client.ask(1, &request).await;
        assert!(answer.error_message.is_some_and(|reason| !reason.is_empty()));
        answer.error_code
    };
    assert_eq!(refused(enter("", "m")).await, 24);
    assert_eq!(refused(enter("g", "")).await, 42, "from version 1 the client has one");
    assert_eq!(refused(beat("none", "m", 3)).await, 25);
    assert_eq!(refused(beat("g", "m", 3)).await, 25);
    assert_eq!(refused(enter("g", "m").with_server_assignor(Some(text("sticky")))).await, 112);
    assert_eq!(refused(enter("g", "m").with_subscribed_topic_regex(Some(text("(")))).await, 128);

    let joined = client.ask(9, &join("g", "")).await;
    assert_eq!(joined.error_code, 23, "the group is not a classic one");
    alone(&mut client, "classic").await;
    let answer = client.ask(1, &enter("classic", "m")).await;
    assert_eq!(answer.error_code, 69);
    let answer = client.ask(1, &ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("classic")])).await;
    assert_eq!(answer.groups[0].error_code, 69);
    assert!(answer.groups[0].error_message.as_ref().unwrap().contains("not a consumer group"));
}
