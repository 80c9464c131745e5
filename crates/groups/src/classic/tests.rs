use std::time::Duration;

use bytes::Bytes;

use crate::testing::{Bench, client, protocol, secs};
use crate::*;

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn request(member_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: member_id.into(),
        instance_id: None,
        client: client("c"),
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", "r")],
        session_timeout: secs(10),
        rebalance_timeout: secs(30),
        features: JoinFeatures::SkipAssignment,
        fresh: "0".into(),
    }
}

fn named(instance: &str, fresh: &str) -> JoinRequest {
    JoinRequest { instance_id: Some(instance.into()), fresh: fresh.into(), ..request("") }
}

fn member(member_id: &str, generation: i32) -> MemberRef {
    MemberRef { member_id: member_id.into(), instance_id: None, generation }
}

impl Bench {
    fn ask(&mut self, request: JoinRequest) -> Token {
        let token = self.token();
        let effects = self.group.join(token, request, self.now);
        self.run(effects);
        token
    }

    /// A new dynamic member: first its id, then the question that waits.
    fn enter(&mut self, fresh: &str) -> (Token, String) {
        let token = self.ask(JoinRequest { fresh: fresh.into(), ..request("") });
        let Some(Reply::Join(Err(JoinRefused { error: GroupError::MemberIdRequired, member_id }))) = self.reply(token)
        else {
            panic!("an id is given first")
        };
        (self.ask(request(&member_id)), member_id)
    }

