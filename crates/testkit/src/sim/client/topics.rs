//! Topics: created, found, deleted; nobody is told falsely that one is not there.

use lakebed_broker::api::{CreateTopicError, NewTopic, TopicError, Unavailable};
use lakebed_record::{TopicName, TopicPartition};

use super::{CLIENT_TIMEOUT, Client, Gone};
use crate::history::SentId;
use crate::sim::world::{Called, KnownTopic};

impl Client {
    /// A partition of a topic that is known to exist, looked up on this connection as the front ends do.
    pub async fn partition(&mut self) -> Result<Option<TopicPartition>, Gone> {
        let topics: Vec<(TopicName, KnownTopic)> =
            self.world.topics.lock().iter().map(|(n, t)| (n.clone(), t.clone())).collect();
        if topics.is_empty() {
            self.create_topic().await?;
            return Ok(None);
        }
        let (name, topic) = &topics[self.dice.below(topics.len())];
        if !self.connection().looked_up.contains(&topic.id) {
            if !self.look_up_topic(name, topic).await? {
                return Ok(None);
            }
            self.connection().looked_up.push(topic.id);
        }
        Ok(Some(TopicPartition::new(topic.id, self.dice.below(topic.partitions as usize) as i32)))
    }

    pub(super) fn is_doomed(&self, tp: TopicPartition) -> bool {
        !self.world.topics.lock().values().any(|t| t.id == tp.topic && !t.doomed)
    }

    pub(super) async fn look_up(&mut self) -> Result<(), Gone> {
        self.partition().await.map(drop)
    }

    /// No false "unknown topic". (A name may lead to a topic that is deleted meanwhile.)
    async fn look_up_topic(&mut self, name: &TopicName, topic: &KnownTopic) -> Result<bool, Gone> {
        let live = self.live();
        let broker = &live.broker;
        let found = async { Ok((broker.topic_by_name(name).await?, broker.topic_by_id(topic.id).await?)) };
        match self.world.call::<Result<_, Unavailable>>(&live, CLIENT_TIMEOUT, found).await {
            Called::Answered(Ok((by_name, by_id))) => {
                let doomed = self.is_doomed(TopicPartition::new(topic.id, 0));
                if (by_name.is_none() || by_id.is_none()) && !doomed {
                    self.world.violation(format!(
                        "node {} does not know topic {name} {}, which was created",
                        live.node, topic.id
                    ));
                }
                if by_id.is_none() {
                    self.world.forget(topic.id);
                }
                self.world.count("outcome topic found");
                Ok(by_id.is_some())
            }
            Called::Answered(Err(_)) => {
                self.world.count("outcome topic unavailable");
                Err(Gone)
            }
            Called::NoAnswer => Err(Gone),
        }
    }

    /// Front ends make sure that the topics of a request are known, or unknown to all, before they pass it on.
    pub(super) async fn find_topics(&mut self, ids: &[SentId]) -> Result<(), Gone> {
        for id in ids {
            let topic = self.world.history.lock().get(*id).tp.topic;
            if self.connection().looked_up.contains(&topic) {
                continue;
            }
            let live = self.live();
            match self.world.call(&live, CLIENT_TIMEOUT, live.broker.topic_by_id(topic)).await {
                Called::Answered(Ok(_)) => self.connection().looked_up.push(topic),
                Called::Answered(Err(_)) | Called::NoAnswer => return Err(Gone),
            }
        }
        Ok(())
    }

    pub(super) async fn create_topic(&mut self) -> Result<(), Gone> {
        let name = TopicName::new(&format!("topic-{}", self.dice.below(4))).expect("a valid name");
        let kind = if self.dice.one_in(3) { "LogAppendTime" } else { "CreateTime" };
        let configs = vec![("message.timestamp.type".to_owned(), kind.to_owned())];
        let topic = NewTopic { name: name.clone(), partitions: 1 + self.dice.below(3) as i32, configs };
        self.world.count("operation create topic");
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.create_topic(topic, false)).await {
            Called::Answered(Ok(info)) => {
                self.note("created", &format_args!("{name} {}", info.id));
                self.world.count("outcome topic created");
                self.world.created(&name, &info);
            }
            Called::Answered(Err(CreateTopicError::Exists)) => {
                self.world.count("outcome topic exists");
                self.learn(&name).await?;
            }
            Called::Answered(Err(CreateTopicError::Unavailable(_))) => self.world.count("outcome create unavailable"),
            Called::Answered(Err(error)) => self.world.violation(format!("topic {name} was refused: {error}")),
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }

    /// A topic that exists although nobody was told of its creation.
    async fn learn(&mut self, name: &TopicName) -> Result<(), Gone> {
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.topic_by_name(name)).await {
            Called::Answered(Ok(Some(info))) => {
                self.world.created(name, &info);
                Ok(())
            }
            Called::Answered(_) => Ok(()),
            Called::NoAnswer => Err(Gone),
        }
    }

    pub(super) async fn delete_topic(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        self.world.doom(tp.topic);
        self.world.count("operation delete topic");
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.delete_topic(tp.topic)).await {
            Called::Answered(Ok(())) => {
                self.note("deleted", &tp.topic);
                self.world.count("outcome topic deleted");
                self.world.forget(tp.topic);
            }
            Called::Answered(Err(TopicError::Unknown)) => self.world.forget(tp.topic),
            Called::Answered(Err(TopicError::Unavailable(Unavailable::Timeout | Unavailable::Stopping))) => {
                self.world.count("outcome delete unavailable");
            }
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }
}
