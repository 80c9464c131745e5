//! FindCoordinator, 0–6: which node answers for a group. From version 4 on for several groups at once (KIP-699).

use super::ErrorCode;
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

/// The kind of key that is the id of a consumer group, as opposed to transactional ids (1) and share groups (2).
pub const GROUP: i8 = 0;

#[derive(Clone, Debug)]
pub struct FindCoordinatorRequest<'a> {
    pub key_type: i8,
    /// One before version 4.
    pub keys: Array<'a, &'a str>,
}

impl<'a> FindCoordinatorRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let one = if r.version() < 4 { Some(r.one()?) } else { None };
        let key_type = r.since(1, GROUP, Reader::i8)?;
        let keys = one.map_or_else(|| r.array(), Ok)?;
        r.tags()?;
        Ok(Self { key_type, keys })
    }
}

#[derive(Clone, Debug)]
pub struct Coordinator<'a> {
    pub key: &'a str,
    /// −1 with an error; then host and port are "" and −1.
    pub node_id: i32,
    pub host: &'a str,
    pub port: i32,
    pub error: ErrorCode,
    pub error_message: Option<String>,
}

/// One answer for every key, in their order.
///
/// # Panics
/// Without any answer before version 4, which asks for exactly one.
pub fn encode_response(w: &mut Writer, coordinators: &[Coordinator<'_>]) {
    if w.since(1) {
        w.i32(0);
    }
    if w.since(4) {
        w.array(coordinators, |w, coordinator| coordinator.encode(w));
    } else {
        coordinators.first().expect("one key, one answer").encode_alone(w);
    }
    w.tags();
}

impl Coordinator<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.key);
        self.encode_node(w);
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        w.tags();
    }

    fn encode_alone(&self, w: &mut Writer) {
        w.error(self.error);
        if w.since(1) {
            w.nullable_string(self.error_message.as_deref());
        }
        self.encode_node(w);
    }

    fn encode_node(&self, w: &mut Writer) {
        w.i32(self.node_id);
        w.string(self.host);
        w.i32(self.port);
    }
}
