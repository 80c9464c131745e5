//! Writes a response once: small fields into one buffer, record batches by reference between its parts.

use bytes::Bytes;
use lakebed_record::TopicId;

use super::ErrorCode;

/// Builds one response frame, its four bytes of size included.
pub struct Writer {
    fields: Vec<u8>,
    /// Bytes to be sent as they are, each after so many bytes of `fields`.
    cuts: Vec<(usize, Vec<Bytes>)>,
    cut_bytes: usize,
    errors: Vec<(ErrorCode, u64)>,
    version: i16,
    flexible: bool,
}

/// One finished response, in pieces to be written one after the other.
#[derive(Clone, Debug)]
pub struct Reply {
    pub pieces: Vec<Bytes>,
    pub len: usize,
    /// The error codes in it, and how often each.
    pub errors: Vec<(ErrorCode, u64)>,
}

impl Writer {
    /// Starts the frame with the response header.
    pub fn new(correlation_id: i32, version: i16, flexible: bool, header_has_tags: bool) -> Self {
        let (fields, cuts, errors) = (vec![0; 4], Vec::new(), Vec::new());
        let mut writer = Self { fields, cuts, cut_bytes: 0, errors, version, flexible };
        writer.i32(correlation_id);
        if header_has_tags {
            writer.fields.push(0);
        }
        writer
    }

    /// # Panics
    /// If a response of 2 GiB or more was built: every caller's own limits lie far below.
    pub fn finish(mut self) -> Reply {
        let len = self.fields.len() + self.cut_bytes;
        let size = i32::try_from(len - 4).expect("a response stays below 2 GiB");
        self.fields[..4].copy_from_slice(&size.to_be_bytes());
        let mut fields = Bytes::from(self.fields);
        let mut pieces = Vec::with_capacity(1 + self.cuts.iter().map(|(_, p)| p.len() + 1).sum::<usize>());
        let mut written = 0;
        for (at, records) in self.cuts {
            pieces.push(fields.split_to(at - written));
            pieces.extend(records.into_iter().filter(|piece| !piece.is_empty()));
            written = at;
        }
        if !fields.is_empty() {
            pieces.push(fields);
        }
        Reply { pieces, len, errors: self.errors }
    }

    /// Makes room for so many bytes at once: growing step by step takes up to three times as much.
    pub fn reserve(&mut self, bytes: usize) {
        self.fields.reserve(bytes);
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether this version has a field that came with `version`.
    pub fn since(&self, version: i16) -> bool {
        self.version >= version
    }

    pub fn i8(&mut self, v: i8) {
        self.fields.extend_from_slice(&v.to_be_bytes());
    }

    pub fn i16(&mut self, v: i16) {
        self.fields.extend_from_slice(&v.to_be_bytes());
    }

    pub fn i32(&mut self, v: i32) {
        self.fields.extend_from_slice(&v.to_be_bytes());
    }

    pub fn i64(&mut self, v: i64) {
        self.fields.extend_from_slice(&v.to_be_bytes());
    }

    pub fn bool(&mut self, v: bool) {
        self.fields.push(u8::from(v));
    }

    pub fn error(&mut self, code: ErrorCode) {
        self.i16(code as i16);
        if code == ErrorCode::None {
            return;
        }
        match self.errors.iter_mut().find(|(counted, _)| *counted == code) {
            Some((_, times)) => *times += 1,
            None => self.errors.push((code, 1)),
        }
    }

    pub fn topic_id(&mut self, id: TopicId) {
        self.fields.extend_from_slice(&id.0.to_be_bytes());
    }

    pub fn unsigned_varint(&mut self, mut v: u32) {
        while v >= 0x80 {
            self.fields.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.fields.push(v as u8);
    }

    pub fn string(&mut self, text: &str) {
        self.nullable_string(Some(text));
    }

    /// Text that the old two-byte length cannot hold is cut (at a character): only messages meant for people are that long.
    pub fn nullable_string(&mut self, text: Option<&str>) {
        match (text, self.flexible) {
            (None, true) => self.fields.push(0),
            (None, false) => self.i16(-1),
            (Some(text), _) => {
                let text = &text[..text.floor_char_boundary(i16::MAX as usize)];
                if self.flexible {
                    self.unsigned_varint(text.len() as u32 + 1);
                } else {
                    self.i16(text.len() as i16);
                }
                self.fields.extend_from_slice(text.as_bytes());
            }
        }
    }

    pub fn array_len(&mut self, len: usize) {
        let len = u32::try_from(len).expect("an array has fewer than 2^31 elements");
        if self.flexible { self.unsigned_varint(len + 1) } else { self.i32(len as i32) }
    }

    pub fn null_array(&mut self) {
        if self.flexible { self.fields.push(0) } else { self.i32(-1) }
    }

    pub fn array<T>(&mut self, elements: &[T], write: impl Fn(&mut Self, &T)) {
        self.array_len(elements.len());
        for element in elements {
            write(self, element);
        }
    }

    pub fn i32_array(&mut self, values: &[i32]) {
        self.array(values, |w, v| w.i32(*v));
    }

    /// A structure behind a byte that says whether it is there.
    pub fn nullable_struct<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.i8(-1),
            Some(value) => {
                self.i8(1);
                write(self, value);
            }
        }
    }

    /// Bytes that mean nothing here, copied.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("a field stays below 2 GiB");
        if self.flexible {
            self.unsigned_varint(len + 1)
        } else {
            self.i32(len as i32)
        }
        self.fields.extend_from_slice(bytes);
    }

    /// Record batches, referred to, not copied.
    pub fn records(&mut self, pieces: Vec<Bytes>) {
        let len = pieces.iter().map(Bytes::len).sum::<usize>();
        let wire_len = u32::try_from(len).expect("records of one partition stay below 2 GiB");
        if self.flexible {
            self.unsigned_varint(wire_len + 1)
        } else {
            self.i32(wire_len as i32)
        }
        if len > 0 {
            self.cut_bytes += len;
            self.cuts.push((self.fields.len(), pieces));
        }
    }

    /// No tagged fields: none of those that a broker may send says anything here.
    pub fn tags(&mut self) {
        if self.flexible {
            self.fields.push(0);
        }
    }
}
