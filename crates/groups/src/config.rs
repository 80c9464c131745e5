use std::time::Duration;

/// Limits and times of a group; each field names the Kafka broker or group property that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `group.max.size` and `group.consumer.max.size`; members that were only given an id (KIP-394) count too.
    pub max_members: usize,
    /// Upper bound in bytes of what members say of themselves plus their assignments; also of the persisted form.
    pub max_metadata: usize,
    /// `group.min.session.timeout.ms`, classic.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`, classic.
    pub max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty classic group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// How long a new classic member may wait for its first generation before it is given up (Kafka: a fixed 5 min).
    pub new_member_join_timeout: Duration,
    /// `group.consumer.session.timeout.ms`, KIP-848.
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`, KIP-848.
    pub consumer_heartbeat_interval: Duration,
    /// How many different regular expressions the members of one group may subscribe with: each is run over all topic names.
    pub max_regexes: usize,
    /// How long after a write that was not taken the next one is tried.
    pub persist_retry: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_members: 1_000,
            max_metadata: 1 << 20,
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::ZERO,
            new_member_join_timeout: Duration::from_secs(5 * 60),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(1),
            max_regexes: 16,
            persist_retry: Duration::from_millis(500),
        }
    }
}
