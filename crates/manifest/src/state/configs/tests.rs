use lakebed_record::ops::OpKind;

use super::super::groups::tests::{A, Log, key};
use super::*;

fn entry(name: &str, value: &str) -> ConfigEntry {
    ConfigEntry { name: name.into(), value: value.into() }
}

fn set(entries: &[(&str, &str)]) -> ConfigChange {
    ConfigChange { set: entries.iter().map(|(n, v)| entry(n, v)).collect(), ..ConfigChange::default() }
}

fn op(of: &ConfigResource, change: ConfigChange) -> OpKind {
    let (namespace, name) = of.names();
    OpKind::SetConfigs(SetConfigs {
        scope: of.scope().into(),
        namespace: namespace.into(),
        name: name.into(),
        change: Some(change),
    })
}

fn pairs(configs: &[(String, String)]) -> Vec<(&str, &str)> {
    configs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

#[test]
fn incremental_and_whole_changes() {
    let mut log = Log::new();
    let group = ConfigResource::Group(key("g"));
    for of in [ConfigResource::Cluster, group] {
        let empty = log.state.hash();
        assert_eq!(log.one(A, op(&of, set(&[("b", "1"), ("a", "2"), ("b", "3")]))), OpOutcome::Done);
        assert_eq!(pairs(log.state.configs(&of)), [("a", "2"), ("b", "3")]);
        let change = ConfigChange { delete: vec!["a".into(), "x".into(), "c".into()], ..set(&[("c", "4")]) };
        assert_eq!(log.one(A, op(&of, change)), OpOutcome::Done);
        assert_eq!(pairs(log.state.configs(&of)), [("b", "3"), ("c", "4")], "what is set in the same change stays");
        let change = ConfigChange { replace: true, ..set(&[("d", "")]) };
        assert_eq!(log.one(A, op(&of, change)), OpOutcome::Done);
        assert_eq!(pairs(log.state.configs(&of)), [("d", "")]);
        assert_ne!(log.state.hash(), empty);
        let nothing = ConfigChange { replace: true, ..ConfigChange::default() };
        assert_eq!(log.one(A, op(&of, nothing)), OpOutcome::Done);
        assert_eq!((log.state.config_resources().count(), log.state.config_bytes), (0, 0));
    }
}

#[test]
fn malformed_and_too_large_changes_are_refused() {
    let mut log = Log::new();
    let cluster = ConfigResource::Cluster;
    let half = "v".repeat(MAX_CONFIG_VALUE - 100);
    let refused = [
        set(&[("", "v")]),
        set(&[(&"n".repeat(MAX_CONFIG_NAME + 1), "v")]),
        set(&[("n", &"v".repeat(MAX_CONFIG_VALUE + 1))]),
        set(&[("a", &half), ("b", &half), ("c", &half)]),
        ConfigChange { set: (0..=MAX_CONFIGS).map(|i| entry(&i.to_string(), "")).collect(), ..ConfigChange::default() },
    ];
    assert_eq!(log.one(A, op(&cluster, set(&[("a", &half)]))), OpOutcome::Done);
    for change in refused {
        assert_eq!(log.one(A, op(&cluster, change)), OpOutcome::Refused);
        assert_eq!(pairs(log.state.configs(&cluster)), [("a", half.as_str())]);
    }
    for (scope, namespace, name) in [(0, "", "1"), (0, "default", ""), (1, "default", ""), (1, "", "g"), (2, "", "")] {
        let (namespace, name) = (namespace.into(), name.into());
        let op = SetConfigs { scope, namespace, name, change: Some(set(&[("a", "b")])) };
        assert_eq!(log.one(A, OpKind::SetConfigs(op)), OpOutcome::Refused);
    }
    assert_eq!(log.one(A, OpKind::SetConfigs(SetConfigs::default())), OpOutcome::Refused);
}

#[test]
fn configs_of_all_groups_together_are_bounded() {
    let mut log = Log::new();
    let of = |i: usize| ConfigResource::Group(key(&format!("g{i}")));
    let large = "v".repeat(MAX_CONFIG_VALUE);
    let change = || set(&[("a", &large), ("b", &large[..MAX_CONFIG_VALUE - 2])]);
    let full = (0..).find(|i| log.one(A, op(&of(*i), change())) == OpOutcome::OutOfSpace).expect("a bound");
    assert_eq!(full, MAX_CONFIG_BYTES / MAX_CONFIGS_BYTES - 1);
    let less = ConfigChange { replace: true, ..set(&[("a", &large)]) };
    assert_eq!(log.one(A, op(&of(0), less)), OpOutcome::Done, "what takes less is always taken");
    assert_eq!(log.one(A, op(&of(full), set(&[("a", "b")]))), OpOutcome::Done);
}

#[test]
fn parts_that_nobody_could_have_written_are_refused() {
    let part = |configs: &[&str]| ConfigPart {
        scope: 1,
        namespace: "default".into(),
        name: "g".into(),
        configs: configs.iter().map(|s| (*s).to_owned()).collect(),
    };
    let read = |parts: Vec<ConfigPart>| {
        let mut state = State::new();
        parts.into_iter().try_for_each(|p| state.add_config_part(p)).map(|()| state)
    };
    let state = read(vec![part(&["a", "1", "b", ""])]).expect("reads");
    assert_eq!(pairs(state.configs(&ConfigResource::Group(key("g")))), [("a", "1"), ("b", "")]);
    let long = "v".repeat(MAX_CONFIG_VALUE + 1);
    let bad: [&[&str]; 6] = [&[], &["a"], &["b", "1", "a", "1"], &["a", "1", "a", "2"], &["", "1"], &["a", &long]];
    for configs in bad {
        assert_eq!(read(vec![part(configs)]).err(), Some("configs are malformed"), "{configs:.20?}");
    }
    assert_eq!(read(vec![part(&["a", "1"]), part(&["a", "1"])]).err(), Some("configs stand there twice"));
    assert_eq!(read(vec![ConfigPart { scope: 0, ..part(&["a", "1"]) }]).err(), Some("configs of nothing"));
}
