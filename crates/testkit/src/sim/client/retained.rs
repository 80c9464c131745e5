//! Producing to the topic whose records are kept for some seconds.

use std::time::Duration;

use lakebed_broker::api::{Append, CreateTopicError, NewTopic, Unavailable};
use lakebed_record::TopicName;
use lakebed_record::batch::BatchBuilder;

use super::produce::SERVER_TIMEOUT;
use super::{CLIENT_TIMEOUT, Client, Gone};
use crate::sim::retained::RETENTION_MS;
use crate::sim::world::Called;

impl Client {
    /// Until it is dropped.
    pub async fn keep_retained(mut self) {
        loop {
            self.world.thaw().await;
            if self.connect().await && self.append_retained().await.is_err() {
                self.connection = None;
            }
            tokio::time::sleep(Duration::from_millis(self.dice.between(100, 3_000))).await;
        }
    }

    async fn append_retained(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.world.retained.lock().partition() else { return self.create_retained().await };
        let time = self.world.time.wall_ms() - self.dice.between(0, RETENTION_MS as u64 / 2) as i64;
        let mut builder = BatchBuilder::new();
        builder.push(time, None, Some(b"kept for a while"), []);
        let append = Append { topic: tp.topic, partition: tp.partition, batch: builder.build() };
        let (live, world) = (self.live(), self.world.clone());
        let producer = &mut self.connection().producer;
        let sending = async { producer.append(vec![append], SERVER_TIMEOUT).await };
        let Called::Answered(answers) = world.call(&live, CLIENT_TIMEOUT, sending).await else { return Err(Gone) };
        if let Ok(appended) = &answers[0] {
            let before = world.retained.lock().acked.insert(appended.base_offset, time);
            if before.is_some() {
                world.violation(format!("{tp}: two records were acknowledged at {}", appended.base_offset));
            }
        }
        Ok(())
    }

    async fn create_retained(&mut self) -> Result<(), Gone> {
        let name = TopicName::new("retained").expect("a valid name");
        let configs = vec![("retention.ms".to_owned(), RETENTION_MS.to_string())];
        let live = self.live();
        let created = async {
            match live.broker.create_topic(NewTopic { name: name.clone(), partitions: 1, configs }, false).await {
                Ok(info) => Ok(Some(info)),
                Err(CreateTopicError::Exists) => live.broker.topic_by_name(&name).await,
                Err(_) => Ok(None),
            }
        };
        match self.world.call::<Result<_, Unavailable>>(&live, CLIENT_TIMEOUT, created).await {
            Called::Answered(Ok(Some(info))) => self.world.retained.lock().topic = Some(info.id),
            Called::Answered(_) => {}
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }
}
