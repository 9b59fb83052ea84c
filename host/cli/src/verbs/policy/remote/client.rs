//! HTTP to a server: one blocking request after another, with errors that say what the server said and what can be done.

use crate::{config, error::Error, secrets::Secret};
use proviso_api::{
    Page,
    problem::{FieldError, ProblemDetails},
};
use serde::de::DeserializeOwned;
use std::{
    fmt::Write as _,
    io::{self, Write},
    thread,
    time::Duration,
};
use ureq::{Agent, Body, http::Response};

/// How long a request may take; a server compiles a module in far less.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long is waited before a request is sent again, at first; then twice as long each time...
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// ...up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(16);
/// The most bytes of an answer.
const MOST_BYTES: u64 = 64 << 20;

/// A server, and a key of it.
pub struct Client {
    agent: Agent,
    base: String,
    authorization: String,
}

/// What a server said to a request that it may refuse.
pub enum Asked<T> {
    /// It was carried out.
    Answered(T),
    /// It was not.
    Refused {
        /// The problem's code.
        code: String,
        /// All of it, for people.
        said: String,
        /// The fields that are wrong.
        errors: Vec<FieldError>,
    },
}

impl Client {
    /// For a server, with the key in the environment.
    pub fn new(server: &str) -> Result<Self, Error> {
        let base = server.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            let detail = format!("{base:?} is no URL such as http://127.0.0.1:7070");
            return Err(Error::Setting { origin: "--server".to_owned(), detail });
        }
        let setting = |detail: String| Error::Setting { origin: "PROVISO_KEY".to_owned(), detail };
        let key = config::variable("PROVISO_KEY").filter(|key| !key.is_empty());
        let key =
            key.ok_or_else(|| setting("is not set; it must hold an API key of the server".to_owned()))?;
        let key: Secret = key.parse().map_err(setting)?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("proviso/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { agent, base, authorization: format!("Bearer {}", key.reveal()) })
    }

    /// POST; the status with the answer.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<(u16, T), Error> {
        self.post_with(path, content_type, &[], body)
    }

    /// POST with further headers.
    pub fn post_with<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<(u16, T), Error> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.post(&url).header("authorization", &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.answer(&url, request.content_type(content_type).send(body))
    }

    /// POST until the server has taken it: what the network, or a server that is busy or starts anew, keeps from it is sent again after
    /// a while, for half a minute at most.
    pub fn post_until_taken<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<T, Error> {
        let url = format!("{}{path}", self.base);
        let mut wait = FIRST_WAIT;
        loop {
            let request = self.agent.post(&url).header("authorization", &self.authorization);
            let answer = request.content_type(content_type).send(body);
            let may_succeed = match &answer {
                Ok(answer) => matches!(answer.status().as_u16(), 408 | 429 | 502..=504),
                Err(error) => !matches!(error, ureq::Error::BadUri(_) | ureq::Error::Tls(_)),
            };
            if !may_succeed || wait > LONGEST_WAIT {
                return self.answer(&url, answer).map(|(_, value)| value);
            }
            thread::sleep(wait);
            wait *= 2;
        }
    }

    /// GET of what may be as long as it likes, into a writer. Returns how many bytes there were.
    pub fn download(&self, path: &str, into: &mut impl Write) -> Result<u64, Error> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.get(&url).header("authorization", &self.authorization);
        let answer = request.config().timeout_global(None).build().call();
        let is_fine = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        match answer {
            Ok(mut answer) if is_fine => {
                let mut body = answer.body_mut().as_reader();
                io::copy(&mut body, into).map_err(|error| Error::Server(format!("{url}: {error}")))
            }
            answer => self.answer::<serde_json::Value>(&url, answer).map(|_| 0),
        }
    }

    /// POST of JSON, whose refusal is to be looked at.
    pub fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Asked<T>, Error> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.post(&url).header("authorization", &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let (status, bytes) = self.bytes(&url, request.content_type("application/json").send(body))?;
        if (200..300).contains(&status) {
            return parsed(&url, &bytes).map(Asked::Answered);
        }
        let said = format!("{url}: {}", refusal(status, &bytes));
        match serde_json::from_slice::<ProblemDetails<'_>>(&bytes) {
            Ok(problem) => {
                let (code, errors) = (problem.code.into_owned(), problem.errors.into_owned());
                Ok(Asked::Refused { code, said, errors })
            }
            Err(_) => Err(Error::Server(said)),
        }
    }

    /// GET.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.get(&url).header("authorization", &self.authorization).call();
        self.answer(&url, answer).map(|(_, value)| value)
    }

    /// All pages of a list.
    pub fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Error> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page<T> = self.get(&format!("{path}?limit=1000&cursor={}", segment(&cursor)))?;
            all.extend(page.data);
            match page.next_cursor {
                Some(next) => cursor = next,
                None => return Ok(all),
            }
        }
    }

    fn answer<T: DeserializeOwned>(
        &self,
        url: &str,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<(u16, T), Error> {
        let (status, bytes) = self.bytes(url, answer)?;
        if !(200..300).contains(&status) {
            return Err(Error::Server(format!("{url}: {}", refusal(status, &bytes))));
        }
        parsed(url, &bytes).map(|value| (status, value))
    }

    /// The status with the body.
    fn bytes(&self, url: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<(u16, Vec<u8>), Error> {
        let failed = |detail: String| Error::Server(format!("{url}: {detail}"));
        let mut answer = answer.map_err(|error| {
            let mend = match error {
                ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => {
                    "; is a server running there? --server URL or PROVISO_SERVER names another"
                }
                _ => "",
            };
            failed(format!("{error}{mend}"))
        })?;
        let status = answer.status().as_u16();
        let bytes = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        Ok((status, bytes))
    }
}

fn parsed<T: DeserializeOwned>(url: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Server(format!("{url}: the answer is not one of this API: {error}")))
}

/// What a server said in the place of an answer.
fn refusal(status: u16, body: &[u8]) -> String {
    let Ok(problem) = serde_json::from_slice::<ProblemDetails<'_>>(body) else {
        return format!("answered {status} without saying why; is this a Proviso server?");
    };
    let mut text = format!("{status} {}: {}", problem.code, problem.detail);
    for error in problem.errors.iter() {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {}: {}", error.pointer, error.detail);
    }
    match status {
        401 => text.push_str("\n  PROVISO_KEY must hold a key of this server"),
        403 => text.push_str("\n  PROVISO_KEY must hold a key with the scope that this needs"),
        _ => {}
    }
    text
}

/// A part of a path, percent-encoded.
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_text_fit_into_paths() {
        assert_eq!(segment("auth0|Zoë/a b"), "auth0%7CZo%C3%AB%2Fa%20b");
        assert_eq!(segment("night-rates.v1_x~"), "night-rates.v1_x~");
    }

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        let body = br#"{"type":"about:blank","title":"t","status":422,"detail":"no","instance":"/","code":"settings_invalid",
                        "errors":[{"pointer":"/settings/price","detail":"bad"}]}"#;
        assert_eq!(refusal(422, body), "422 settings_invalid: no\n  /settings/price: bad");
        assert!(refusal(401, body).ends_with("must hold a key of this server"));
        assert!(refusal(502, b"<html>").contains("is this a Proviso server?"));
    }
}
