//! ListOffsets: the ends of a partition, and the first record from a time on.

use lakebed_broker::api::{FetchError, OffsetSpec};
use lakebed_record::TopicPartition;

use super::{CLIENT_TIMEOUT, Client, Gone};
use crate::history::LookedUp;
use crate::sim::world::Called;

impl Client {
    pub(super) async fn list_offsets(&mut self) -> Result<(), Gone> {
        let Some(tp) = self.partition().await? else { return Ok(()) };
        let spec = match self.dice.below(6) {
            0 => OffsetSpec::Earliest,
            1 | 2 => OffsetSpec::AtTime(self.some_time(tp)),
            _ => OffsetSpec::Latest,
        };
        self.world.count("operation list offsets");
        let known = self.world.history.lock().high(tp);
        let live = self.live();
        match self.world.call(&live, CLIENT_TIMEOUT, live.broker.list_offsets(tp, spec)).await {
            Called::Answered(Ok(listed)) => {
                self.world.count("outcome offsets listed");
                self.note("listed", &format_args!("{tp} {spec:?} {}", listed.offset));
                let wrong = match spec {
                    OffsetSpec::Latest => listed.offset < known,
                    OffsetSpec::Earliest => listed.offset != 0,
                    OffsetSpec::AtTime(time) => {
                        let found = if listed.offset < 0 { "none" } else { "found" };
                        self.world.count(&format!("outcome offset by time {found}"));
                        let (offset, timestamp) = (listed.offset, listed.timestamp);
                        self.world.history.lock().looked_up(LookedUp { tp, time, known, offset, timestamp });
                        false
                    }
                };
                if wrong {
                    self.world.violation(format!("{tp}: {spec:?} is {}, but {known} was known", listed.offset));
                }
                if spec == OffsetSpec::Latest {
                    self.world.history.lock().exists(tp, listed.offset);
                }
            }
            Called::Answered(Err(FetchError::UnknownPartition)) => {
                if !self.is_doomed(tp) {
                    self.world.violation(format!("list offsets: {tp} exists, but node {} does not know it", live.node));
                }
            }
            Called::Answered(Err(_)) => self.world.count("outcome offsets unavailable"),
            Called::NoAnswer => return Err(Gone),
        }
        Ok(())
    }

    /// That of a record, or a little before or past it; past all of them.
    fn some_time(&self, tp: TopicPartition) -> i64 {
        if self.dice.one_in(8) {
            return i64::MAX / 2;
        }
        let known = self.world.history.lock().some_time(tp, |n| self.dice.below(n));
        known.map_or(0, |time| time + self.dice.between(0, 2) as i64 - 1)
    }
}
