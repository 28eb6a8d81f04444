//! One connection: one request, one answer, within bounds of time and size.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// How long the request's head may take.
const HEAD_READ_MAX: Duration = Duration::from_secs(5);
/// How long the whole connection may take, the answer included.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// The largest request; no request here has a body.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Answers one request and closes: without keep-alive an idle client cannot hold a place.
pub(super) async fn serve_connection<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_buf_size(REQUEST_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection ended early"),
        Err(_) => tracing::debug!("admin connection took too long"),
    }
}
