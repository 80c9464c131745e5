use bytes::Bytes;

/// One embedded protocol that a classic member can speak: an assignor's name and what it says under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: String,
    pub metadata: Bytes,
}
