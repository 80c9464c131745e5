use std::collections::BTreeMap;

use lakebed_record::TopicId;

/// What a group needs to know of the topics; the driver shows it the state that this node has applied.
pub trait Topics {
    /// Another number whenever a topic was created or deleted or got partitions.
    fn version(&self) -> u64;

    fn find(&self, name: &str) -> Option<TopicShape>;

    /// Every topic, in any order.
    fn each(&self, visit: &mut dyn FnMut(&str, TopicShape));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    pub id: TopicId,
    pub partitions: i32,
}

/// How many partitions each of some topics has.
pub(crate) type Shapes = BTreeMap<TopicId, i32>;
