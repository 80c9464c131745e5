//! What a raw reply says besides what the client's types show: its `Date` above all.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use parking_lot::Mutex;

/// Headers of one reply; all empty if none came.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) date_ms: Option<i64>,
    /// The region of the bucket, told when it is not the one that was asked.
    pub(super) bucket_region: Option<String>,
    /// When the store wants to be asked again, from this reply on.
    pub(super) retry_after: Option<Duration>,
    content_range: Option<String>,
}

/// Which part of an object a reply holds.
pub(super) struct Part {
    pub(super) start: u64,
    pub(super) total_len: u64,
}

impl Seen {
    /// `None` if Content-Range cannot be understood or contradicts the announced length.
    pub(super) fn part(&self, announced: u64) -> Option<Part> {
        let Some(content_range) = &self.content_range else {
            return Some(Part { start: 0, total_len: announced });
        };
        let (range, total) = content_range.strip_prefix("bytes ")?.split_once('/')?;
        let (start, last) = range.split_once('-')?;
        let (start, last): (u64, u64) = (start.trim().parse().ok()?, last.trim().parse().ok()?);
        let total_len: u64 = total.trim().parse().ok()?;
        let consistent = last < total_len && last.checked_sub(start)?.checked_add(1)? == announced;
        consistent.then_some(Part { start, total_len })
    }
}

/// Looks at the reply to the one request that it is attached to.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut self.0.lock())
    }

    pub(super) fn peek(&self) -> Seen {
        self.0.lock().clone()
    }
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        let date_ms = headers.get("date").and_then(http_date);
        *self.0.lock() = Seen {
            date_ms,
            retry_after: headers.get("retry-after").and_then(|told| retry_after(told, date_ms)),
            bucket_region: headers.get("x-amz-bucket-region").map(str::to_owned),
            content_range: headers.get("content-range").map(str::to_owned),
        };
        Ok(())
    }
}

fn http_date(date: &str) -> Option<i64> {
    DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?.to_millis().ok()
}

/// Seconds, or a date by the store's clock (RFC 9110, 10.2.3).
fn retry_after(told: &str, date_ms: Option<i64>) -> Option<Duration> {
    match told.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(Duration::from_millis(u64::try_from(http_date(told)? - date_ms?).unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date_ms = http_date("Tue, 24 Nov 2026 15:00:00 GMT");
        let told = |told| retry_after(told, date_ms).map(|wait| wait.as_secs());
        assert_eq!(told("120"), Some(120));
        assert_eq!(told(" 0 "), Some(0));
        assert_eq!(told("Tue, 24 Nov 2026 15:00:07 GMT"), Some(7));
        assert_eq!(told("Tue, 24 Nov 2026 14:00:00 GMT"), Some(0), "it is over");
        for strange in ["", "-1", "1.5", "soon", "99999999999999999999"] {
            assert_eq!(told(strange), None, "{strange}");
        }
        assert_eq!(retry_after("Tue, 24 Nov 2026 15:00:07 GMT", None), None);
    }

    fn part(content_range: &str, announced: u64) -> Option<(u64, u64)> {
        let seen = Seen { content_range: Some(content_range.into()), ..Seen::default() };
        seen.part(announced).map(|p| (p.start, p.total_len))
    }

    #[test]
    fn content_range_is_understood_or_refused() {
        assert_eq!(part("bytes 0-9/100", 10), Some((0, 100)));
        assert_eq!(part("bytes 90-99/100", 10), Some((90, 100)));
        for strange in ["bytes 0-9/*", "bytes */100", "0-9/100", "bytes 9-0/100", "bytes 95-104/100", "bytes 0-8/100"] {
            assert_eq!(part(strange, 10), None, "{strange}");
        }
        assert_eq!(part("bytes 0-18446744073709551615/18446744073709551615", 0), None);
        assert_eq!(Seen::default().part(7).map(|p| (p.start, p.total_len)), Some((0, 7)));
    }
}
