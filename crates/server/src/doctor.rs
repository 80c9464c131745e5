//! `lakebed doctor`: may this store be trusted with data? What it finds goes to standard output. The verdict is
//! the exit code, too.

use anyhow::{Context, Result};
use lakebed_store::env::Env;

use crate::cli::{DoctorArgs, StoreProfile};
use crate::open;
use crate::output::say;

pub async fn doctor(args: DoctorArgs) -> Result<()> {
    let env = Env::system();
    say(format_args!("store  {}", args.store));
    let store = open::store(&args.store, StoreProfile::None, &env).await?;
    say(format_args!("ok     it can be reached, and written with these credentials"));
    let report = lakebed_store::probe::probe(store.as_ref(), &env)
        .await
        .with_context(|| format!("{} must not be used", args.store))?;
    for promise in &report.kept {
        say(format_args!("ok     {promise}"));
    }
    let side = if report.clock_offset_ms < 0 { "behind" } else { "ahead of" };
    say(format_args!("clock  the store's is {} ms {side} this machine's", report.clock_offset_ms.unsigned_abs()));
    let of_bucket = lakebed_store::url::notes(&args.store, &env).await?;
    for note in report.notes.iter().chain(&of_bucket) {
        say(format_args!("note   {note}"));
    }
    say(format_args!("all kept: Lakebed can use this store"));
    Ok(())
}
