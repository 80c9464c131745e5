//! The S3 client: the standard AWS settings, without retries, checksums or time-outs that we set ourselves.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_types::service_config::ServiceConfigKey;

use super::S3OpenError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Other S3 services do not care, but a signature has to name one.
const ANY_REGION: &str = "us-east-1";

/// The client and, for messages, what it talks to.
pub(super) async fn from_environment() -> Result<(Client, String), S3OpenError> {
    let loader = aws_config::defaults(BehaviorVersion::latest());
    let loader = if endpoint_in_environment() {
        // Without the instance metadata service, which off EC2 only costs time.
        let told = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
        loader.region(told.or_else(ProfileFileRegionProvider::new()).or_else(Region::from_static(ANY_REGION)))
    } else {
        loader
    };
    let settings = loader.load().await;
    let endpoint = endpoint(&settings);
    let mut config = tuned(Builder::from(&settings));
    if endpoint.is_some() {
        config = config.force_path_style(true);
    }
    match (settings.region(), endpoint) {
        (None, None) => Err(S3OpenError::NoRegion),
        (Some(region), None) => Ok((Client::from_conf(config.build()), format!("S3 in {region}"))),
        (Some(_), Some(url)) => Ok((Client::from_conf(config.build()), url)),
        (None, Some(url)) => Ok((Client::from_conf(config.region(Region::from_static(ANY_REGION)).build()), url)),
    }
}

/// One request per call, checksums only where we give them, time-outs by the caller's clock.
pub(super) fn tuned(config: Builder) -> Builder {
    config
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

fn endpoint_in_environment() -> bool {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
}

/// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or a profile's `endpoint_url`, in the order that the client follows.
fn endpoint(settings: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let of_s3 = key.ok().and_then(|key| settings.service_config()?.load_config(key));
    of_s3.or_else(|| settings.endpoint_url().map(str::to_owned))
}