    fn joined(&mut self, token: Token) -> Joined {
        match self.reply(token) {
            Some(Reply::Join(Ok(joined))) => joined,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, token: Token) -> GroupError {
        match self.reply(token) {
            Some(Reply::Join(Err(refused))) => refused.error,
            Some(Reply::Sync(Err(error))) => error,
            other => panic!("{other:?}"),
        }
    }

    fn ask_sync(&mut self, who: MemberRef, assignments: &[(&str, &'static [u8])]) -> Token {
        let assignments = assignments.iter().map(|(id, a)| (id.to_string(), Bytes::from_static(a))).collect();
        let request = SyncRequest { member: who, protocol_type: None, protocol: None, assignments };
        let token = self.token();
        let effects = self.group.sync(token, request, self.now);
        self.run(effects);
        token
    }

    fn assignment(&mut self, token: Token) -> Bytes {
        match self.reply(token) {
            Some(Reply::Sync(Ok(synced))) => synced.assignment,
            other => panic!("{other:?}"),
        }
    }

    fn take_out(&mut self, leaving: Leaving) -> Result<(), GroupError> {
        let token = self.token();
        let effects = self.group.leave(token, &[leaving], self.now);
        self.run(effects);
        match self.reply(token) {
            Some(Reply::Leave(Ok(results))) => results[0],
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of two dynamic members; the first leads.
    fn two(&mut self) -> (String, String) {
        let (first, a) = self.enter("a");
        assert_eq!(self.joined(first).generation, 1);
        let (second, b) = self.enter("b");
        assert_eq!(self.reply(second), None, "waits for the first");
        assert_eq!(self.group.heartbeat(&member(&a, 1), self.now), Err(GroupError::RebalanceInProgress));
        let again = self.ask(request(&a));
        assert_eq!((self.joined(again).generation, self.joined(second).generation), (2, 2));
        let follower = self.ask_sync(member(&b, 2), &[]);
        assert_eq!(self.reply(follower), None, "waits for the leader");
        let leader = self.ask_sync(member(&a, 2), &[(&a, b"A"), (&b, b"B")]);
        assert_eq!((&*self.assignment(leader), &*self.assignment(follower)), (&b"A"[..], &b"B"[..]));
        (a, b)
    }

    fn state(&self) -> GroupState {
        self.group.describe().state
    }
}

#[test]
fn two_members_share_a_generation() {
    let mut bench = bench();
    let (a, b) = bench.two();
    assert_eq!(bench.state(), GroupState::Stable);
    for id in [&a, &b] {
        assert_eq!(bench.group.heartbeat(&member(id, 2), bench.now), Ok(()));
        assert_eq!(bench.group.heartbeat(&member(id, 1), bench.now), Err(GroupError::IllegalGeneration));
        assert_eq!(bench.group.check_commit(&member(id, 2), bench.now).unwrap().generation, 2);
        assert_eq!(bench.group.check_commit(&member(id, 1), bench.now).unwrap_err(), GroupError::IllegalGeneration);
    }
    let sync = bench.ask_sync(member(&b, 1), &[]);
    assert_eq!(bench.refused(sync), GroupError::IllegalGeneration);
    let stranger = member("x", 2);
    assert_eq!(bench.group.heartbeat(&stranger, bench.now), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.group.check_commit(&member("", -1), bench.now).unwrap_err(), GroupError::UnknownMemberId);
}

#[test]
fn only_the_leader_is_told_the_members() {
    let mut bench = bench();
    let (a, b) = bench.two();
    let first = bench.ask(request(&a));
    let second = bench.ask(request(&b));
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!((first.leader.as_str(), second.leader.as_str()), (a.as_str(), a.as_str()));
    assert_eq!(first.members.iter().map(|m| &m.member_id).collect::<Vec<_>>(), [&a, &b]);
    assert_eq!(second.members, []);
}

#[test]
fn nothing_is_said_of_a_generation_before_it_is_written() {
    let mut bench = bench();
    bench.held = Some(Vec::new());
    let (token, a) = bench.enter("a");
    assert_eq!(bench.reply(token), None);
    bench.release(PersistOutcome::Done);
    assert_eq!((bench.joined(token).generation, bench.stored.generation), (1, 1));

    bench.held = Some(Vec::new());
    let sync = bench.ask_sync(member(&a, 1), &[(&a, b"A")]);
    assert_eq!(bench.reply(sync), None);
    bench.release(PersistOutcome::NotWritten);
    assert_eq!(bench.refused(sync), GroupError::CoordinatorNotAvailable);
    // Tried again by itself, and then the same question has its answer.
    bench.pass(secs(1));
    let sync = bench.ask_sync(member(&a, 1), &[]);
    assert_eq!(&*bench.assignment(sync), b"A");
    bench.restart();
    let sync = bench.ask_sync(member(&a, 1), &[]);
    assert_eq!(&*bench.assignment(sync), b"A");
}

#[test]
fn a_lost_claim_answers_everybody() {
    let mut bench = bench();
    let (a, _) = bench.two();
    let waiting = bench.ask(request(&a));
    bench.held = Some(Vec::new());
    let token = bench.token();
    let leave = Leaving { member_id: "x".into(), instance_id: None };
    let effects = bench.group.leave(token, &[leave], bench.now);
    bench.run(effects);
    let effects = bench.group.persisted(PersistOutcome::Lost, bench.now);
    bench.run(effects);
    assert_eq!(bench.refused(waiting), GroupError::NotCoordinator);
    assert_eq!(bench.group.heartbeat(&member(&a, 2), bench.now), Err(GroupError::NotCoordinator));
    let late = bench.ask(request(""));
    assert_eq!(bench.refused(late), GroupError::NotCoordinator);
    assert_eq!(bench.group.deadline(), None);
}

#[test]
fn a_restart_keeps_generation_members_and_assignments() {
    let mut bench = bench();
    let (a, b) = bench.two();
    let before = bench.group.describe();
    bench.now += secs(3_600);
    bench.restart();
    assert_eq!(bench.group.describe(), before);
    bench.pass(secs(9));
    assert_eq!(bench.group.heartbeat(&member(&a, 2), bench.now), Ok(()));
    // The other's session ran out, a full one after the restart.
    bench.pass(secs(2));
    assert_eq!(bench.group.heartbeat(&member(&b, 2), bench.now), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.group.heartbeat(&member(&a, 2), bench.now), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_restart_between_join_and_sync_goes_on() {
    let mut bench = bench();
    let (token, a) = bench.enter("a");
    bench.joined(token);
    bench.restart();
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
    assert_eq!(bench.group.check_commit(&member(&a, 1), bench.now).unwrap_err(), GroupError::RebalanceInProgress);
    // The answer may have been lost with the owner: the same is said again.
    let again = bench.ask(request(&a));
    assert_eq!(bench.joined(again).generation, 1);
    let sync = bench.ask_sync(member(&a, 1), &[(&a, b"A")]);
    assert_eq!(&*bench.assignment(sync), b"A");
}

#[test]
fn silence_ends_a_session() {
    let mut bench = bench();
    let (a, b) = bench.two();
    bench.pass(secs(6));
    assert_eq!(bench.group.heartbeat(&member(&a, 2), bench.now), Ok(()));
    bench.pass(secs(5));
    assert_eq!(bench.group.members(), 1);
    let alone = bench.ask(request(&a));
    assert_eq!((bench.joined(alone).generation, bench.group.members()), (3, 1));
    assert_eq!(bench.group.heartbeat(&member(&b, 2), bench.now), Err(GroupError::UnknownMemberId));
    bench.pass(secs(60));
    assert_eq!((bench.state(), bench.stored.members, bench.stored.generation), (GroupState::Empty, 0, 4));
    assert!(bench.group.check_commit(&member("", -1), bench.now).is_ok(), "an empty group takes anybody's offsets");
}

#[test]
fn who_does_not_rejoin_in_time_is_left_behind() {
    let mut bench = bench();
    let (a, b) = bench.two();
    let rejoined = bench.ask(request(&a));
    for _ in 0..6 {
        bench.pass(secs(5));
        let _told = bench.group.heartbeat(&member(&b, 2), bench.now);
    }
    assert_eq!((bench.joined(rejoined).generation, bench.group.members()), (3, 1));
    assert_eq!(bench.group.heartbeat(&member(&b, 2), bench.now), Err(GroupError::UnknownMemberId));
}

#[test]
fn who_joins_but_does_not_sync_is_taken_out() {
    let mut bench = bench();
    let (a, b) = bench.two();
    let (first, second) = (bench.ask(request(&a)), bench.ask(request(&b)));
    bench.joined(first);
    bench.joined(second);
    let waiting = bench.ask_sync(member(&b, 3), &[]);
    for _ in 0..6 {
        bench.pass(secs(5));
        let _told = bench.group.heartbeat(&member(&a, 3), bench.now);
    }
    assert_eq!(bench.refused(waiting), GroupError::RebalanceInProgress);
    assert_eq!(
        bench.group.heartbeat(&member(&a, 3), bench.now),
        Err(GroupError::UnknownMemberId),
        "though it was alive"
    );
}

#[test]
fn an_id_that_is_not_joined_with_is_given_up() {
    let mut bench = bench();
    let token = bench.ask(request(""));
    assert_eq!(bench.refused(token), GroupError::MemberIdRequired);
    bench.pass(secs(11));
    let late = bench.ask(request("c-0"));
    assert_eq!(bench.refused(late), GroupError::UnknownMemberId);
    assert!(bench.group.is_idle());
    let plain = bench.ask(JoinRequest { features: JoinFeatures::Plain, ..request("") });
    assert_eq!(bench.joined(plain).generation, 1);
}

#[test]
fn the_first_rebalance_waits_for_company() {
    let mut bench = Bench::new(Config { initial_rebalance_delay: secs(3), ..Config::default() });
    let (first, _) = bench.enter("a");
    bench.pass(secs(2));
    let (second, _) = bench.enter("b");
    bench.pass(secs(3));
    assert_eq!(bench.reply(first), None, "somebody came: another delay");
    bench.pass(secs(1));
    assert_eq!((bench.joined(first).generation, bench.joined(second).generation), (1, 1));
}

#[test]
fn leaving_calls_the_others_back() {
    let mut bench = bench();
    let (a, b) = bench.two();
    let unknown = Leaving { member_id: "x".into(), instance_id: None };
    assert_eq!(bench.take_out(unknown), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.take_out(Leaving { member_id: a, instance_id: None }), Ok(()));
    assert_eq!(bench.group.heartbeat(&member(&b, 2), bench.now), Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.take_out(Leaving { member_id: b, instance_id: None }), Ok(()));
    assert_eq!((bench.state(), bench.stored.members), (GroupState::Empty, 0));
}

#[test]
fn a_static_member_that_comes_back_keeps_its_assignment() {
    for features in [JoinFeatures::KnownMemberId, JoinFeatures::SkipAssignment] {
        let mut bench = bench();
        let first = bench.ask(named("i", "1"));
        let old = bench.joined(first).member_id;
        let sync = bench.ask_sync(member(&old, 1), &[(&old, b"A")]);
        bench.assignment(sync);
        let back = bench.ask(JoinRequest { features, ..named("i", "2") });
        let back = bench.joined(back);
        assert_eq!((back.generation, back.member_id.as_str()), (1, "i-2"), "no rebalance");
        match features {
            JoinFeatures::SkipAssignment => {
                assert_eq!((back.leader.as_str(), back.leader_assigns), ("i-2", LeaderAssigns::Skips));
                assert_eq!(back.members.len(), 1);
            }
            _ => assert_eq!((back.leader, back.members.len()), (old.clone(), 0), "it is not to assign"),
        }
        bench.restart();
        let sync = bench.ask_sync(member("i-2", 1), &[]);
        assert_eq!(&*bench.assignment(sync), b"A");
        let former = MemberRef { instance_id: Some("i".into()), ..member(&old, 1) };
        assert_eq!(bench.group.heartbeat(&former, bench.now), Err(GroupError::FencedInstanceId));
        assert_eq!(bench.group.check_commit(&former, bench.now).unwrap_err(), GroupError::FencedInstanceId);
        assert_eq!(bench.group.heartbeat(&member(&old, 1), bench.now), Err(GroupError::UnknownMemberId));
        let by_instance = Leaving { member_id: String::new(), instance_id: Some("i".into()) };
        assert_eq!(bench.take_out(by_instance), Ok(()));
        assert_eq!(bench.group.members(), 0);
    }
}

#[test]
fn a_waiting_static_member_is_fenced_by_its_successor() {
    let mut bench = bench();
    let (a, _) = bench.two();
    let first = bench.ask(named("i", "1"));
    let second = bench.ask(named("i", "2"));
    assert_eq!(bench.refused(first), GroupError::FencedInstanceId);
    let _again = bench.ask(request(&a));
    bench.pass(secs(31));
    assert_eq!(bench.joined(second).member_id, "i-2");
}

#[test]
fn protocols_must_have_one_in_common() {
    let mut bench = bench();
    let both = vec![protocol("range", ""), protocol("sticky", "")];
    let first = bench.ask(JoinRequest { features: JoinFeatures::Plain, protocols: both, ..request("") });
    assert_eq!(bench.joined(first).protocol, "range");
    for (protocol_type, protocols) in [
        ("consumer", vec![protocol("other", "")]),
        ("connect", vec![protocol("range", "")]),
        ("consumer", Vec::new()),
        ("", vec![protocol("range", "")]),
    ] {
        let token = bench.ask(JoinRequest { protocol_type: protocol_type.into(), protocols, ..request("") });
        assert_eq!(bench.refused(token), GroupError::InconsistentGroupProtocol);
    }
    let sticky = vec![protocol("sticky", "s")];
    let second =
        bench.ask(JoinRequest { protocols: sticky, features: JoinFeatures::Plain, fresh: "2".into(), ..request("") });
    let both = vec![protocol("range", ""), protocol("sticky", "")];
    let first = bench.ask(JoinRequest { protocols: both, ..request("c-0") });
    assert_eq!((bench.joined(first).protocol, bench.joined(second).protocol), ("sticky".into(), "sticky".into()));
    let wrong = SyncRequest {
        member: member("c-0", 2),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        assignments: Vec::new(),
    };
    let token = bench.token();
    let effects = bench.group.sync(token, wrong, bench.now);
    bench.run(effects);
    assert_eq!(bench.refused(token), GroupError::InconsistentGroupProtocol);
}

#[test]
fn session_time_outs_have_bounds() {
    let mut bench = bench();
    for timeout in [Duration::from_millis(5_999), secs(30 * 60) + Duration::from_millis(1)] {
        let token = bench.ask(JoinRequest { session_timeout: timeout, ..request("") });
        assert_eq!(bench.refused(token), GroupError::InvalidSessionTimeout);
    }
}

#[test]
fn members_and_their_metadata_are_bounded() {
    let mut bench = Bench::new(Config { max_members: 2, max_metadata: 20_000, ..Config::default() });
    bench.enter("a");
    let id_only = bench.ask(JoinRequest { fresh: "b".into(), ..request("") });
    assert_eq!(bench.refused(id_only), GroupError::MemberIdRequired);
    let third = bench.ask(request(""));
    assert_eq!(bench.refused(third), GroupError::GroupMaxSizeReached, "ids that were given out count");
    bench.pass(secs(11));
    let large = vec![protocol("range", &"x".repeat(20_000))];
    let token = bench.ask(JoinRequest { protocols: large, ..request("") });
    assert_eq!(bench.refused(token), GroupError::GroupMaxSizeReached);
}

#[test]
fn assignments_that_cannot_be_stored_are_refused() {
    let mut bench = Bench::new(Config { max_metadata: 2_000, ..Config::default() });
    let (token, a) = bench.enter("a");
    bench.joined(token);
    static LARGE: [u8; 2_000] = [0; 2_000];
    let sync = bench.ask_sync(member(&a, 1), &[(&a, &LARGE)]);
    assert!(matches!(bench.refused(sync), GroupError::InvalidRequest(_)));
    let sync = bench.ask_sync(member(&a, 1), &[(&a, b"A")]);
    assert_eq!(&*bench.assignment(sync), b"A");
    assert!(bench.stored.metadata.len() <= 2_000);
}

#[test]
fn a_member_whose_answer_we_hold_back_does_not_expire() {
    let mut bench = bench();
    bench.held = Some(Vec::new());
    let (token, a) = bench.enter("a");
    bench.pass(secs(60));
    bench.release(PersistOutcome::Done);
    assert_eq!(bench.joined(token).member_id, a);
    bench.pass(secs(9));
    assert_eq!(bench.group.heartbeat(&member(&a, 1), bench.now), Ok(()));
}

#[test]
fn metadata_that_is_not_ours_is_refused() {
    let mut bench = bench();
    bench.two();
    let config = Config::default();
    let restore = |kind, bytes: &[u8]| Group::restore(config.clone(), kind, 2, bytes, Duration::ZERO);
    assert!(restore(Kind::Classic, &bench.stored.metadata).is_ok());
    assert!(matches!(restore(Kind::Consumer, &bench.stored.metadata), Err(RestoreError::Invalid(_))));
    assert!(restore(Kind::Classic, &bench.stored.metadata[1..]).is_err());
    assert!(matches!(restore(Kind::Classic, &[]), Err(RestoreError::Invalid(_))));
}
