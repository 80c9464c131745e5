//! Whether the node may get traffic. Pure: facts in, reasons out.

use std::time::Duration;

/// A commit that waits longer than this is a store that does not work.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
/// A probe of the store older than this (one is due every 5 s) has hung.
const PROBE_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The node is known in the log: its `node up` has applied.
    pub registered: bool,
    /// It takes no new connections any more.
    pub stopping: bool,
    /// Why it stopped serving for good, if it did.
    pub halted: Option<String>,
    /// Age of the oldest commit without an answer.
    pub oldest_pending_commit: Option<Duration>,
    pub memory_used: u64,
    pub memory_budget: u64,
    /// How the store's last call ended: `None` if well, else what was said.
    pub store_fault: Option<String>,
    /// Since the last call that the store answered.
    pub store_silent_for: Duration,
}

/// One sentence per reason; none means ready.
pub fn not_ready(facts: &Facts) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(why) = &facts.halted {
        reasons.push(format!("stopped serving: {why}"));
    }
    if facts.stopping {
        reasons.push("stopping".to_owned());
    }
    if !facts.registered {
        reasons.push("not registered in the log yet".to_owned());
    }
    if let Some(age) = facts.oldest_pending_commit.filter(|age| *age >= COMMIT_PATIENCE) {
        reasons.push(format!("a commit has been pending for {:.1} s", age.as_secs_f64()));
    }
    if facts.memory_used >= facts.memory_budget {
        reasons.push(format!("the memory budget is used up: {} of {} bytes", facts.memory_used, facts.memory_budget));
    }
    if let Some(fault) = &facts.store_fault {
        reasons.push(format!("the last call of the store failed: {fault}"));
    } else if facts.store_silent_for >= PROBE_PATIENCE {
        reasons.push(format!("the store has not answered for {:.0} s", facts.store_silent_for.as_secs_f64()));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Facts {
        Facts { registered: true, memory_budget: 100, ..Facts::default() }
    }

    #[test]
    fn nothing_wrong_is_ready() {
        let busy = Facts { oldest_pending_commit: Some(Duration::from_millis(4_999)), memory_used: 99, ..ready() };
        assert!(not_ready(&ready()).is_empty());
        assert!(not_ready(&busy).is_empty());
    }

    #[test]
    fn each_fact_alone_is_a_reason() {
        let cases = [
            (Facts { registered: false, ..ready() }, "not registered"),
            (Facts { stopping: true, ..ready() }, "stopping"),
            (Facts { halted: Some("clock".into()), ..ready() }, "clock"),
            (Facts { oldest_pending_commit: Some(Duration::from_secs(5)), ..ready() }, "pending for 5.0 s"),
            (Facts { memory_used: 100, ..ready() }, "memory budget"),
            (Facts { store_fault: Some("connection refused".into()), ..ready() }, "connection refused"),
            (Facts { store_silent_for: Duration::from_secs(15), ..ready() }, "has not answered"),
        ];
        for (facts, expected) in cases {
            let reasons = not_ready(&facts);
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            assert!(reasons[0].contains(expected), "{reasons:?}");
        }
    }
}
