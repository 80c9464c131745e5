//! Opens the store that was typed, and tries it before it is trusted for the first time.

use std::sync::Arc;

use anyhow::{Context, Result};
use lakebed_store::env::Env;
use lakebed_store::profile::Profile;
use lakebed_store::url::{self, StoreUrl};
use lakebed_store::{Store, probe};

use crate::cli::StoreProfile;

pub async fn store(at: &StoreUrl, profile: StoreProfile, env: &Env) -> Result<Arc<dyn Store>> {
    let profile = match profile {
        StoreProfile::None => Profile::None,
        StoreProfile::S3Standard => Profile::S3Standard,
        StoreProfile::S3Express => Profile::S3Express,
    };
    Ok(url::open(at, env, profile).await?)
}

/// On a bucket that nobody has used yet: does it keep the promises of section 4.7?
pub async fn try_new(store: &dyn Store, at: &StoreUrl, env: &Env) -> Result<()> {
    if lakebed_manifest::is_new(store, env).await? {
        tracing::info!(store = %at, "first start: trying whether the store keeps its promises");
        let report = probe::probe(store, env)
            .await
            .with_context(|| format!("{at} cannot hold data safely; use another store"))?;
        tracing::info!(promises = report.kept.len(), clock_offset_ms = report.clock_offset_ms, "the store keeps them");
    }
    Ok(())
}
