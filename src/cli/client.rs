//! The client of the admin API: one request on a connection of its own, with a deadline.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use polygate::net::tls::Connector;

use super::admin::AdminUrl;
use super::exit::{Exit, Failure};
use super::terminal::{self, escape};

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The largest answer that is read.
const LARGEST_ANSWER: usize = 64 << 20;

/// How long a stream of events may be silent: three of its heartbeats are missing then.
const SILENCE: Duration = Duration::from_secs(50);

/// How often a stream of events looks whether anybody reads what it prints.
const LOOK_AT_READER: Duration = Duration::from_millis(500);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An admin API that can be asked.
pub(crate) struct Client {
    url: AdminUrl,
    deadline: Duration,
    /// Shown with every request; never printed.
    token: Option<String>,
    /// Whom to trust, in PEM format.
    roots: Option<String>,
}

/// What the admin API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Bytes,
}

/// A finding in a configuration, as the API sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct Finding {
    severity: String,
    file: Option<String>,
    line: usize,
    column: usize,
    message: String,
    help: Option<String>,
}

/// An error, as the API sends it (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: Option<String>,
    errors: Vec<Finding>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(url: AdminUrl) -> Self {
        Client { url, deadline: DEADLINE, token: None, roots: None }
    }

    /// Where the API is.
    pub(crate) fn url(&self) -> String {
        self.url.to_string()
    }

    /// Shows a token with every request.
    pub(crate) fn token(self, token: Option<String>) -> Self {
        Client { token, ..self }
    }

    /// Trusts those certificates where TLS is spoken.
    pub(crate) fn roots(self, roots: Option<String>) -> Self {
        Client { roots, ..self }
    }

    pub(crate) fn deadline(self, deadline: Duration) -> Self {
        Client { deadline, ..self }
    }

    /// Reads something.
    pub(crate) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.request(Method::GET, path, "application/json")?.successful()
    }

    /// Sends a JSON body, and gives every answer back, whatever its status.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Answer, Failure> {
        self.ask(method, path, "application/json", Some(body.to_string()))
    }

    /// Asks, and gives every answer back, whatever its status.
    pub(crate) fn request(&self, method: Method, path: &str, accept: &str) -> Result<Answer, Failure> {
        self.ask(method, path, accept, None)
    }

    fn ask(&self, method: Method, path: &str, accept: &str, body: Option<String>) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        let exchange =
            async { tokio::time::timeout(self.deadline, self.exchange(method, path, accept, body)).await };
        match runtime.block_on(exchange) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(&causes(&*error))),
            Err(_) => Err(self.unreachable(&format!("no answer within {} s", self.deadline.as_secs()))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<String>,
    ) -> Result<Answer, Error> {
        let response = self.begin(method, path, accept, body).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await?.to_bytes();
        Ok(Answer { status, body })
    }

    async fn begin(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<String>,
    ) -> Result<Response<Incoming>, Error> {
        let host = match &self.url {
            AdminUrl::Http(at) | AdminUrl::Https(at) => at,
            AdminUrl::Unix(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, accept)
            .header(header::CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.unwrap_or_default()))?;
        match &self.url {
            AdminUrl::Http(at) => send(TcpStream::connect(at.as_str()).await?, request).await,
            AdminUrl::Https(at) => {
                let roots = self
                    .roots
                    .as_deref()
                    .ok_or("it is not known whom to trust; name a certificate with --ca FILE")?;
                let host = at.rsplit_once(':').map_or(at.as_str(), |(host, _)| host);
                let stream = TcpStream::connect(at.as_str()).await?;
                send(Connector::new(roots)?.connect(host, stream).await?, request).await
            }
            AdminUrl::Unix(path) => send(UnixStream::connect(path).await?, request).await,
        }
    }

    /// Asks for a stream of events, and hands every piece of it over, until the gateway ends it, the taker has enough or
    /// nobody reads standard output any more. One that breaks, or is silent for longer than a living one is, is a failure.
    pub(crate) fn follow(
        &self,
        path: &str,
        mut piece: impl FnMut(&[u8]) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        runtime.block_on(async {
            let response =
                tokio::time::timeout(self.deadline, self.begin(Method::GET, path, "text/event-stream", None))
                    .await;
            let response = match response {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(self.unreachable(&causes(&*error))),
                Err(_) => return Err(self.unreachable("no answer in time")),
            };
            let status = response.status().as_u16();
            let mut body = response.into_body();
            if status != 200 {
                let problem = Limited::new(body, LARGEST_ANSWER).collect().await.map(|body| body.to_bytes());
                return Err(Failure::from_problem(status, &problem.unwrap_or_default()));
            }
            let mut look = tokio::time::interval(LOOK_AT_READER);
            let silent = tokio::time::sleep(SILENCE);
            tokio::pin!(silent);
            loop {
                tokio::select! {
                    frame = body.frame() => match frame {
                        None => return Ok(()),
                        Some(Err(error)) => return Err(self.broken(&causes(&error))),
                        Some(Ok(frame)) => {
                            silent.as_mut().reset(Instant::now() + SILENCE);
                            if let Some(bytes) = frame.data_ref()
                                && piece(bytes)?.is_break()
                            {
                                return Ok(());
                            }
                        }
                    },
                    () = &mut silent => return Err(self.broken("it says nothing any more")),
                    _ = look.tick() => if terminal::reader_is_gone() {
                        return Ok(());
                    },
                }
            }
        })
    }

    fn broken(&self, why: &str) -> Failure {
        let message = format!("the events of the admin API at {} have broken off: {why}", self.url);
        Failure::new(Exit::Unavailable, message)
    }

    fn unreachable(&self, why: &str) -> Failure {
        let message = format!(
            "cannot reach the admin API at {}: {why}; is the gateway running, and is this its address \
             (--admin URL)?",
            self.url
        );
        Failure::new(Exit::Unavailable, message)
    }
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong with the connection shows in the answer as well.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// An error with all that caused it: hyper's own text alone says little.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

