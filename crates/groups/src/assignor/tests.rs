use std::collections::{BTreeMap, BTreeSet};

use lakebed_record::{TopicId, TopicPartition};

use super::{Assignor, Candidate, assign};
use crate::testing::Random;
use crate::topics::Shapes;

type Targets = Vec<BTreeSet<TopicPartition>>;

fn shapes(of: &[(u128, i32)]) -> Shapes {
    of.iter().map(|(id, n)| (TopicId(*id), *n)).collect()
}

fn run(assignor: Assignor, wishes: &[Shapes], before: &Targets, all: &Shapes) -> Targets {
    let candidates: Vec<_> = wishes.iter().zip(before).map(|(topics, before)| Candidate { topics, before }).collect();
    assign(assignor, &candidates, all)
}

fn none(n: usize) -> Targets {
    vec![BTreeSet::new(); n]
}

fn numbers(target: &BTreeSet<TopicPartition>, topic: u128) -> Vec<i32> {
    target.iter().filter(|at| at.topic == TopicId(topic)).map(|at| at.partition.0).collect()
}

/// Every partition of a topic with subscribers has exactly one owner, a subscriber.
fn is_whole(targets: &Targets, wishes: &[Shapes], all: &Shapes) {
    let mut owners: BTreeMap<TopicPartition, usize> = BTreeMap::new();
    for (place, target) in targets.iter().enumerate() {
        for at in target {
            assert_eq!(owners.insert(*at, place), None, "{at} twice");
            assert!(wishes[place].contains_key(&at.topic), "{at} unasked");
            assert!(at.partition.0 < all[&at.topic], "{at} does not exist");
        }
    }
    let wanted = all.iter().filter(|(topic, _)| wishes.iter().any(|w| w.contains_key(topic)));
    assert_eq!(owners.len(), wanted.map(|(_, n)| *n as usize).sum::<usize>(), "some have no owner");
}

#[test]
fn range_gives_the_same_place_in_all_topics() {
    let all = shapes(&[(1, 5), (2, 5)]);
    let wishes = vec![all.clone(); 2];
    let targets = run(Assignor::Range, &wishes, &none(2), &all);
    for topic in [1, 2] {
        assert_eq!(numbers(&targets[0], topic), [0, 1, 2]);
        assert_eq!(numbers(&targets[1], topic), [3, 4]);
    }
    // A newcomer with a smaller id goes behind those who are there.
    let before = vec![BTreeSet::new(), targets[0].clone(), targets[1].clone()];
    let targets = run(Assignor::Range, &vec![all.clone(); 3], &before, &all);
    assert_eq!(
        [numbers(&targets[1], 1), numbers(&targets[2], 1), numbers(&targets[0], 1)],
        [vec![0, 1], vec![2, 3], vec![4]]
    );
}

#[test]
fn range_with_more_members_than_partitions_leaves_the_last_without() {
    let all = shapes(&[(1, 2)]);
    let targets = run(Assignor::Range, &vec![all.clone(); 3], &none(3), &all);
    assert_eq!(targets.iter().map(BTreeSet::len).collect::<Vec<_>>(), [1, 1, 0]);
}

#[test]
fn uniform_moves_no_more_than_it_must() {
    let all = shapes(&[(1, 6), (2, 6)]);
    let two = run(Assignor::Uniform, &vec![all.clone(); 2], &none(2), &all);
    assert_eq!(two.iter().map(BTreeSet::len).collect::<Vec<_>>(), [6, 6]);
    let before = vec![two[0].clone(), two[1].clone(), BTreeSet::new()];
    let three = run(Assignor::Uniform, &vec![all.clone(); 3], &before, &all);
    assert_eq!(three.iter().map(BTreeSet::len).collect::<Vec<_>>(), [4, 4, 4]);
    let kept = (0..2).map(|i| two[i].intersection(&three[i]).count()).sum::<usize>();
    assert_eq!(kept, 8, "only what the third needs moved");
    assert_eq!(run(Assignor::Uniform, &vec![all.clone(); 3], &three, &all), three, "an even assignment stays");
}

#[test]
fn any_subscriptions_are_served_in_full() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let all: Shapes = (0..1 + random.below(5)).map(|t| (TopicId(t.into()), random.below(9) as i32)).collect();
        let members = 1 + random.below(6) as usize;
        let alike = random.chance(50);
        let wish = |random: &mut Random| -> Shapes {
            all.iter().filter(|_| alike || random.chance(60)).map(|(t, n)| (*t, *n)).collect()
        };
        let wishes: Vec<Shapes> = (0..members).map(|_| wish(&mut random)).collect();
        // What was before may name what is gone, and others may have it now.
        let stray = |random: &mut Random| -> BTreeSet<TopicPartition> {
            let at = |random: &mut Random| TopicPartition::new(TopicId(random.below(6).into()), random.below(9) as i32);
            (0..random.below(12)).map(|_| at(random)).collect()
        };
        let before: Targets = (0..members).map(|_| stray(&mut random)).collect();
        for assignor in Assignor::ALL {
            let targets = run(assignor, &wishes, &before, &all);
            is_whole(&targets, &wishes, &all);
            if assignor == Assignor::Uniform {
                let loads: Vec<usize> = targets.iter().map(BTreeSet::len).collect();
                let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
                assert!(!alike || most - least <= 1, "seed {seed}: {loads:?}");
                assert_eq!(run(assignor, &wishes, &targets, &all), targets, "seed {seed}: settles at once");
            }
        }
    }
}
