//! Tells by its first bytes a peer that does not speak Kafka, so that it can be told what to do instead.

/// What a peer speaks that took this port for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Http,
    Tls,
    /// Readable text: as a size of a Kafka request it would be past 500 MB.
    Text([u8; 4]),
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Foreign::Http => f.write_str("this is not Kafka but HTTP"),
            Foreign::Tls => f.write_str("this is not Kafka but TLS"),
            Foreign::Text(first) => write!(f, "this is not Kafka: it begins with \"{}\"", first.escape_ascii()),
        }
    }
}

const HTTP_METHODS: [&[u8; 4]; 10] =
    [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"PRI ", b"CONN", b"TRAC"];

/// As sizes of a Kafka request these four bytes would all be past 300 MB.
pub(crate) fn foreign(first: &[u8]) -> Option<Foreign> {
    let first = first.first_chunk::<4>()?;
    if HTTP_METHODS.contains(&first) {
        return Some(Foreign::Http);
    }
    if first[0] == 0x16 && first[1] == 0x03 {
        return Some(Foreign::Tls);
    }
    first.iter().all(|byte| (0x20..0x7f).contains(byte)).then_some(Foreign::Text(*first))
}

/// The answer to HTTP; `http` is where HTTP is served, if that is known.
pub(crate) fn http_answer(http: Option<&str>) -> String {
    let text = match http {
        Some(http) => format!("This is Lakebed's Kafka port. HTTP is served at {http}\n"),
        None => "This is Lakebed's Kafka port. HTTP is served at another one (--http-listen).\n".to_owned(),
    };
    let len = text.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_http_and_tls_from_kafka() {
        assert_eq!(foreign(b"GET / HTTP/1.1"), Some(Foreign::Http));
        assert_eq!(foreign(b"PRI * HTTP/2.0"), Some(Foreign::Http));
        assert_eq!(foreign(&[0x16, 0x03, 0x01, 0x02, 0]), Some(Foreign::Tls));
        assert_eq!(foreign(&[0, 0, 0, 0x20, 0, 18]), None);
        assert_eq!(foreign(b"CONNECT x"), Some(Foreign::Http));
        assert_eq!(foreign(b"SSH-2.0"), Some(Foreign::Text(*b"SSH-")));
        assert_eq!(Foreign::Text(*b"SSH-").to_string(), "this is not Kafka: it begins with \"SSH-\"");
        assert_eq!(foreign(b"GE"), None);
    }
}
