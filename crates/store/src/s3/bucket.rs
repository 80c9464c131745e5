//! What a bucket does with objects by itself: versions that it keeps, lifecycle rules. For `lakebed doctor`; nothing depends on it.

use aws_sdk_s3::types::{BucketVersioningStatus, ExpirationStatus, LifecycleRule};

use super::S3Store;
use super::seen::Watch;

impl S3Store {
    /// Sentences for an operator. A service that does not know the question, or does not let us ask, has nothing to say.
    pub async fn notes(&self) -> Vec<String> {
        let seen = Watch::default();
        let ask = self.client.get_bucket_versioning().bucket(&self.place.bucket).send();
        let versions = self.answer(0, &seen, ask).await;
        let ask = self.client.get_bucket_lifecycle_configuration().bucket(&self.place.bucket).send();
        let rules = self.answer(0, &seen, ask).await;
        let status = versions.as_ref().ok().and_then(|v| v.status());
        notes(status, rules.as_ref().map_or(&[], |r| r.rules()), &self.prefix)
    }
}

fn notes(versions: Option<&BucketVersioningStatus>, rules: &[LifecycleRule], prefix: &str) -> Vec<String> {
    let rules: Vec<&LifecycleRule> =
        rules.iter().filter(|r| *r.status() == ExpirationStatus::Enabled && concerns(r, prefix)).collect();
    let expired = rules.iter().any(|r| r.noncurrent_version_expiration().is_some());
    let mut notes = Vec::new();
    match versions {
        Some(BucketVersioningStatus::Enabled) if !expired => notes.push(
            "the bucket keeps versions: what cleaning deletes goes on being paid for; turn versioning off, or let a \
             lifecycle rule expire noncurrent versions"
                .to_owned(),
        ),
        Some(BucketVersioningStatus::Enabled) => {
            notes.push(
                "the bucket keeps versions: what cleaning deletes is paid for until a lifecycle rule expires it".into(),
            );
        }
        Some(BucketVersioningStatus::Suspended) if !expired => {
            notes.push("the bucket kept versions once: those that are left are paid for".into());
        }
        _ => {}
    }
    for rule in rules {
        let id = rule.id().unwrap_or("without a name");
        if rule.expiration().is_some_and(|e| e.days().is_some() || e.date().is_some()) {
            notes.push(format!("lifecycle rule {id} deletes objects by their age: DATA WILL BE LOST; remove it"));
        }
        if !rule.transitions().is_empty() {
            notes.push(format!(
                "lifecycle rule {id} moves objects to another storage class: reads fail where it needs a restore, and cost more elsewhere"
            ));
        }
    }
    notes
}

/// Whether any object of ours may fall under the rule. Ours carry no tags.
#[expect(deprecated, reason = "old rules state their prefix outside of a filter")]
fn concerns(rule: &LifecycleRule, ours: &str) -> bool {
    let filter = rule.filter();
    let and = filter.and_then(|f| f.and());
    let tagged = filter.is_some_and(|f| f.tag().is_some()) || and.is_some_and(|a| !a.tags().is_empty());
    let prefix = filter.and_then(|f| f.prefix()).or(and.and_then(|a| a.prefix())).or(rule.prefix()).unwrap_or_default();
    !tagged && (ours.starts_with(prefix) || prefix.starts_with(ours))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{
        LifecycleExpiration, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag, Transition, TransitionStorageClass,
    };

    use super::*;

    /// An enabled rule for keys that begin so.
    fn rule(id: &str, prefix: &str) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
    }

    fn by_age() -> LifecycleExpiration {
        LifecycleExpiration::builder().days(30).build()
    }

    #[test]
    fn versions_and_rules_that_concern_our_objects_are_told() {
        let said = |versions: Option<BucketVersioningStatus>, rules: Vec<LifecycleRule>| {
            notes(versions.as_ref(), &rules, "prod/lake/")
        };
        assert!(said(None, vec![]).is_empty());
        let told = said(Some(BucketVersioningStatus::Enabled), vec![]);
        assert!(told.len() == 1 && told[0].contains("turn versioning off"), "{told:?}");
        assert_eq!(said(Some(BucketVersioningStatus::Suspended), vec![]).len(), 1);
        let expires = NoncurrentVersionExpiration::builder().noncurrent_days(1).build();
        let told = said(
            Some(BucketVersioningStatus::Enabled),
            vec![rule("a", "").noncurrent_version_expiration(expires).build().unwrap()],
        );
        assert!(told.len() == 1 && told[0].contains("until a lifecycle rule"), "{told:?}");
        for (prefix, told) in [("", 1), ("prod/", 1), ("prod/lake/log/", 1), ("prod/other/", 0), ("logs/", 0)] {
            let said = said(None, vec![rule("thirty", prefix).expiration(by_age()).build().unwrap()]);
            assert_eq!(said.len(), told, "{prefix}: {said:?}");
            assert!(said.iter().all(|s| s.contains("rule thirty") && s.contains("LOST")), "{said:?}");
        }
        let glacier = Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build();
        assert_eq!(said(None, vec![rule("cold", "").transitions(glacier).build().unwrap()]).len(), 1);
        let tag = Tag::builder().key("k").value("v").build().unwrap();
        let tagged = LifecycleRule::builder()
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().tag(tag).build())
            .expiration(by_age());
        let off = rule("off", "").status(ExpirationStatus::Disabled).expiration(by_age());
        let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
        let rest = [tagged, off, rule("markers", "").expiration(markers)].map(|r| r.build().unwrap());
        assert!(said(None, rest.into()).is_empty());
    }
}
