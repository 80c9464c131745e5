//! DescribeGroups, ListGroups, DeleteGroups.

use kafka_protocol::messages::*;

use super::*;
use crate::client::node;

async fn describe(client: &mut Client, version: i16, ids: &[&str]) -> DescribeGroupsResponse {
    let request = DescribeGroupsRequest::default().with_groups(ids.iter().map(|id| group(id)).collect());
    client.ask(version, &request).await
}

/// Id, protocol type, state and type of each, by id.
async fn list(client: &mut Client, states: &[&str], types: &[&str]) -> Vec<[String; 4]> {
    let texts = |all: &[&str]| all.iter().map(|one| text(one)).collect();
    let request = ListGroupsRequest::default().with_states_filter(texts(states)).with_types_filter(texts(types));
    let answer = client.ask(5, &request).await;
    assert_eq!(answer.error_code, 0);
    let groups = answer.groups.iter();
    let mut groups: Vec<_> = groups
        .map(|g| [g.group_id.as_str(), &g.protocol_type, &g.group_state, &g.group_type].map(str::to_owned))
        .collect();
    groups.sort();
    groups
}

#[tokio::test]
async fn groups_are_described() {
    let node = node().await;
    let mut client = node.client().await;
    let (member, _) = alone(&mut client, "g").await;
    for version in 0..=6 {
        let answer = describe(&mut client, version, &["g", "none"]).await;
        let g = &answer.groups[0];
        assert_eq!((g.error_code, g.group_state.as_str(), g.protocol_type.as_str()), (0, "Stable", "consumer"));
        assert_eq!((g.protocol_data.as_str(), g.authorized_operations), ("range", i32::MIN));
        let m = &g.members[0];
        let is = (m.member_id.as_str(), m.client_id.as_str(), m.client_host.as_str());
        assert_eq!(is, (member.as_str(), "test", "/127.0.0.1"));
        assert_eq!((&m.member_metadata, &m.member_assignment[..]), (&subscription("t"), &b"all"[..]));
        let none = &answer.groups[1];
        let code = if version < 6 { 0 } else { 69 };
        assert_eq!((none.error_code, none.group_state.as_str()), (code, "Dead"), "version {version}");
        assert_eq!(none.error_message.is_some(), version >= 6);
    }
    // Twice the same is answered once.
    assert_eq!(describe(&mut client, 6, &["g", "g"]).await.groups.len(), 1);
    assert_eq!(describe(&mut client, 6, &[""]).await.groups[0].error_code, 24);
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t", 1).await;
    alone(&mut client, "live").await;
    committed(&mut client, 9, &commit("simple", "", -1, "t", &[(0, 1)])).await;
    let enter = ConsumerGroupHeartbeatRequest::default().with_group_id(group("new")).with_member_id(text("m"));
    let enter = enter.with_rebalance_timeout_ms(1_000).with_topic_partitions(Some(Vec::new()));
    let enter = enter.with_subscribed_topic_names(Some(vec![TopicName(text("t"))]));
    assert_eq!(client.ask(1, &enter).await.error_code, 0);
    let row = |row: [&str; 4]| row.map(str::to_owned);
    let live = row(["live", "consumer", "Stable", "classic"]);
    let simple = row(["simple", "", "Empty", "classic"]);
    let all = list(&mut client, &[], &[]).await;
    assert_eq!((all.len(), &all[0], &all[2]), (3, &live, &simple));
    assert_eq!((all[1][0].as_str(), all[1][1].as_str(), all[1][3].as_str()), ("new", "consumer", "consumer"));
    assert_eq!(list(&mut client, &["empty"], &[]).await, std::slice::from_ref(&simple));
    assert_eq!(list(&mut client, &[], &["Classic"]).await, [live, simple]);
    assert_eq!(list(&mut client, &["Dead"], &[]).await.len(), 0);
    for version in 0..=4 {
        assert_eq!(client.ask(version, &ListGroupsRequest::default()).await.groups.len(), 3);
    }
}

#[tokio::test]
async fn only_empty_groups_are_deleted() {
    let node = node().await;
    let mut client = node.client().await;
    topic(&mut client, "t", 1).await;
    let (member, generation) = alone(&mut client, "g").await;
    assert_eq!(committed(&mut client, 9, &commit("g", &member, generation, "t", &[(0, 5)])).await, [0]);
    for version in 0..=2 {
        let groups = vec![group("g"), group("none"), group("")];
        let answer = client.ask(version, &DeleteGroupsRequest::default().with_groups_names(groups)).await;
        assert_eq!(answer.results.iter().map(|r| r.error_code).collect::<Vec<_>>(), [68, 69, 24]);
    }
    assert_eq!(leave(&mut client, "g", &member).await, 0);
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group("g")]);
    assert_eq!(client.ask(2, &request).await.results[0].error_code, 0);
    assert_eq!(fetch(&mut client, "g", None).await, (0, vec![]));
    assert_eq!(client.ask(2, &request).await.results[0].error_code, 69);
    assert_eq!(list(&mut client, &[], &[]).await.len(), 0);
    // And may come again.
    alone(&mut client, "g").await;
}
