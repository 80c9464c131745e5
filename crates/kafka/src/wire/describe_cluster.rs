//! DescribeCluster, 0–2.

use super::ErrorCode;
use super::metadata::{NO_OPERATIONS, Node};
use super::reader::{Reader, Result};
use super::writer::Writer;

/// The brokers, as opposed to the controllers, in the field of endpoint types.
pub const BROKERS: i8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescribeClusterRequest {
    pub endpoint_type: i8,
}

impl DescribeClusterRequest {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.bool()?; // authorised operations: there are none
        let endpoint_type = r.since(1, BROKERS, Reader::i8)?;
        r.since(2, false, Reader::bool)?; // fenced brokers: there are none
        r.tags()?;
        Ok(Self { endpoint_type })
    }
}

#[derive(Clone, Debug)]
pub struct DescribeClusterResponse<'a> {
    pub error: ErrorCode,
    pub error_message: Option<&'a str>,
    pub endpoint_type: i8,
    pub cluster_id: &'a str,
    /// Those that are alive; none with an error.
    pub nodes: &'a [Node<'a>],
    /// One of them; −1 with an error.
    pub controller: i32,
}

impl DescribeClusterResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        w.error(self.error);
        w.nullable_string(self.error_message);
        if w.since(1) {
            w.i8(self.endpoint_type);
        }
        w.string(self.cluster_id);
        w.i32(self.controller);
        w.array(self.nodes, |w, node| {
            node.encode(w);
            w.nullable_string(None);
            if w.since(2) {
                w.bool(false);
            }
            w.tags();
        });
        w.i32(NO_OPERATIONS);
        w.tags();
    }
}
