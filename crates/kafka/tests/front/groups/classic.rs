//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::Duration;

use kafka_protocol::messages::*;
use tokio::time::{Instant, sleep};

use super::*;
use crate::client::node;

#[tokio::test]
async fn this_node_coordinates() {
    let node = node().await;
    let mut client = node.client().await;
    for version in 0..=6 {
        let mut request = FindCoordinatorRequest::default();
        match version {
            0..=3 => request.key = text("g"),
            _ => request.coordinator_keys = vec![text("g"), text("h"), text("")],
        }
        let answer = client.ask(version, &request).await;
        if version < 4 {
            let found = (answer.error_code, answer.node_id.0, answer.host.as_str(), answer.port);
            assert_eq!(found, (0, 1, "broker.example", 4711), "version {version}");
        } else {
            let found: Vec<_> = answer.coordinators.iter().map(|c| (c.key.as_str(), c.error_code, c.port)).collect();
            assert_eq!(found, [("g", 0, 4711), ("h", 0, 4711), ("", 24, -1)], "version {version}");
        }
    }
}

#[tokio::test]
async fn transactions_have_no_coordinator() {
    let node = node().await;
    let request = FindCoordinatorRequest::default().with_key(text("tx")).with_key_type(1);
    let answer = node.client().await.ask(3, &request).await;
    assert_eq!((answer.error_code, answer.node_id.0), (42, -1));
    assert!(answer.error_message.unwrap().contains("transactional.id"));
}

#[tokio::test]
async fn every_version_of_the_classic_protocol_joins_syncs_beats_and_leaves() {
    let node = node().await;
    let mut client = node.client().await;
    for version in 0..=9 {
        let id = format!("g{version}");
        let mut joined = client.ask(version, &join(&id, "")).await;
        if version >= 4 {
            assert_eq!((joined.error_code, joined.generation_id), (79, -1));
            joined = client.ask(version, &join(&id, &joined.member_id)).await;
        }
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "version {version}");
        assert_eq!((joined.protocol_name, joined.members.len()), (Some(text("range")), 1));
        let member = joined.member_id.as_str();
        assert_eq!((member, &joined.members[0].metadata), (joined.leader.as_str(), &subscription("t")));
        let mut request = sync(&id, member, 1, &[(member, "mine")]);
        if version < 5 {
            (request.protocol_type, request.protocol_name) = (None, None);
        }
        let synced = client.ask(version.min(5), &request).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"mine"[..]), "version {version}");
        let beat = HeartbeatRequest::default().with_group_id(group(&id)).with_generation_id(1);
        let beat = beat.with_member_id(text(member));
        assert_eq!(client.ask(version.min(4), &beat).await.error_code, 0);
        let mut request = LeaveGroupRequest::default().with_group_id(group(&id));
        match version {
            0..=2 => request.member_id = text(member),
            _ => request.members = vec![MemberIdentity::default().with_member_id(text(member))],
        }
        let left = client.ask(version.min(5), &request).await;
        assert_eq!((left.error_code, left.members.len()), (0, usize::from(version > 2)));
        assert_eq!(client.ask(version.min(4), &beat).await.error_code, 25);
    }
}