// === impl Answer ===

impl Answer {
    /// The answer, if it is a success.
    pub(crate) fn successful(self) -> Result<Self, Failure> {
        match self.status {
            200..300 => Ok(self),
            status => Err(Failure::from_problem(status, &self.body)),
        }
    }

    /// The body as a value.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::new(Exit::Failure, format!("cannot understand the answer of the admin API: {error}"))
        })
    }

    /// The body as text that ends with a line feed.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        if !text.ends_with('\n') && !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

impl Failure {
    fn from_problem(status: u16, body: &[u8]) -> Self {
        let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        let title = if problem.title.is_empty() { format!("status {status}") } else { problem.title };
        let message = match problem.detail {
            Some(detail) if detail != title => format!("{title}: {detail}"),
            _ => title,
        };
        let report = problem.errors.iter().map(|finding| format!("{finding}\n")).collect();
        Failure { exit: Exit::of_status(status), report, message: escape(&message) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", escape(file))?;
        }
        let (severity, message) = (escape(&self.severity), escape(&self.message));
        write!(f, "{}:{}: {severity}: {message}", self.line, self.column)?;
        match &self.help {
            Some(help) => write!(f, " ({})", escape(help)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_said_with_its_findings() {
        let body = br#"{"type":"about:blank","title":"Unprocessable Content","status":422,
            "detail":"the configuration is invalid","errors":[{"severity":"error","file":"a.toml",
            "pointer":"/x","line":3,"column":5,"message":"unknown key \u001b[2J","help":"did you mean y?"}]}"#;
        let failure = Failure::from_problem(422, body);
        assert_eq!(failure.exit, Exit::Config);
        assert_eq!(failure.message, "Unprocessable Content: the configuration is invalid");
        assert_eq!(failure.report, "a.toml:3:5: error: unknown key \\u{1b}[2J (did you mean y?)\n");
    }

    #[test]
    fn an_answer_that_is_no_problem_still_fails() {
        let failure = Failure::from_problem(502, b"<html>");
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Failure, "status 502"));
    }

    #[test]
    fn an_api_that_is_not_there_is_unreachable() {
        let client = Client::new(AdminUrl::Unix("/nonexistent/admin.sock".into()));
        let failure = client.get("/livez").unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(
            failure.message.contains("unix:///nonexistent/admin.sock: No such file"),
            "{}",
            failure.message
        );
    }
}
