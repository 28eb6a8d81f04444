//! An address that answers nothing, as where a firewall drops what comes.

use std::net::SocketAddr;

use socket2::{Domain, SockAddr, Socket, Type};

/// Dead as long as it is kept.
pub(in crate::channel) struct BlackHole {
    pub(in crate::channel) address: SocketAddr,
    _sockets: Vec<Socket>,
}

/// A listener whose queue is full: the kernel drops all that knocks after that.
pub(in crate::channel) fn black_hole() -> BlackHole {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::from(any)).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let knocking = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        knocking.set_nonblocking(true).unwrap();
        let _in_progress = knocking.connect(&SockAddr::from(address));
        sockets.push(knocking);
    }
    BlackHole { address, _sockets: sockets }
}
