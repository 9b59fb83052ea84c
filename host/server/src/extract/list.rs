//! Cursors, and which list they belong to. A cursor of another list, of another customer's or with other filters would silently skip
//! what it should show, so each carries a digest of what was asked for.

use crate::problem::Problem;
use axum::{extract::Query, http::Uri};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proviso_ledger::model::ids::Digest;
use std::str::FromStr;

/// The bytes of a list's digest in its cursors.
const TAG_BYTES: usize = 6;
/// The parameters that say which part of a list is shown, and not what is in it.
const PAGING: [&str; 2] = ["limit", "cursor"];

tokio::task_local! {
    /// What the request of this task asks for.
    static ASKED: Uri;
}

/// Runs what answers a request, so that its cursors belong to what `uri` asks for.
pub async fn answering<T>(uri: Uri, answer: impl Future<Output = T>) -> T {
    ASKED.scope(uri, answer).await
}

/// Which list is meant: a digest of it and of what filters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List([u8; TAG_BYTES]);

impl List {
    /// The list that the request of this task asks for, by its path and its filters, however they are percent-encoded.
    pub fn asked() -> Self {
        ASKED.try_with(Self::at).unwrap_or(Self([0; TAG_BYTES]))
    }

    fn at(uri: &Uri) -> Self {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| query.0);
        let mut filters = pairs.unwrap_or_default();
        filters.retain(|(name, _)| !PAGING.contains(&name.as_str()));
        filters.sort();
        let path = decoded(uri.path());
        let filters = filters.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        Self::of([path.as_slice()].into_iter().chain(filters))
    }

    /// The list that these parts tell from others.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut text = Vec::new();
        for part in parts {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(part);
        }
        Self(Digest::of(&text).0.first_chunk().copied().unwrap_or_default())
    }

    /// The cursor that leads to what comes after `key`.
    pub fn cursor(self, key: &impl ToString) -> String {
        URL_SAFE_NO_PAD.encode([self.0.as_slice(), key.to_string().as_bytes()].concat())
    }

    /// The key of the last item before the page that a cursor leads to; none for the first page.
    pub fn after<K: FromStr>(self, cursor: Option<&str>) -> Result<Option<K>, Problem> {
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
        let key = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&self.0));
        let key = key.and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
        key.map(Some).ok_or_else(Problem::bad_cursor)
    }
}

/// A path's bytes, percent-decoded; a percent sign that begins no escape stays.
fn decoded(path: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, more @ ..] = rest {
        let escaped = more.first_chunk::<2>().filter(|_| *first == b'%');
        let digits = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = more.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = more;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_its_path_and_its_filters() {
        let list = |uri: &str| List::at(&uri.parse().unwrap());
        let one = list("/v1/customers/a%2Fb/ledger?type=charged&feature=x%20y&limit=5");
        for (uri, same) in [
            ("/v1/customers/a%2fb/ledger?feature=x+y&type=charged", true),
            ("/v1/customers/%61%2fb/ledger?feature=x+y&limit=7&cursor=abc&type=charged", true),
            ("/v1/customers/a%2Fc/ledger?type=charged&feature=x%20y", false),
            ("/v1/customers/a/b/ledger?type=charged&feature=x%20y", true),
            ("/v1/customers/a%2Fb/grants?type=charged&feature=x%20y", false),
            ("/v1/customers/a%2Fb/ledger?type=charged", false),
            ("/v1/customers/a%2Fb/ledger?type=charged&feature=xy", false),
            ("/v1/customers/a%2Fb/ledger", false),
        ] {
            assert_eq!(list(uri) == one, same, "{uri}");
        }
        assert_eq!(decoded("/a%2Fb%zz%4"), b"/a/b%zz%4");
    }

    #[test]
    fn a_cursor_leads_through_its_own_list_alone() {
        let list = |uri: &str| List::at(&uri.parse().unwrap());
        let (one, other) = (list("/v1/plans"), list("/v1/policies"));
        let cursor = one.cursor(&42);
        assert_eq!(one.after::<u64>(Some(&cursor)).unwrap(), Some(42));
        assert_eq!(one.after::<u64>(Some("")).unwrap(), None);
        assert_eq!(one.after::<u64>(None).unwrap(), None);
        for (list, cursor) in [(other, &*cursor), (one, "!"), (one, "NDI"), (one, &one.cursor(&"x"))] {
            assert_eq!(list.after::<u64>(Some(cursor)).unwrap_err().code(), "invalid_cursor", "{cursor}");
        }
    }
}
