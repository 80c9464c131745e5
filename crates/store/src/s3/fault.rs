//! From replies that are not a success to the kinds of fault, each with a sentence that says what to do.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::seen::Seen;
use crate::{Fault, FaultKind, ReadError};

/// Where requests go, for messages.
pub(super) struct Where {
    pub(super) bucket: String,
    pub(super) endpoint: String,
}

/// A request without success.
pub(super) struct Failure {
    /// `None` if no reply came.
    pub(super) status: Option<u16>,
    code: String,
    pub(super) fault: Fault,
}

impl Failure {
    pub(super) fn new<E>(error: &SdkError<E>, place: &Where, seen: &Seen) -> Failure
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let code = error.code().unwrap_or_default().to_owned();
        match error.raw_response().map(|raw| raw.status().as_u16()) {
            Some(status) => {
                let message = error.message().unwrap_or_default();
                let fault = of_reply(status, &code, message, place, seen);
                Failure { status: Some(status), code, fault }
            }
            None => Failure { status: None, code, fault: of_silence(error, place) },
        }
    }

    /// Worth another try before giving up.
    pub(super) fn may_pass(&self) -> bool {
        match self.fault.kind {
            FaultKind::Throttled | FaultKind::Conflict | FaultKind::Server => true,
            FaultKind::Timeout | FaultKind::Denied | FaultKind::NoSpace | FaultKind::Other => false,
        }
    }

    /// The store says so itself: a 404 of something on the way (a proxy's page) proves nothing.
    pub(super) fn is_missing_object(&self) -> bool {
        self.status == Some(404) && self.code == "NoSuchKey"
    }

    pub(super) fn of_get(self) -> ReadError {
        if self.is_missing_object() { ReadError::NotFound } else { ReadError::Fault(self.fault) }
    }

    /// The reply to a HEAD has no body to say what is missing.
    pub(super) fn of_head(self) -> ReadError {
        let missing = self.status == Some(404) && self.code != "NoSuchBucket";
        if missing { ReadError::NotFound } else { ReadError::Fault(self.fault) }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure { status: None, code: String::new(), fault }
    }
}

/// By status first: codes differ between services, and a HEAD has none.
fn of_reply(status: u16, code: &str, message: &str, place: &Where, seen: &Seen) -> Fault {
    let Where { bucket, endpoint } = place;
    let said = match (code, message) {
        ("", _) => format!("{endpoint} answered {status}"),
        (code, "") => format!("{endpoint} answered {status} {code}"),
        (code, message) => format!("{endpoint} answered {status} {code} ({})", message.trim_end_matches('.')),
    };
    let other_region = || {
        let region = seen.bucket_region.as_deref().unwrap_or("the bucket's region");
        (FaultKind::Other, format!(": set AWS_REGION to {region}"))
    };
    let (kind, hint) = match (status, code) {
        (_, "NoSuchBucket") => (FaultKind::Other, format!(": create the bucket {bucket}, or correct --store")),
        (_, "RequestTimeTooSkewed") => (FaultKind::Denied, ": set the clock of this machine".into()),
        (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken") => {
            (FaultKind::Denied, ": renew the AWS credentials".into())
        }
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => {
            (FaultKind::Denied, ": correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into())
        }
        (_, "QuotaExceeded" | "XMinioStorageFull") | (507, _) => {
            (FaultKind::NoSpace, ": free space or raise the quota".into())
        }
        // Without the right to list, S3 answers 403 for objects that are missing.
        (401 | 403, _) => {
            let rights = "s3:GetObject, s3:PutObject, s3:ListBucket and, for cleaning, s3:DeleteObject";
            (FaultKind::Denied, format!(": allow {rights} on the bucket {bucket}"))
        }
        (301 | 302 | 307 | 308, _) | (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            other_region()
        }
        (408, _) | (400, "RequestTimeout") => (FaultKind::Timeout, String::new()),
        // What the client makes of a reply that does not say what is missing.
        (404, "" | "NotFound") => {
            (FaultKind::Server, ", not as an object store does: correct AWS_ENDPOINT_URL, or look at the proxy".into())
        }
        (409, _) => (FaultKind::Conflict, String::new()),
        (429 | 503, _) => (FaultKind::Throttled, String::new()),
        (501, _) => (FaultKind::Other, ": the service lacks conditional writes, use another one".into()),
        // A success that cannot be understood, or 200 with an error inside.
        (200..=299 | 500..=599, _) => (FaultKind::Server, String::new()),
        _ => (FaultKind::Other, String::new()),
    };
    Fault { kind, message: said + &hint }
}

/// No reply: not sent at all, or cut off on the way.
fn of_silence<E>(error: &SdkError<E>, place: &Where) -> Fault
where
    E: std::error::Error + 'static,
{
    use std::error::Error as _;
    // The client's own word for it ("dispatch failure") helps nobody.
    let why = error.source().map_or_else(|| chain(error), chain);
    let credentials = why.to_ascii_lowercase().contains("credentials");
    let endpoint = &place.endpoint;
    let (kind, message) = match error {
        SdkError::TimeoutError(_) => (FaultKind::Timeout, format!("no answer from {endpoint} in time: {why}")),
        _ if credentials => {
            let hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role";
            (FaultKind::Denied, format!("no usable AWS credentials ({why}): {hint}"))
        }
        SdkError::DispatchFailure(failure) if failure.is_user() || why.contains("not a valid URI") => {
            (FaultKind::Other, format!("cannot send to {endpoint} ({why}): correct AWS_ENDPOINT_URL"))
        }
        SdkError::DispatchFailure(_) => {
            (FaultKind::Timeout, format!("cannot reach {endpoint} ({why}): check the network and AWS_ENDPOINT_URL"))
        }
        SdkError::ConstructionFailure(_) => (FaultKind::Other, format!("cannot make a request: {why}")),
        _ => (FaultKind::Server, format!("{endpoint} sent a reply that cannot be understood: {why}")),
    };
    Fault { kind, message }
}

/// An error with its causes on one line, each told once.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = first_line(error);
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_told = first_line(next);
        if !told.contains(&next_told) {
            told = format!("{told}: {next_told}");
        }
        cause = next.source();
    }
    told
}

fn first_line(error: &(dyn std::error::Error + 'static)) -> String {
    let told = error.to_string();
    told.lines().next().unwrap_or_default().trim_end_matches("Attempted:").trim_end_matches([' ', '.', ':']).to_owned()
}
