//! `lakebed doctor`: may this store be trusted with data? What it finds goes to standard output.

use anyhow::{Context, Result};
use lakebed_store::env::Env;

use crate::cli::{DoctorArgs, StoreProfile};
use crate::open;

pub async fn doctor(args: DoctorArgs) -> Result<()> {
    let env = Env::system();
    println!("store  {}", args.store);
    let store = open::store(&args.store, StoreProfile::None, &env).await?;
    println!("ok     it can be reached, and written with these credentials");
    let report = lakebed_store::probe::probe(store.as_ref(), &env)
        .await
        .with_context(|| format!("{} must not be used", args.store))?;
    for promise in &report.kept {
        println!("ok     {promise}");
    }
    let side = if report.clock_offset_ms < 0 { "behind" } else { "ahead of" };
    println!("clock  the store's is {} ms {side} this machine's", report.clock_offset_ms.unsigned_abs());
    for note in &report.notes {
        println!("note   {note}");
    }
    println!("all kept: Lakebed can use this store");
    Ok(())
}
