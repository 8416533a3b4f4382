//! Load from the client: each role runs for some seconds and prints one JSON object of numbers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use link::sys::datagrams;
use serde_json::json;

use crate::serve::{BLOCK, BULK, DOWN, ECHO, SINK, UP};

/// Flows of the flood: source ports.
const FLOWS: usize = 512;
/// Datagrams of one flow in a row.
const BURST: usize = 8;
/// Octets of a datagram's payload such that the frame has 64 octets with its (virtual) checksum.
const SMALL: usize = 18;
/// Octets of a datagram that the kernel cuts from a larger piece, and of that piece.
const PIECE: u16 = 1400;
const PIECES: usize = 45;
/// Octets of a question and its answer.
const QUESTION: usize = 64;
/// Time between two questions.
const PACE: Duration = Duration::from_millis(1);
/// Connections that put load on while another one's round trip is measured, a question each every [`PACE`].
const LOAD: usize = 8;

/// Runs a role: `udp`, `gso`, `up STREAMS`, `down STREAMS`, `rtt`, `rtt-loaded`, each then ADDRESS and SECONDS.
///
/// # Errors
/// A sentence: which role, which address, and what the system said.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let told = |error: io::Error| format!("load {}: {error}", words.join(" "));
    let (role, address, seconds, streams) = match words {
        [role, address, seconds] => (role, address, seconds, "1"),
        [role, streams, address, seconds] => (role, address, seconds, *streams),
        _ => return Err("load: ROLE [STREAMS] ADDRESS SECONDS".to_owned()),
    };
    let number = |text: &str| {
        text.parse::<f64>()
            .map_err(|error| format!("{text}: {error}"))
    };
    let time = Duration::from_secs_f64(number(seconds)?);
    let streams = streams
        .parse()
        .map_err(|error| format!("{streams}: {error}"))?;
    let result = match *role {
        "udp" => flood(address, time),
        "gso" => segments(address, time),
        "up" => bulk(address, UP, streams, time),
        "down" => bulk(address, DOWN, streams, time),
        "rtt" => round_trips(address, 0, time),
        "rtt-loaded" => round_trips(address, LOAD, time),
        _ => return Err(format!("load: no role {role}")),
    };
    println!("{}", result.map_err(told)?);
    Ok(())
}

fn socket(address: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect((address, SINK))?;
    Ok(socket)
}

/// Small datagrams as fast as one thread can; one of each flow goes ahead, so that connections exist.
fn flood(address: &str, time: Duration) -> io::Result<serde_json::Value> {
    let sockets: Vec<UdpSocket> = (0..FLOWS)
        .map(|_| socket(address))
        .collect::<Result<_, _>>()?;
    let payload = [0; SMALL];
    for socket in &sockets {
        datagrams::repeat(socket, &payload, 1)?;
    }
    thread::sleep(Duration::from_millis(20));
    let begin = Instant::now();
    let mut sent = 0;
    'flood: loop {
        for socket in &sockets {
            match datagrams::repeat(socket, &payload, BURST) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        if begin.elapsed() >= time {
            break 'flood;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(json!({ "sent": sent + FLOWS, "seconds": seconds }))
}

/// Large pieces that the kernel cuts into datagrams.
fn segments(address: &str, time: Duration) -> io::Result<serde_json::Value> {
    let socket = socket(address)?;
    datagrams::cut(&socket, PIECE)?;
    let piece = vec![0; usize::from(PIECE) * PIECES];
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < time {
        match socket.send(&piece) {
            Ok(_) => sent += PIECES,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
    Ok(json!({ "sent": sent, "seconds": begin.elapsed().as_secs_f64(), "octets": PIECE }))
}

/// TCP streams of zeros; octets that the client wrote or read.
fn bulk(address: &str, way: u8, streams: usize, time: Duration) -> io::Result<serde_json::Value> {
    let mut connections = Vec::new();
    for _ in 0..streams {
        let mut stream = TcpStream::connect((address, BULK))?;
        stream.write_all(&[way])?;
        connections.push(stream);
    }
    let begin = Instant::now();
    let threads: Vec<_> = connections
        .into_iter()
        .map(|stream| thread::spawn(move || carry(stream, way, begin + time)))
        .collect();
    let mut octets = 0;
    for thread in threads {
        octets += thread
            .join()
            .map_err(|_| io::Error::other("a stream's thread panicked"))??;
    }
    Ok(json!({ "octets": octets, "seconds": begin.elapsed().as_secs_f64() }))
}

fn carry(mut stream: TcpStream, way: u8, end: Instant) -> io::Result<usize> {
    let mut block = vec![0; BLOCK];
    let mut octets = 0;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    while Instant::now() < end {
        octets += if way == UP {
            stream.write(&block)?
        } else {
            match stream.read(&mut block)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => length,
            }
        };
    }
    // It may be gone already.
    let _ = stream.shutdown(Shutdown::Both);
    Ok(octets)
}

/// A question every millisecond and its answer's delay; `load` more connections ask as often meanwhile.
fn round_trips(address: &str, load: usize, time: Duration) -> io::Result<serde_json::Value> {
    let mut probe = asker(address)?;
    let mut others: Vec<TcpStream> = (0..load)
        .map(|_| asker(address))
        .collect::<Result<_, _>>()?;
    let end = Instant::now() + time;
    let background = thread::spawn(move || -> io::Result<usize> {
        let mut asked = 0;
        let mut answer = [0; QUESTION];
        let mut next = Instant::now() + PACE / 2;
        while load > 0 && next < end {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            for other in &mut others {
                other.write_all(&[0; QUESTION])?;
            }
            for other in &mut others {
                other.read_exact(&mut answer)?;
                asked += 1;
            }
            // Late by more than a question: those are not made up for.
            next = (next + PACE).max(Instant::now());
        }
        Ok(asked)
    });
    let mut delays = Vec::new();
    let mut next = Instant::now();
    let mut answer = [0; QUESTION];
    while next < end {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        probe.write_all(&[0; QUESTION])?;
        probe.read_exact(&mut answer)?;
        delays.push(asked.elapsed().as_secs_f64() * 1e6);
        next = (next + PACE).max(Instant::now());
    }
    let asked = background
        .join()
        .map_err(|_| io::Error::other("the load's thread panicked"))??;
    delays.sort_by(f64::total_cmp);
    let at = |percent: usize| delays[(delays.len() * percent / 100).min(delays.len() - 1)];
    let seconds = time.as_secs_f64();
    Ok(
        json!({ "p50": at(50), "p99": at(99), "asked": delays.len(), "load": asked as f64 / seconds }),
    )
}

fn asker(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((address, ECHO))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}
