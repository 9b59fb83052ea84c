//! The `If-Match` header (RFC 9110, section 13.1.1).

use crate::{app::App, problem::Problem};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header::IF_MATCH, request::Parts},
};
use proviso_engine::Expected;
use std::sync::Arc;

/// What the caller expects to be in force.
pub struct IfMatch(pub Expected);

impl FromRequestParts<Arc<App>> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self(expected(&parts.headers)))
    }
}

/// Weak tags never match, nor does what is no tag at all: then the change is refused, which is safe.
fn expected(headers: &HeaderMap) -> Expected {
    let values: Vec<&str> =
        headers.get_all(IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default().trim()).collect();
    match values.as_slice() {
        [] => Expected::Anything,
        ["*"] => Expected::Existing,
        values => {
            let tags = values.iter().flat_map(|value| value.split(',')).map(str::trim);
            let tags = tags.filter_map(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
            Expected::OneOf(tags.map(str::to_owned).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read() {
        let one_of = |tags: &[&str]| Expected::OneOf(tags.iter().map(|&tag| tag.to_owned()).collect());
        for (values, read) in [
            (&[][..], Expected::Anything),
            (&["*"], Expected::Existing),
            (&["\"a\""], one_of(&["a"])),
            (&["\"a\", \"b\"", "\"c\""], one_of(&["a", "b", "c"])),
            (&["W/\"a\""], one_of(&[])),
            (&["a"], one_of(&[])),
            (&[""], one_of(&[])),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, value.parse().unwrap());
            }
            assert_eq!(expected(&headers), read, "{values:?}");
        }
    }
}
