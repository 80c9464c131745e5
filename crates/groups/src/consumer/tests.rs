use lakebed_record::TopicPartition;

use crate::testing::{Bench, client, secs};
use crate::*;

fn bench() -> Bench {
    Bench::new(Config::default())
}

fn beat(member_id: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: member_id.into(),
        member_epoch: epoch,
        instance_id: None,
        rack_id: None,
        client: client("c"),
        rebalance_timeout: None,
        subscribed_names: None,
        subscribed_regex: None,
        server_assignor: None,
        owned: None,
    }
}

fn join(member_id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout: Some(secs(60)),
        subscribed_names: Some(vec!["a".into()]),
        owned: Some(Vec::new()),
        ..beat(member_id, 0)
    }
}

fn owning(member_id: &str, epoch: i32, owned: Vec<TopicPartition>) -> ConsumerHeartbeat {
    ConsumerHeartbeat { owned: Some(owned), ..beat(member_id, epoch) }
}

fn fixed(request: ConsumerHeartbeat, instance: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat { instance_id: Some(instance.into()), ..request }
}

impl Bench {
    fn send(&mut self, request: ConsumerHeartbeat) -> Token {
        let token = self.token();
        let effects = self.group.consumer_heartbeat(token, request, &self.topics, self.now);
        self.run(effects);
        token
    }

