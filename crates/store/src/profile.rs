//! Injected latency: what would this feel like on S3? (`--store-profile`)
//!
//! Each request is drawn a duration, of which one half passes before the inner store is asked and one half after, as on
//! a network. Nothing else changes. Draws come from the environment's entropy, sleeps go by its clock.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use lakebed_record::keys::Key;

use crate::env::{Clock, Entropy, Env};
use crate::{
    Body, BoxFuture, Created, Fault, Listing, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped, Version,
};

/// Which store to imitate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    #[default]
    None,
    /// S3 Standard, small objects.
    S3Standard,
    /// S3 Express One Zone.
    S3Express,
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(s: &str) -> Result<Profile, String> {
        match s {
            "none" => Ok(Profile::None),
            "s3-standard" => Ok(Profile::S3Standard),
            "s3-express" => Ok(Profile::S3Express),
            _ => Err(format!("unknown store profile {s:?}: use none, s3-standard or s3-express")),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::None => "none",
            Profile::S3Standard => "s3-standard",
            Profile::S3Express => "s3-express",
        })
    }
}

/// Log-normal by its median and 99th percentile, with a long tail drawn evenly. All in ms.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    p50: f64,
    p99: f64,
    tail: (f64, f64),
}

/// The share of requests in the tail.
const TAIL: f64 = 0.003;
/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

impl Latency {
    /// The latency for three draws of 64 random bits.
    pub fn sample(&self, draws: [u64; 3]) -> Duration {
        let [tail, a, b] = draws.map(unit);
        let ms = if tail < TAIL {
            self.tail.0 + (self.tail.1 - self.tail.0) * a
        } else {
            // Box and Muller; 1 - a is never 0.
            let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
            let sigma = (self.p99 / self.p50).ln() / Z99;
            self.p50 * (sigma * normal).exp()
        };
        Duration::from_secs_f64(ms / 1_000.0)
    }
}

/// In [0, 1).
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

impl Profile {
    /// Of creates and swaps; `None` without delays.
    pub fn put(self) -> Option<Latency> {
        match self {
            Profile::None => None,
            Profile::S3Standard => Some(Latency { p50: 45.0, p99: 150.0, tail: (300.0, 600.0) }),
            Profile::S3Express => Some(Latency { p50: 10.0, p99: 26.0, tail: (50.0, 100.0) }),
        }
    }

    /// Of reads, lists and deletes.
    pub fn get(self) -> Option<Latency> {
        match self {
            Profile::None => None,
            Profile::S3Standard => Some(Latency { p50: 25.0, p99: 80.0, tail: (300.0, 600.0) }),
            Profile::S3Express => Some(Latency { p50: 5.0, p99: 15.0, tail: (50.0, 100.0) }),
        }
    }
}

/// A store with the latency of another.
pub struct Profiled {
    inner: Arc<dyn Store>,
    profile: Profile,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Profiled {
    pub fn new(inner: Arc<dyn Store>, profile: Profile, env: &Env) -> Profiled {
        Profiled { inner, profile, clock: env.clock.clone(), entropy: env.entropy.clone() }
    }

    async fn delayed<T>(&self, latency: Option<Latency>, request: BoxFuture<'_, T>) -> T {
        let Some(latency) = latency else {
            return request.await;
        };
        let half = latency.sample(std::array::from_fn(|_| self.entropy.u64())) / 2;
        self.clock.sleep(half).await;
        let reply = request.await;
        self.clock.sleep(half).await;
        reply
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Profiled {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(self.delayed(self.profile.put(), self.inner.create(key, body)))
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(self.delayed(self.profile.get(), self.inner.get(key, range)))
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(self.delayed(self.profile.get(), self.inner.head(key)))
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(self.delayed(self.profile.put(), self.inner.swap(key, expected, body)))
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(self.delayed(self.profile.get(), self.inner.delete(key)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(self.delayed(self.profile.get(), self.inner.list(prefix, after)))
    }

    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn refuses_short_bodies(&self) -> bool {
        self.inner.refuses_short_bodies()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn keeps_the_contract() {
        let env = Env::system();
        let memory = Arc::new(MemoryStore::new(&env));
        let store = Profiled::new(memory, Profile::S3Express, &env);
        crate::conformance::run(Arc::new(store), &env).await;
    }

    #[test]
    fn percentiles_are_those_of_the_profile() {
        const N: usize = 200_000;
        for (profile, put, get, tail) in [
            (Profile::S3Standard, (45.0, 150.0), (25.0, 80.0), 300.0),
            (Profile::S3Express, (10.0, 26.0), (5.0, 15.0), 50.0),
        ] {
            for (latency, (p50, p99)) in [(profile.put(), put), (profile.get(), get)] {
                let latency = latency.unwrap();
                let mut random = xorshift(0x9e37_79b9_7f4a_7c15);
                let mut ms: Vec<f64> =
                    (0..N).map(|_| latency.sample(std::array::from_fn(|_| random())).as_secs_f64() * 1_000.0).collect();
                ms.sort_by(f64::total_cmp);
                let at = |p: f64| ms[(N as f64 * p) as usize];
                assert!((at(0.5) / p50 - 1.0).abs() < 0.02, "{profile} p50 {}", at(0.5));
                // The tail's 0.3 % lies above the log-normal's 99th percentile.
                assert!((at(0.99 * (1.0 - TAIL)) / p99 - 1.0).abs() < 0.05, "{profile} p99 {}", at(0.987));
                let in_tail = ms.iter().filter(|&&m| m >= tail).count() as f64 / N as f64;
                assert!((0.0025..0.0040).contains(&in_tail), "{profile} tail {in_tail}");
            }
        }
    }

    fn xorshift(mut x: u64) -> impl FnMut() -> u64 {
        move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.wrapping_mul(0x2545_f491_4f6c_dd1d)
        }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for profile in [Profile::None, Profile::S3Standard, Profile::S3Express] {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert!("s3".parse::<Profile>().unwrap_err().contains("s3-express"));
    }
}
