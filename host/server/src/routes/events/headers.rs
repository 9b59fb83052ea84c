//! Context attributes in `ce-` headers, as the CloudEvents HTTP binding 1.0.2 (section 3.1.3) writes them.

use crate::problem::Problem;
use axum::http::HeaderMap;

/// The attribute's text; `None` without its header.
pub fn header(headers: &HeaderMap, attribute: &str) -> Result<Option<String>, Problem> {
    let wrong = |detail: &str| Problem::invalid_field(format!("/{attribute}"), detail);
    let mut values = headers.get_all(format!("ce-{attribute}")).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("its header is a duplicate"));
    }
    match unquoted(value.as_bytes()).and_then(|bytes| decoded(&bytes)) {
        Some(text) => Ok(Some(text)),
        None => Err(wrong("its header must be percent-encoded UTF-8")),
    }
}

/// Removes the quotes that older senders put around a value.
fn unquoted(bytes: &[u8]) -> Option<Vec<u8>> {
    let [b'"', quoted @ ..] = bytes else { return Some(bytes.to_vec()) };
    let mut text = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'"'] => return Some(text),
            [b'\\', escaped, rest @ ..] => {
                text.push(*escaped);
                rest
            }
            [b'"' | b'\\', ..] | [] => return None,
            [byte, rest @ ..] => {
                text.push(*byte);
                rest
            }
        };
    }
}

/// One round of percent-decoding.
fn decoded(bytes: &[u8]) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return String::from_utf8(text).ok(),
            [b'%', high, low, rest @ ..] => {
                text.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?);
                rest
            }
            [b'%', ..] => return None,
            [byte, rest @ ..] => {
                text.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn values_are_decoded_once() {
        for (value, text) in [
            (&b"plain"[..], Some("plain")),
            (b"", Some("")),
            (b"Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀")),
            (b"%e2%82%ac", Some("€")),
            (b"%61unneeded", Some("aunneeded")),
            (b"once%2520", Some("once%20")),
            (b"a \xE2\x82\xAC", Some("a €")),
            (br#""in quotes""#, Some("in quotes")),
            (br#""a \"b\" \\ %22""#, Some(r#"a "b" \ ""#)),
            (br#"in "between""#, Some(r#"in "between""#)),
            (br#""open"#, None),
            (br#"""#, None),
            (br#""a" b"#, None),
            (br#""a\"#, None),
            (b"%C0%A0", None),
            (b"%ff", None),
            (b"\xff", None),
            (b"100%", None),
            (b"%4", None),
            (b"%zz", None),
        ] {
            let headers =
                HeaderMap::from_iter([("ce-id".parse().unwrap(), HeaderValue::from_bytes(value).unwrap())]);
            let shown = String::from_utf8_lossy(value);
            assert_eq!(header(&headers, "id").ok().flatten().as_deref(), text, "{shown}");
        }
        assert_eq!(header(&HeaderMap::new(), "id").unwrap(), None);
    }
}