#[tokio::test]
async fn two_members_rebalance_and_hand_over() {
    let node = node().await;
    let (mut one, mut two) = (node.client().await, node.client().await);
    topic(&mut one, "t", 2).await;
    let begun = Instant::now();
    let (first, generation) = alone(&mut one, "g").await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!((generation, heartbeat(&mut one, "g", &first, 1).await), (1, 0));

    let (second, waits) = send_join(&mut two, "g").await;
    // The first learns of it from a heartbeat.
    while heartbeat(&mut one, "g", &first, 1).await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(heartbeat(&mut one, "g", &first, 1).await, 27);
    let leads = one.ask(9, &join("g", &first)).await;
    let follows = two.answer::<JoinGroupRequest>(9, waits).await;
    assert_eq!((leads.error_code, leads.generation_id, leads.members.len()), (0, 2, 2));
    assert_eq!((follows.error_code, follows.generation_id, follows.members.len()), (0, 2, 0));
    assert_eq!((leads.leader.as_str(), follows.leader.as_str()), (first.as_str(), first.as_str()));

    // The second waits for what the leader says.
    let waits = two.send(5, &sync("g", &second, 2, &[])).await;
    let synced = one.ask(5, &sync("g", &first, 2, &[(&first, "p0"), (&second, "p1")])).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"p0"[..]));
    let synced = two.answer::<SyncGroupRequest>(5, waits).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"p1"[..]));

    assert_eq!(committed(&mut one, 9, &commit("g", &first, 2, "t", &[(0, 5)])).await, [0]);
    assert_eq!(committed(&mut two, 9, &commit("g", &second, 2, "t", &[(1, 7)])).await, [0]);
    assert_eq!(committed(&mut one, 9, &commit("g", &first, 1, "t", &[(0, 4)])).await, [22], "the generation before");
    assert_eq!(committed(&mut one, 9, &commit("g", "who", 2, "t", &[(0, 4)])).await, [25]);
    let expected = vec![("t".to_owned(), 0, 5, 0), ("t".to_owned(), 1, 7, 0)];
    assert_eq!(fetch(&mut two, "g", Some(("t", &[0, 1]))).await, (0, expected));

    // The second goes on alone.
    assert_eq!(leave(&mut one, "g", &first).await, 0);
    assert_eq!(heartbeat(&mut one, "g", &first, 2).await, 25);
    assert_eq!(heartbeat(&mut two, "g", &second, 2).await, 27);
    let joined = two.ask(9, &join("g", &second)).await;
    assert_eq!((joined.error_code, joined.generation_id, joined.leader.as_str()), (0, 3, second.as_str()));
    assert_eq!((leave(&mut two, "g", &second).await, leave(&mut two, "g", &second).await), (0, 25));
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let node = node().await;
    let mut client = node.client().await;
    let code = |answer: JoinGroupResponse| answer.error_code;
    assert_eq!(code(client.ask(9, &join("", "")).await), 24);
    assert_eq!(code(client.ask(9, &join("g", "unknown")).await), 25);
    assert_eq!(code(client.ask(9, &join("g", "").with_session_timeout_ms(1)).await), 26);
    assert_eq!(code(client.ask(9, &join("g", "").with_session_timeout_ms(-1)).await), 26);
    assert_eq!(code(client.ask(9, &join("g", "").with_protocols(Vec::new())).await), 23);
    assert_eq!(client.ask(5, &sync("none", "m", 1, &[])).await.error_code, 25);
    assert_eq!(heartbeat(&mut client, "none", "m", 1).await, 25);
    assert_eq!(leave(&mut client, "none", "m").await, 25);
    let (member, generation) = alone(&mut client, "g").await;
    assert_eq!(heartbeat(&mut client, "g", &member, generation + 1).await, 22);
    let stranger = join("g", "").with_protocol_type(text("connect"));
    assert_eq!(code(client.ask(9, &stranger).await), 23);
}

#[tokio::test]
async fn a_member_that_falls_silent_is_taken_out() {
    let node = node().await;
    let (mut one, mut two) = (node.client().await, node.client().await);
    let first = one.ask(3, &join("g", "").with_session_timeout_ms(6_000)).await;
    let waits = two.send(3, &join("g", "")).await;
    let begun = Instant::now();
    // The first says nothing any more: neither does it join again.
    let joined = two.answer::<JoinGroupRequest>(3, waits).await;
    assert_eq!((first.generation_id, joined.generation_id, joined.members.len()), (1, 2, 1));
    assert!((5..12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_static_member_comes_back_without_a_rebalance() {
    let node = node().await;
    let mut client = node.client().await;
    let named = |member: &str| join("g", member).with_group_instance_id(Some(text("i")));
    let joined = client.ask(9, &named("")).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1), "its name is enough");
    let first = joined.member_id.to_string();
    assert!(first.starts_with("i-"));
    let mut request = sync("g", &first, 1, &[(&first, "all")]);
    request.group_instance_id = Some(text("i"));
    assert_eq!(client.ask(5, &request).await.error_code, 0);

    let again = client.ask(9, &named("")).await;
    assert_eq!((again.error_code, again.generation_id, again.skip_assignment), (0, 1, true));
    assert_ne!(again.member_id.as_str(), first);
    let mut old = HeartbeatRequest::default().with_group_id(group("g")).with_generation_id(1);
    old = old.with_member_id(text(&first)).with_group_instance_id(Some(text("i")));
    assert_eq!(client.ask(4, &old).await.error_code, 82);
}
