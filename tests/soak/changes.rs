//! Changes of services and real servers while traffic flows, by `ipvsadm` as an operator types it.

use super::draw::Draw;
use super::world::{METHODS, Method, VIP, real, server_line};
use crate::harness::{Director, bracketed, stderr};

/// Schedulers that a service changes among.
const SCHEDULERS: [&str; 6] = ["rr", "wrr", "lc", "wlc", "sh", "mh"];

/// A service and what it has now.
#[derive(Clone, Copy, Debug)]
struct Service {
    protocol: &'static str,
    method: Method,
    family: usize,
    exists: bool,
    /// The two real servers, and one that no machine is.
    servers: [bool; 3],
}

/// What the services are like now, and what to do next.
#[derive(Debug)]
pub(crate) struct Changes {
    services: Vec<Service>,
    draw: Draw,
    /// Commands so far.
    pub(crate) count: u64,
}

impl Changes {
    /// As [`super::world::add_service`] makes them, for TCP and UDP.
    pub(crate) fn new(seed: u64) -> Self {
        let mut services = Vec::new();
        for protocol in ["-t", "-u"] {
            for method in METHODS {
                for family in 0..2 {
                    services.push(Service {
                        protocol,
                        method,
                        family,
                        exists: true,
                        servers: [true, true, false],
                    });
                }
            }
        }
        Self {
            services,
            draw: Draw::new(seed),
            count: 0,
        }
    }

    /// Changes something.
    ///
    /// # Errors
    /// The command that was refused, and why.
    pub(crate) fn step(&mut self, director: &Director) -> Result<(), String> {
        let draw = &mut self.draw;
        // A service that is gone comes back before anything else.
        let gone = self.services.iter().position(|service| !service.exists);
        let index = gone.unwrap_or_else(|| draw.below(self.services.len()));
        let line = self.services[index].change(draw);
        self.count += 1;
        let output = director.try_shell(&line);
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{line}: {}", stderr(&output).trim()))
    }
}

impl Service {
    fn address(&self) -> String {
        format!("{}:{}", bracketed(VIP[self.family]), self.method.port)
    }

    /// Decides what changes; the command line for it.
    fn change(&mut self, draw: &mut Draw) -> String {
        let (protocol, address) = (self.protocol, self.address());
        if !self.exists {
            self.exists = true;
            self.servers = [true, false, false];
            let scheduler = SCHEDULERS[draw.below(SCHEDULERS.len())];
            let server = self.server("-a", 0, 1);
            return format!("ipvsadm -A {protocol} {address} -s {scheduler} && {server}");
        }
        match draw.below(10) {
            0 => {
                self.exists = false;
                format!("ipvsadm -D {protocol} {address}")
            }
            1 => {
                let scheduler = SCHEDULERS[draw.below(SCHEDULERS.len())];
                format!("ipvsadm -E {protocol} {address} -s {scheduler}")
            }
            2 => self.toggle(2),
            3..=5 => {
                let index = draw.below(2);
                // One of the two stays.
                let other = self.servers[1 - index];
                self.toggle(if other { index } else { 1 - index })
            }
            _ => {
                let index = usize::from(!self.servers[0]);
                let weight = u32::try_from(draw.below(4)).unwrap_or(1);
                self.server("-e", index, weight)
            }
        }
    }

    /// Adds the server of this index, or deletes it.
    fn toggle(&mut self, index: usize) -> String {
        self.servers[index] = !self.servers[index];
        if self.servers[index] {
            return self.server("-a", index, 1);
        }
        let real = bracketed(&address(index, self.family));
        let (protocol, port) = (self.protocol, self.method.real_port);
        format!("ipvsadm -d {protocol} {} -r {real}:{port}", self.address())
    }

    fn server(&self, command: &str, index: usize, weight: u32) -> String {
        let line = server_line(
            (command, self.protocol),
            self.method,
            0,
            self.family,
            weight,
        );
        line.replace(&real(0, self.family), &address(index, self.family))
    }
}

/// A server's address; the third is nobody's.
fn address(index: usize, family: usize) -> String {
    match index {
        2 => real(0, family).replace("20", "99"),
        index => real(index, family),
    }
}
