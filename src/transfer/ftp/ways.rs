//! How the next data connection comes about: PASV, EPSV, PORT, EPRT (RFC 959, RFC 2428).

use std::net::{IpAddr, SocketAddr};

use super::command::Epsv;
use super::data::{Way, listen};
use super::reply::Reply;
use super::session::Session;

/// Below lie the ports of services: nothing a client has to be called at.
const ACTIVE_PORT_MIN: u16 = 1024;

impl Session {
    pub(super) fn pasv(&mut self) -> Reply {
        if self.only_epsv {
            return Reply::new(501, "After EPSV ALL only EPSV is possible.");
        }
        let reached = self.visit.local().ip().to_canonical();
        let told = self.door.settings.public_address.unwrap_or(reached);
        let (IpAddr::V4(_), IpAddr::V4(told)) = (self.local, told) else {
            return Reply::new(425, "PASV is for IPv4: send EPSV.");
        };
        match self.open_port() {
            Ok(port) => {
                let [a, b, c, d] = told.octets();
                let [high, low] = port.to_be_bytes();
                let text = format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low}).");
                Reply::new(227, text)
            }
            Err(reply) => reply,
        }
    }

    pub(super) fn epsv(&mut self, which: Epsv) -> Reply {
        match which {
            Epsv::All => {
                self.only_epsv = true;
                return Reply::new(200, "Only EPSV from now on.");
            }
            Epsv::V4 if self.local.is_ipv6() => {
                return Reply::new(522, "Network protocol not supported, use (2)");
            }
            Epsv::V6 if self.local.is_ipv4() => {
                return Reply::new(522, "Network protocol not supported, use (1)");
            }
            Epsv::Any | Epsv::V4 | Epsv::V6 => {}
        }
        match self.open_port() {
            Ok(port) => Reply::new(229, format!("Entering Extended Passive Mode (|||{port}|)")),
            Err(reply) => reply,
        }
    }

    pub(super) fn port(&mut self, address: SocketAddr) -> Reply {
        if !self.door.settings.active {
            return Reply::new(502, "Active mode is switched off: send PASV or EPSV.");
        }
        if self.only_epsv {
            return Reply::new(501, "After EPSV ALL only EPSV is possible.");
        }
        if address.ip().to_canonical() != self.visit.peer || address.port() < ACTIVE_PORT_MIN {
            tracing::info!(peer = %self.visit.peer, %address, "ftp data address refused");
            let why = "Data goes to your own address and a port from 1024 on only.";
            return Reply::new(501, why);
        }
        self.way = Way::Active(address);
        Reply::new(200, "Data goes there.")
    }

    /// Listens on a new port, in place of an earlier one.
    fn open_port(&mut self) -> Result<u16, Reply> {
        self.way = Way::Unknown;
        let (ports, world) = (&self.door.settings.passive_ports, &self.house.world);
        let listener = listen(self.local, ports, &world.dice);
        match listener.and_then(|listener| Ok((listener.local_addr()?.port(), listener))) {
            Ok((port, listener)) => {
                self.way = Way::Passive(listener, world.clock.instant() + self.limits.data_timeout);
                Ok(port)
            }
            Err(error) => {
                tracing::warn!(peer = %self.visit.peer, %error, "open a port for data");
                Err(Reply::new(425, "No port is free for data now; try again in a moment."))
            }
        }
    }
}
