//! Clients that die in the middle of an upload over FTP and FTPS.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use super::daemon::{Daemon, reset, wait_until};
use super::ftp::{CLEAR_TOO, Ftp};
use super::sftp_cuts::{QUICK, TENTH_BYTES, answered, archived, assert_unpublished, whole};
use super::tls::Wire;
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

/// How a client dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    /// The line is cut: both connections end by a reset.
    Line,
    /// The data connection ends without TLS's end, the control connection lives on.
    Data,
    /// The process is killed: the kernel closes both, as if it were an end.
    Killed,
}

#[test]
fn an_ftps_upload_killed_at_any_tenth_is_neither_published_nor_answered_and_can_be_resumed() {
    survive(Ftp::login, &[Death::Line, Death::Data, Death::Killed]);
}

/// Without TLS an end of the data looks the same whether the client was done or died: what tells is
/// the control connection.
#[test]
fn an_ftp_upload_killed_at_any_tenth_is_neither_published_nor_answered_and_can_be_resumed() {
    survive(Ftp::login_clear, &[Death::Line]);
}

fn survive(login: impl Fn(std::net::SocketAddr, &str) -> Ftp, deaths: &[Death]) {
    let daemon = Daemon::with(&format!("{CLEAR_TOO}\n{QUICK}"));
    let whole = whole();
    let mut names = Vec::new();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for death in deaths {
            for tenth in 0..=10 {
                let name = format!("{death:?}{tenth}.csv");
                let mut ftp = login(daemon.ftp, "erp");
                let mut data = ftp.transfer(format!("STOR /inbox/{name}")).unwrap();
                data.write_all(&whole[..tenth * TENTH_BYTES]).unwrap();
                data.flush().unwrap();
                die(ftp, data, *death);
                names.push((name, tenth * TENTH_BYTES));
            }
        }
        let cut: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        assert_unpublished(&daemon, &cut);
        for (name, sent) in &names {
            resume(&mut login(daemon.ftp, "erp"), name, &whole, *sent);
        }
        for name in &cut {
            wait_until("the resumed file is answered", || answered(&daemon, name));
            assert!(archived(&daemon, name).unwrap() == whole, "{name} holds other bytes");
        }
    });
}

fn die(mut ftp: Ftp, data: Wire, death: Death) {
    // Ends by FIN, whatever of ours is unread.
    let end = |stream: &TcpStream| stream.shutdown(Shutdown::Write).unwrap();
    match death {
        Death::Line => {
            reset(ftp.control.into_tcp());
            reset(data.into_tcp());
        }
        Death::Data => {
            end(data.tcp());
            let reply = ftp.reply().unwrap();
            assert!(reply.refuses(), "{reply:?}");
        }
        Death::Killed => {
            end(ftp.control.tcp());
            end(data.tcp());
            // Until the server has ended both.
            let _cut = ftp.control.read_all().is_err();
            let _cut = data.read_all().is_err();
        }
    }
}

/// Looks how much is there, as clients do, and sends the rest: by REST where something is.
fn resume(ftp: &mut Ftp, name: &str, whole: &[u8], sent: usize) {
    let size = ftp.ask(format!("SIZE /inbox/{name}"));
    let there = if size.code == 213 { size.text[4..].trim().parse().unwrap() } else { 0 };
    // A reset throws away what was not read yet; nothing else does.
    assert!(there == sent || there < sent && name.starts_with("Line"), "{name}: {size:?}");
    if size.code == 213 {
        assert_eq!(ftp.ask(format!("REST {there}")).code, 350);
    }
    let reply = ftp.put(format!("STOR /inbox/{name}"), &whole[there..]);
    assert_eq!(reply.code, 226, "{name}: {reply:?}");
}
