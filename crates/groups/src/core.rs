use crate::config::Config;
use crate::outbox::Outbox;

/// What a group has whatever its kind.
#[derive(Debug)]
pub(crate) struct Core {
    pub config: Config,
    /// The generation (classic) or group epoch (KIP-848) in memory; what is written may be older.
    pub generation: i32,
    pub out: Outbox,
}

impl Core {
    /// Kafka's generations are positive; one that wraps starts again at 1.
    pub fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1).max(1);
        self.out.changed();
    }
}
