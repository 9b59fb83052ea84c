//! Query strings, and the pages of lists.

use super::{json::in_words_of_json, list::List};
use crate::{app::App, problem::Problem};
use axum::{
    extract::FromRequestParts,
    http::{Uri, request::Parts},
};
use proviso_api::Page;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{io, sync::Arc};
use utoipa::IntoParams;

/// A query string; unknown names in it are refused by the types that are read.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        if query.is_err()
            && let Some(uri) = with_offsets(&parts.uri)
            && let Ok(query) = axum::extract::Query::<T>::try_from_uri(&uri)
        {
            return Ok(Self(query.0));
        }
        query.map(|query| Self(query.0)).map_err(|rejection| {
            // What was wrong, without the framework's own words before it.
            let text = rejection.body_text();
            let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Problem::bad_query(in_words_of_json(detail))
        })
    }
}

/// The same with the plus signs of offsets (`…T10:00:00+01:00`) kept. A plus is a space in a query string, which is easily forgotten, and
/// no time has a space there; none when there is no such sign.
fn with_offsets(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let offset = |value: &str| {
        let (time, offset) = value.rsplit_once('+')?;
        let plain = offset.replace("%3A", ":").replace("%3a", ":");
        let is_offset = plain.len() == 5 && plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
        (is_offset && time.contains(['T', 't'])).then(|| format!("{time}%2B{offset}"))
    };
    let pairs = query.split('&').map(|pair| offset(pair).unwrap_or_else(|| pair.to_owned()));
    let kept = pairs.collect::<Vec<_>>().join("&");
    if kept == query {
        return None;
    }
    format!("{}?{kept}", uri.path()).parse().ok()
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// How many items at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

impl Paging {
    const DEFAULT: u32 = 50;
    const MAX: u32 = 1_000;

    pub fn new(limit: Option<u32>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many items the page has at most.
    pub fn limit(&self) -> Result<u32, Problem> {
        match self.limit.unwrap_or(Self::DEFAULT) {
            limit @ 1..=Self::MAX => Ok(limit),
            _ => Err(Problem::bad_query(format!("limit must be 1 to {}", Self::MAX))),
        }
    }

    /// The key of the last item before the page.
    pub fn after<K: std::str::FromStr>(&self) -> Result<Option<K>, Problem> {
        List::asked().after(self.cursor.as_deref())
    }

    /// A page of `items`, which come in the order of their keys and include those before the cursor.
    ///
    /// It ends early when its items are large.
    pub fn page<T: Serialize, K>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> K,
    ) -> Result<Page<T>, Problem>
    where
        K: std::str::FromStr + ToString + Ord,
    {
        let (limit, after) = (self.limit()? as usize, self.after::<K>()?);
        let rest =
            items.into_iter().skip_while(|item| after.as_ref().is_some_and(|after| key(item) <= *after));
        let mut data: Vec<T> = rest.take(limit + 1).collect();
        let limit = limit.min(fitting(&data));
        Ok(Page { next_cursor: cut(&mut data, limit, key), data })
    }
}

/// After so many bytes a page takes in no further item.
pub const PAGE_BYTES: usize = 1 << 20;

/// How many of the first items make a page, by their size as JSON: at least one.
pub fn fitting<T: Serialize>(items: &[T]) -> usize {
    let mut bytes = Count(0);
    let fits = |item: &&T| {
        let fits = bytes.0 < PAGE_BYTES;
        // What can't be written is found where it is answered.
        let _ = serde_json::to_writer(&mut bytes, item);
        fits
    };
    items.iter().take_while(fits).count()
}

/// Counts what is written to it.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts a list that has one item more than the page, and gives the next page's cursor.
pub fn cut<T, K: ToString>(data: &mut Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Option<String> {
    if data.len() <= limit {
        return None;
    }
    data.truncate(limit);
    data.last().map(|last| cursor(&key(last)))
}

/// The cursor that leads to what comes after `key` in the list that is asked for.
pub fn cursor(key: &impl ToString) -> String {
    List::asked().cursor(key)
}
