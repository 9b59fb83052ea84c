//! One HTTP connection to the host.

use crate::error::Error;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use tokio::net::TcpStream;

/// A connection with an API key.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: HeaderValue,
}

impl Client {
    /// Connects.
    pub async fn connect(address: &str, key: &str) -> Result<Self, Error> {
        let failed = || Error::system(format!("connecting to {address}"));
        let stream = TcpStream::connect(address).await.map_err(failed())?;
        stream.set_nodelay(true).map_err(failed())?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(io::Error::other).map_err(failed())?;
        tokio::spawn(connection);
        let header = |text: String| HeaderValue::try_from(text).map_err(io::Error::other).map_err(failed());
        Ok(Self {
            sender,
            host: header(address.to_owned())?,
            authorization: header(format!("Bearer {key}"))?,
        })
    }

    /// Sends a request and waits for its answer.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        key: Option<&str>,
        body: Bytes,
    ) -> Result<(u16, Bytes), String> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, content_type);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }

    /// GET of JSON.
    pub async fn get(&mut self, path: &str) -> Result<Value, Error> {
        self.json(Method::GET, path, "application/json", Bytes::new()).await
    }

    /// PUT of JSON.
    pub async fn put(&mut self, path: &str, body: &Value) -> Result<Value, Error> {
        self.json(Method::PUT, path, "application/json", body.to_string().into()).await
    }

    /// POST of JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Error> {
        self.json(Method::POST, path, "application/json", body.to_string().into()).await
    }

    /// Uploads a module as a version of a policy.
    pub async fn upload(&mut self, policy: &str, module: &[u8]) -> Result<Value, Error> {
        let path = format!("/v1/policies/{policy}/versions");
        self.json(Method::POST, &path, "application/wasm", Bytes::copy_from_slice(module)).await
    }

    async fn json(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Value, Error> {
        let asked = format!("{method} {path}");
        // The demo posts to a path once, so the path tells its requests apart.
        let answer = self.send(method, path, content_type, Some(&asked), body).await;
        let (status, body) = answer.map_err(|error| Error::Demo(format!("{asked}: {error}")))?;
        if !(200..300).contains(&status) {
            let said = String::from_utf8_lossy(&body).into_owned();
            return Err(Error::Demo(format!("{asked} was answered with {status}: {said}")));
        }
        serde_json::from_slice(&body).map_err(|error| Error::Demo(format!("{asked}: {error}")))
    }
}
