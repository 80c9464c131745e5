//! The front end over a broker on a bucket in memory, asked through sockets by another implementation's codec.

mod admin;
mod client;
mod configs;
mod data;
mod fetch_sessions;
mod groups;
mod memory;
mod produce;
mod protocol;
mod topics;
