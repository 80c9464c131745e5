//! What a consumer group sees of the topics: those of its namespace, as this node has applied them.

use lakebed_groups::{TopicShape, Topics};
use lakebed_manifest::{Manifest, State};
use lakebed_record::{Namespace, TopicName};

pub struct View<'a> {
    pub manifest: &'a Manifest,
    pub namespace: &'a Namespace,
}

impl Topics for View<'_> {
    fn version(&self) -> u64 {
        self.manifest.read(State::topic_changes)
    }

    fn find(&self, name: &str) -> Option<TopicShape> {
        let name = TopicName::new(name).ok()?;
        self.manifest.read(|s| s.topic_by_name(self.namespace, &name).map(|t| shape(t)))
    }

    fn each(&self, visit: &mut dyn FnMut(&str, TopicShape)) {
        self.manifest.read(|s| {
            s.topics().filter(|t| t.namespace == *self.namespace).for_each(|t| visit(t.name.as_str(), shape(t)));
        });
    }
}

fn shape(topic: &lakebed_manifest::Topic) -> TopicShape {
    TopicShape { id: topic.id, partitions: topic.partitions as i32 }
}
