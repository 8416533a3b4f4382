//! Options of UDP sockets that the standard library does not know.

use std::io;
use std::os::fd::AsFd;

use super::socket::set_option;

/// Lets an IPv6 UDP socket receive datagrams without a checksum, which IPv6 allows for tunnels (RFC 6935)
/// and the kernel drops otherwise.
///
/// # Errors
/// `ENOPROTOOPT`: no UDP socket.
pub fn accept_without_checksum(socket: impl AsFd) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_NO_CHECK6_RX, &1_i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn only_udp_sockets_take_it() {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        accept_without_checksum(&udp).expect("a UDP socket");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let error = accept_without_checksum(&tcp).expect_err("a TCP socket");
        assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT));
    }
}