    fn heard(&mut self, token: Token) -> Result<ConsumerAnswer, GroupError> {
        match self.reply(token) {
            Some(Reply::ConsumerHeartbeat(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, request: ConsumerHeartbeat) -> Result<ConsumerAnswer, GroupError> {
        let token = self.send(request);
        self.heard(token)
    }

    fn told(&mut self, request: ConsumerHeartbeat) -> (i32, Option<Vec<i32>>) {
        let answer = self.say(request).expect("taken");
        let numbers = answer.assignment.map(|told| told.iter().map(|at| at.partition.0).collect());
        (answer.member_epoch, numbers)
    }

    fn a(&self, partitions: &[i32]) -> Vec<TopicPartition> {
        partitions.iter().map(|p| self.topics.at("a", *p)).collect()
    }
}

#[test]
fn a_partition_goes_over_when_it_is_given_up() {
    let mut bench = bench();
    assert_eq!(bench.told(join("m1")), (1, Some(vec![0, 1, 2, 3])));
    assert_eq!(bench.told(owning("m1", 1, bench.a(&[0, 1, 2, 3]))), (1, None));
    assert_eq!(bench.told(join("m2")), (2, Some(vec![])), "nothing is free yet");
    assert_eq!(bench.told(beat("m1", 1)), (1, Some(vec![0, 1])), "is to give up two, at its old epoch");
    assert_eq!(bench.told(beat("m2", 2)), (2, None));
    assert_eq!(bench.told(beat("m1", 1)), (1, None), "says nothing of what it owns");
    assert_eq!(bench.told(owning("m1", 1, bench.a(&[0, 1, 2]))), (1, None), "still owns one of them");
    assert_eq!(bench.told(beat("m2", 2)), (2, None));
    assert_eq!(bench.group.describe().state, GroupState::Reconciling);
    assert_eq!(bench.told(owning("m1", 1, bench.a(&[0, 1]))), (2, None));
    assert_eq!(bench.told(beat("m2", 2)), (2, Some(vec![2, 3])));
    assert_eq!(bench.group.describe().state, GroupState::Stable);
    let writes = bench.writes;
    assert_eq!(bench.told(beat("m1", 2)), (2, None));
    assert_eq!(bench.writes, writes, "a heartbeat that changes nothing is not written");
}

#[test]
fn silence_frees_partitions() {
    let mut bench = bench();
    bench.told(join("m1"));
    bench.told(join("m2"));
    bench.pass(secs(30));
    bench.told(beat("m2", 2));
    bench.pass(secs(16));
    assert_eq!(bench.group.members(), 1);
    assert_eq!(bench.told(beat("m2", 2)), (3, Some(vec![0, 1, 2, 3])));
    assert_eq!(bench.say(beat("m1", 1)), Err(GroupError::UnknownMemberId));
}

#[test]
fn who_does_not_give_up_in_time_is_taken_out() {
    let mut bench = bench();
    bench.told(join("m1"));
    bench.told(join("m2"));
    bench.told(beat("m1", 1));
    for _ in 0..6 {
        bench.pass(secs(10));
        let _heard = (bench.say(beat("m1", 1)), bench.say(beat("m2", 2)));
    }
    assert_eq!(bench.say(beat("m1", 1)), Err(GroupError::UnknownMemberId), "it was alive, but 60 s have passed");
    assert_eq!(bench.told(beat("m2", 3)).0, 3);
}

#[test]
fn epochs_are_checked() {
    let mut bench = bench();
    bench.told(join("m1"));
    bench.told(join("m2"));
    bench.told(beat("m1", 1));
    bench.told(owning("m1", 1, bench.a(&[0, 1])));
    // The answer with epoch 2 was lost.
    assert_eq!(bench.told(owning("m1", 1, bench.a(&[0, 1]))), (2, None));
    assert_eq!(bench.say(owning("m1", 1, bench.a(&[0, 3]))), Err(GroupError::FencedMemberEpoch), "not its own");
    assert_eq!(bench.say(beat("m1", 1)), Err(GroupError::FencedMemberEpoch));
    assert_eq!(bench.say(beat("m1", 3)), Err(GroupError::FencedMemberEpoch));
    assert_eq!(bench.say(beat("m3", 2)), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.told(join("m1")), (2, Some(vec![0, 1])), "who starts over is told everything");
}

#[test]
fn commits_are_checked() {
    let mut bench = bench();
    let who = |id: &str, generation| MemberRef { member_id: id.into(), instance_id: None, generation };
    assert!(bench.group.check_commit(&who("", -1), bench.now).is_ok());
    bench.told(join("m1"));
    bench.told(join("m2"));
    bench.told(beat("m1", 1));
    bench.told(owning("m1", 1, bench.a(&[0, 1])));
    bench.told(beat("m2", 2));
    let (mine, theirs) = (bench.topics.at("a", 0), bench.topics.at("a", 2));
    assert!(bench.group.check_commit(&who("m1", 2), bench.now).unwrap().allows(&theirs));
    let older = bench.group.check_commit(&who("m1", 1), bench.now).unwrap();
    assert_eq!(
        (older.generation, older.allows(&mine), older.allows(&theirs)),
        (2, true, false),
        "had since 1; not its own"
    );
    assert!(!bench.group.check_commit(&who("m2", 1), bench.now).unwrap().allows(&theirs), "has it only since 2");
    assert_eq!(bench.group.check_commit(&who("m1", 3), bench.now).unwrap_err(), GroupError::StaleMemberEpoch);
    assert_eq!(bench.group.check_commit(&who("m3", 2), bench.now).unwrap_err(), GroupError::UnknownMemberId);
    assert_eq!(bench.group.check_commit(&who("", -1), bench.now).unwrap_err(), GroupError::UnknownMemberId);
}

#[test]
fn a_static_member_that_comes_back_keeps_its_partitions() {
    let mut bench = bench();
    bench.told(fixed(join("m1"), "i"));
    assert_eq!(bench.say(fixed(join("m2"), "i")), Err(GroupError::UnreleasedInstanceId));
    assert_eq!(bench.told(fixed(beat("m1", -2), "i")).0, -2);
    bench.restart();
    assert_eq!(bench.told(fixed(join("m2"), "i")), (1, Some(vec![0, 1, 2, 3])), "no new epoch");
    assert_eq!(bench.say(fixed(beat("m1", 1), "i")), Err(GroupError::FencedInstanceId));
    assert_eq!(bench.told(fixed(beat("m2", -2), "i")).0, -2);
    bench.pass(secs(46));
    assert_eq!((bench.group.members(), bench.stored.members), (0, 0), "it did not come back");
}

#[test]
fn leaving_frees_partitions_at_once() {
    let mut bench = bench();
    bench.told(join("m1"));
    bench.told(join("m2"));
    assert_eq!(bench.say(beat("m3", -1)), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.told(beat("m1", -1)), (-1, None));
    assert_eq!(bench.told(beat("m2", 2)), (3, Some(vec![0, 1, 2, 3])));
}

#[test]
fn nothing_is_said_before_it_is_written() {
    let mut bench = bench();
    bench.held = Some(Vec::new());
    let first = bench.send(join("m1"));
    assert_eq!(bench.reply(first), None);
    let second = bench.send(join("m2"));
    bench.release(PersistOutcome::Done);
    assert_eq!(bench.heard(first).unwrap().member_epoch, 1);
    assert_eq!(bench.heard(second).unwrap().member_epoch, 2);
    assert_eq!(
        (bench.stored.generation, bench.stored.members, bench.writes),
        (2, 2, 1),
        "one more write for all that came"
    );
    bench.held = Some(Vec::new());
    let third = bench.send(join("m3"));
    bench.release(PersistOutcome::NotWritten);
    assert_eq!(bench.heard(third), Err(GroupError::CoordinatorNotAvailable));
    bench.pass(secs(1));
    assert_eq!(bench.stored.members, 3, "tried again");
}

#[test]
fn a_restart_keeps_epochs_and_partitions() {
    let mut bench = bench();
    bench.told(join("m1"));
    bench.told(join("m2"));
    bench.told(beat("m1", 1));
    let before = bench.group.describe();
    bench.restart();
    assert_eq!(bench.group.describe(), before);
    assert_eq!(bench.told(beat("m2", 2)), (2, None), "what is being revoked is still held");
    assert_eq!(bench.told(owning("m1", 1, bench.a(&[0, 1]))), (2, None));
    assert_eq!(bench.told(beat("m2", 2)), (2, Some(vec![2, 3])));
}

#[test]
fn topics_that_grow_raise_the_epoch() {
    let mut bench = bench();
    bench.told(join("m1"));
    bench.topics.set("other", 3);
    assert_eq!(bench.told(beat("m1", 1)), (1, None), "not its topic");
    bench.topics.set("a", 6);
    assert_eq!(bench.told(beat("m1", 1)), (2, Some(vec![0, 1, 2, 3, 4, 5])));
    bench.restart();
    assert_eq!(bench.told(beat("m1", 2)), (2, None));
    bench.topics.remove("a");
    assert_eq!(bench.told(beat("m1", 2)), (2, Some(vec![])), "to be given up first");
    assert_eq!(bench.told(owning("m1", 2, Vec::new())), (3, None));
}

#[test]
fn regular_expressions_follow_the_topics() {
    let mut bench = bench();
    let matching = |id: &str, regex: &str| ConsumerHeartbeat {
        subscribed_names: None,
        subscribed_regex: Some(regex.into()),
        ..join(id)
    };
    assert_eq!(bench.say(matching("m1", "(")), Err(GroupError::InvalidRegularExpression));
    assert!(bench.group.members() == 0);
    assert_eq!(bench.told(matching("m1", "[ab]")).1.unwrap().len(), 6);
    bench.topics.set("c", 2);
    bench.topics.set("aa", 2);
    bench.pass(secs(2));
    assert_eq!(bench.told(beat("m1", 1)), (1, None));
    let wider = ConsumerHeartbeat { subscribed_regex: Some("[a-c]".into()), ..beat("m1", 1) };
    assert_eq!(bench.told(wider).1.unwrap().len(), 8);
    bench.topics.remove("b");
    bench.topics.set("b", 1);
    bench.pass(secs(2));
    assert_eq!(bench.told(beat("m1", 2)).1.unwrap().len(), 6, "the new b is another topic: the old is given up first");
    for i in 2..17 {
        bench.told(matching(&format!("m{i}"), &format!("a{{{i}}}")));
    }
    assert!(matches!(bench.say(matching("m17", "x")), Err(GroupError::InvalidRequest(_))), "16 different ones");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut bench = bench();
    let cases = [
        beat("", 0),
        beat("m1", -3),
        beat("m1", -2),
        fixed(join("m1"), ""),
        ConsumerHeartbeat { rebalance_timeout: None, ..join("m1") },
        ConsumerHeartbeat { owned: None, ..join("m1") },
        owning("m1", 0, bench.a(&[0])),
        ConsumerHeartbeat { subscribed_names: None, ..join("m1") },
        ConsumerHeartbeat { rack_id: Some(String::new()), ..join("m1") },
    ];
    for request in cases {
        let what = format!("{request:?}");
        assert!(matches!(bench.say(request), Err(GroupError::InvalidRequest(_))), "{what}");
    }
    let unknown = ConsumerHeartbeat { server_assignor: Some("sticky".into()), ..join("m1") };
    assert_eq!(bench.say(unknown), Err(GroupError::UnsupportedAssignor));
    assert!(bench.group.is_idle());
}

#[test]
fn the_assignor_that_most_ask_for() {
    let mut bench = bench();
    let asks = |id: &str, name: &str| ConsumerHeartbeat { server_assignor: Some(name.into()), ..join(id) };
    let assignor = |bench: &Bench| match bench.group.describe().members {
        Members::Consumer { assignor, .. } => assignor,
        other => panic!("{other:?}"),
    };
    bench.told(join("m1"));
    assert_eq!(assignor(&bench), "uniform");
    bench.told(asks("m2", "range"));
    assert_eq!(assignor(&bench), "range");
    bench.told(asks("m3", "uniform"));
    assert_eq!(assignor(&bench), "uniform");
}

#[test]
fn members_and_topics_are_bounded() {
    let mut bench = Bench::new(Config { max_members: 2, max_metadata: 4_000, ..Config::default() });
    bench.topics.set("large", 1_000);
    let large = ConsumerHeartbeat { subscribed_names: Some(vec!["large".into()]), ..join("m1") };
    assert_eq!(bench.say(large.clone()), Err(GroupError::GroupMaxSizeReached));
    bench.told(join("m1"));
    let wider = ConsumerHeartbeat { subscribed_names: large.subscribed_names, ..beat("m1", 1) };
    assert_eq!(bench.say(wider), Err(GroupError::GroupMaxSizeReached));
    bench.topics.set("a", 1_000);
    assert_eq!(bench.told(beat("m1", 1)), (1, None), "a topic that outgrows the group stays as it was");
    bench.topics.set("a", 5);
    bench.told(join("m2"));
    assert_eq!(bench.say(join("m3")), Err(GroupError::GroupMaxSizeReached));
    assert!(bench.stored.metadata.len() <= 4_000);
}

#[test]
fn the_other_protocol_only_when_empty() {
    let mut bench = bench();
    bench.told(join("m1"));
    let request = JoinRequest {
        member_id: String::new(),
        instance_id: None,
        client: client("c"),
        protocol_type: "consumer".into(),
        protocols: vec![crate::testing::protocol("range", "")],
        session_timeout: secs(10),
        rebalance_timeout: secs(10),
        features: JoinFeatures::Plain,
        fresh: "0".into(),
    };
    let token = bench.token();
    let effects = bench.group.join(token, request.clone(), bench.now);
    bench.run(effects);
    let Some(Reply::Join(Err(refused))) = bench.reply(token) else { panic!("has members of the other protocol") };
    assert_eq!(refused.error, GroupError::InconsistentGroupProtocol);
    bench.told(beat("m1", -1));
    let token = bench.token();
    let effects = bench.group.join(token, request, bench.now);
    bench.run(effects);
    let Some(Reply::Join(Ok(joined))) = bench.reply(token) else { panic!("is empty") };
    assert_eq!((joined.generation, bench.stored.kind), (3, Kind::Classic), "generations go on");
    assert_eq!(bench.say(join("m2")), Err(GroupError::GroupIdNotFound));
}

#[test]
fn a_thousand_members_fit() {
    let mut bench = bench();
    bench.topics.set("a", 1_000);
    for i in 0..1_000 {
        bench.told(join(&format!("{i:036}")));
    }
    assert_eq!(bench.say(join("one more")), Err(GroupError::GroupMaxSizeReached));
    assert!(bench.stored.metadata.len() < bench.config.max_metadata);
    assert!(bench.group.subscribes("a", &bench.topics) && !bench.group.subscribes("b", &bench.topics));
}
