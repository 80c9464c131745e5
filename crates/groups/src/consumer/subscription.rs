use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use crate::GroupError;
use crate::topics::{Shapes, Topics};

/// What a member subscribes to: names, and all topics whose whole name matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subscription {
    pub names: BTreeSet<String>,
    pub regex: Option<String>,
}

/// Longest regular expression in bytes, and what it may take in memory compiled: it comes from anybody.
const MAX_REGEX_LEN: usize = 4_096;
const MAX_REGEX_SIZE: usize = 256 << 10;

impl Subscription {
    pub fn check(&self) -> Result<(), GroupError> {
        self.compiled().map(|_| ())
    }

    /// The topics there are of it. The compiled expression is not kept: it would take far more memory than what it finds.
    pub fn resolve(&self, topics: &dyn Topics) -> Shapes {
        let mut found = Shapes::new();
        let named = self.names.iter().filter_map(|name| topics.find(name));
        found.extend(named.map(|shape| (shape.id, shape.partitions)));
        if let Ok(Some(regex)) = self.compiled() {
            topics.each(&mut |name, shape| {
                if regex.is_match(name) {
                    found.insert(shape.id, shape.partitions);
                }
            });
        }
        found
    }

    pub fn size(&self) -> usize {
        self.names.iter().map(|n| n.len() + 4).sum::<usize>() + self.regex.as_ref().map_or(0, String::len)
    }

    fn compiled(&self) -> Result<Option<Regex>, GroupError> {
        let Some(pattern) = &self.regex else { return Ok(None) };
        if pattern.len() > MAX_REGEX_LEN {
            return Err(GroupError::InvalidRegularExpression);
        }
        // By itself first: what is put around it must not mend a pattern such as `a)|(b`.
        build(pattern)?;
        build(&format!(r"\A(?:{pattern})\z")).map(Some)
    }
}

fn build(pattern: &str) -> Result<Regex, GroupError> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_REGEX_SIZE).dfa_size_limit(MAX_REGEX_SIZE).nest_limit(64);
    builder.build().map_err(|_| GroupError::InvalidRegularExpression)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> Result<bool, GroupError> {
        let subscription = Subscription { regex: Some(pattern.into()), ..Default::default() };
        Ok(subscription.compiled()?.is_some_and(|r| r.is_match(name)))
    }

    #[test]
    fn the_whole_name_must_match() {
        assert_eq!(matches("orders", "orders"), Ok(true));
        assert_eq!(matches("orders", "orders-2"), Ok(false));
        assert_eq!(matches("a|ab", "ab"), Ok(true));
        assert_eq!(matches("order.*", "my-orders"), Ok(false));
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused() {
        for bad in ["(", "[", "a)|(b", "*", &"a".repeat(MAX_REGEX_LEN + 1), "(a{1000}){1000}", &"(".repeat(200)] {
            assert_eq!(matches(bad, "a"), Err(GroupError::InvalidRegularExpression), "{bad:.20}");
        }
    }
}
