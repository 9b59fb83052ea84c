//! A body's bytes, up to a limit and within a time.

use crate::problem::Problem;
use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use std::time::Duration;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read before the answer, so that a client that is still sending gets to see
/// it instead of a broken connection.
const MAX_DRAINED: usize = 16 << 20;

/// Reads a body of at most `limit` bytes.
pub async fn read_body(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let read = async {
        let mut first = Bytes::new();
        let mut rest = Vec::new();
        let mut drained = 0_usize;
        let mut too_large = body.size_hint().lower() > limit as u64;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::broken_body())?;
            let Ok(data) = frame.into_data() else { continue };
            too_large = too_large || first.len() + rest.len() + data.len() > limit;
            if too_large {
                drained += data.len();
                if drained > MAX_DRAINED {
                    break;
                }
            } else if first.is_empty() {
                // Nearly every body comes in one piece and is not copied.
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if too_large {
            return Err(Problem::too_large(limit));
        }
        Ok(if rest.is_empty() { first } else { [first.as_ref(), &rest].concat().into() })
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or_else(|_| Err(Problem::slow_body()))
}

/// The media type of the body, such as `application/json`; `None` when its charset is another one than UTF-8.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').map(str::trim);
    let found = parts.next()?;
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    is_utf8.then_some(found)
}

/// Whether the body has the media type `expected`.
pub fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    media_type(headers).is_some_and(|found| found.eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_read() {
        for (text, fine) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("application/jsonx", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, text.parse().unwrap())]);
            assert_eq!(is_of_type(&headers, "application/json"), fine, "{text}");
        }
        assert!(!is_of_type(&HeaderMap::new(), "application/json"));
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let ten = || Body::from("0123456789");
        assert_eq!(read_body(ten(), 10).await.unwrap(), "0123456789");
        assert_eq!(read_body(ten(), 9).await.unwrap_err().status().as_u16(), 413);
        assert!(read_body(Body::empty(), 0).await.unwrap().is_empty());
    }
}
