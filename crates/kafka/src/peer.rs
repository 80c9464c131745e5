//! Tells by its first bytes a peer that does not speak Kafka, so that it can be told what to do instead.

/// What a peer speaks that took this port for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Http,
    Tls,
}

const HTTP_METHODS: [&[u8; 4]; 8] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"PRI "];

/// As sizes of a Kafka request these four bytes would all be past 300 MB.
pub(crate) fn foreign(first: &[u8]) -> Option<Foreign> {
    let first = first.first_chunk::<4>()?;
    if HTTP_METHODS.contains(&first) {
        return Some(Foreign::Http);
    }
    (first[0] == 0x16 && first[1] == 0x03).then_some(Foreign::Tls)
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
        assert_eq!(foreign(b"GE"), None);
    }
}
