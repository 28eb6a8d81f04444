//! One visit from its first byte to its end, and the reasons for us to end it.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Door, Kind};
use crate::model::TenantId;
use crate::transfer::house::House;
use crate::transfer::sessions::Entry;
use crate::transfer::visit::{Farewell, Visit};
use crate::transfer::{ftp, ssh};

/// The time the last answers have to leave before a connection is cut.
const LINGER: Duration = Duration::from_millis(250);
/// The time an engine has to notice that its connection was cut.
const CUT_PATIENCE: Duration = Duration::from_secs(5);

/// Serves one connection. It is ended when nobody logs in within the grace, when the operator or a new
/// configuration says so, and when the program stops.
pub(super) async fn attend(
    house: Arc<House>,
    door: Arc<Door>,
    visit: Entry,
    stream: TcpStream,
    token: CancellationToken,
) {
    // The engines end as soon as they can; closing the socket ends those that cannot. Where descriptors
    // have run out, a connection that was taken is served all the same.
    let (stream, cut) = match doubled(stream) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(peer = %visit.peer, %error, "connection set-up");
            return;
        }
    };
    let session = converse(&house, &door, visit.clone(), stream);
    tokio::pin!(session);
    tokio::select! {
        () = &mut session => return house.left(&visit, false),
        () = ended(&house, &visit, &token) => {}
    }
    house.left(&visit, visit.farewell() == Farewell::LoginExpired);
    // The client may have closed at this moment; then there is nothing left to cut.
    if let Some(cut) = cut {
        cut.shutdown(Shutdown::Both).ok();
    }
    // An engine that does not notice is left behind rather than waited for.
    timeout(CUT_PATIENCE, session).await.ok();
}

async fn converse(house: &Arc<House>, door: &Door, visit: Visit, stream: TcpStream) {
    match &door.kind {
        Kind::Sftp(door) => ssh::serve(house.clone(), visit, door.clone(), stream).await,
        Kind::Ftp(door) => ftp::serve(house.clone(), visit, door.clone(), stream, false).await,
        Kind::ImplicitFtps(door) => {
            ftp::serve(house.clone(), visit, door.clone(), stream, true).await;
        }
    }
}

/// Returns when the connection has had its time to end, or is to be cut at once.
async fn ended(house: &House, visit: &Visit, token: &CancellationToken) {
    let login_expired = async {
        sleep(house.limits().login_grace).await;
        if visit.is_logged_in() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = token.cancelled() => visit.end(Farewell::Stopping),
        () = visit.ending() => note_ending(visit),
        () = login_expired => visit.cut(Farewell::LoginExpired),
    }
    let grace = house.limits().drain_grace;
    tokio::select! {
        () = visit.at_rest() => {}
        () = visit.being_cut() => {}
        () = sleep(grace) => {
            tracing::warn!(peer = %visit.peer, "connection cut in the middle of a transfer");
            visit.cut(visit.farewell());
        }
    }
    // Who makes room does so at once; all others hear why.
    if visit.farewell() != Farewell::Crowded {
        sleep(LINGER).await;
    }
}

/// What an operator or a new configuration ended is worth a line; who makes room for others is not.
fn note_ending(visit: &Visit) {
    let why = visit.farewell();
    if matches!(why, Farewell::Killed | Farewell::Withdrawn) {
        let line = visit.line();
        let (account, tenant) = (line.account.unwrap_or_default(), line.tenant);
        let tenant = tenant.as_ref().map_or("", TenantId::as_str);
        tracing::info!(session = %visit.id, account, tenant, peer = %visit.peer, %why, "session ended");
    }
}

fn doubled(stream: TcpStream) -> io::Result<(TcpStream, Option<std::net::TcpStream>)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let double = stream.try_clone().ok();
    Ok((TcpStream::from_std(stream)?, double))
}
