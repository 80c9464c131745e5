//! From validated batches to acknowledged ones: the planner decides when, `assemble` lays out what, `stream` does it.

pub(crate) mod assemble;
pub(crate) mod connection;
pub(crate) mod planner;
mod queue;
pub(crate) mod request;
pub(crate) mod stream;
mod upload;
