//! Questions to servers that are more than the name of a file: with headers, or with a body. Git
//! and OCI registries are spoken to in this way.

use std::io::Read as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::http::Client;

/// Attempts before a question is given up.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; it doubles from one to the next.
const PAUSE: Duration = Duration::from_millis(250);

/// A question. It changes nothing, so it may be repeated.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The whole address.
    pub address: &'a str,
    /// Headers; none of their values is ever shown.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is posted; a plain `GET` without.
    pub body: Option<&'a [u8]>,
    /// Most bytes of an answer.
    pub limit: u64,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// The header `content-type`.
    pub kind: String,
    /// The header `www-authenticate`.
    pub challenge: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Client {
    /// The server's reply, whatever its status says.
    ///
    /// # Errors
    /// The network may not be used, no attempt brought a whole reply, or it is too long.
    pub fn ask(&self, question: &Question<'_>) -> Result<Reply> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.ask_once(question) {
                Ok(reply) if reply.status < 500 || attempt == ATTEMPTS => return Ok(reply),
                Err(error) if attempt == ATTEMPTS || self.offline => {
                    return Err(error.context(format!("cannot ask {}", question.address)));
                }
                Ok(_) | Err(_) => thread::sleep(pause),
            }
            pause *= 2;
        }
        bail!("{} was never asked", question.address)
    }

    fn ask_once(&self, question: &Question<'_>) -> Result<Reply> {
        if self.offline {
            bail!("the network may not be used (--offline)");
        }
        let response = match question.body {
            None => with(self.agent.get(question.address), question).call()?,
            Some(body) => with(self.agent.post(question.address), question).send(body)?,
        };
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_string)
        };
        let (kind, challenge) =
            (header("content-type").unwrap_or_default(), header("www-authenticate"));
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        reader.take(question.limit + 1).read_to_end(&mut body).context("the reply ends early")?;
        if super::to_u64(body.len()) > question.limit {
            bail!("the reply is longer than {} bytes", question.limit);
        }
        Ok(Reply { status, kind, challenge, body })
    }
}

fn with<B>(request: ureq::RequestBuilder<B>, question: &Question<'_>) -> ureq::RequestBuilder<B> {
    question.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}
