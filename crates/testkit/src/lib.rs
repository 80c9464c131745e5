//! A whole cluster on simulated time and a store that fails: for tests only.
//!
//! Everything follows from one seed. What real machines do to a process is done here at every await: it is paused, its
//! machine is suspended, its clocks jump, it dies; what a network and a store do to a request is done to every request.

pub mod entropy;
pub mod faults;
pub mod history;
pub mod ledger;
pub mod power;
pub mod sim;
pub mod store;
pub mod switch;
pub mod time;
pub mod trace;
