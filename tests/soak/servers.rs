//! The real servers' programs: TCP and UDP, each answering what it is asked.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::inside::{join, spawn};
use super::world::{METHODS, World};

/// Octets of a TCP question.
pub(crate) const QUESTION: usize = 64;
/// Octets of its answer: the question again and again.
pub(crate) const ANSWER: usize = 64 * QUESTION;
/// How long a server waits for a client that has gone silent.
const SILENCE: Duration = Duration::from_secs(5);

/// Servers on both real servers, for every method and family, until `over`. Their threads end by themselves.
pub(crate) fn start(world: &World, over: &Arc<AtomicBool>) {
    for (server, host) in world.servers.iter().enumerate() {
        for method in METHODS {
            for family in 0..2 {
                let address = method.listens(server, family);
                let opened = spawn(host, move || {
                    (UdpSocket::bind(&address), TcpListener::bind(&address))
                });
                let (udp, tcp) = join(opened);
                let (udp, tcp) = (
                    udp.expect("the port is free"),
                    tcp.expect("the port is free"),
                );
                let [one, two] = [Arc::clone(over), Arc::clone(over)];
                thread::spawn(move || echo(&udp, &one));
                thread::spawn(move || accept(&tcp, &two));
            }
        }
    }
}

/// Sends every datagram back.
fn echo(socket: &UdpSocket, over: &AtomicBool) {
    let timeout = Some(Duration::from_millis(100));
    socket
        .set_read_timeout(timeout)
        .expect("a socket can be told");
    let mut buffer = [0; 2048];
    while !over.load(Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // A client that has gone misses nothing.
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}

fn accept(listener: &TcpListener, over: &Arc<AtomicBool>) {
    listener
        .set_nonblocking(true)
        .expect("a socket can be told");
    while !over.load(Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                // A client that has gone ends its thread, which is all there is to do.
                thread::spawn(move || answer(stream));
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Answers each question until the client closes.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut question = [0; QUESTION];
    loop {
        stream.read_exact(&mut question)?;
        stream.write_all(&question.repeat(ANSWER / QUESTION))?;
    }
}
