//! The one error of this crate: the system refused something.

use std::fmt;
use std::io;

/// The system refused an operation on a link. The text names the operation, the interface and the
/// errno, and says what to do where that is known.
#[derive(Debug)]
pub struct LinkError {
    /// What was tried, in the form that follows "cannot": "open a packet socket".
    pub operation: &'static str,
    /// The interface or file it was tried on.
    pub interface: String,
    /// Capability the operation needs, for the text of a refusal; empty when none.
    capability: &'static str,
    /// What lies behind the errno and what to do, where the operation knows better; empty when not.
    because: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl LinkError {
    /// An error of `operation` (that follows "cannot") on `interface`.
    pub fn new(operation: &'static str, interface: &str, source: io::Error) -> Self {
        Self {
            operation,
            interface: interface.to_owned(),
            capability: "",
            because: "",
            source,
        }
    }

    /// Names the capability that the operation needs, such as `CAP_NET_RAW`.
    #[must_use]
    pub fn needs(self, capability: &'static str) -> Self {
        Self { capability, ..self }
    }

    /// Says what lies behind the errno and what to do, instead of what is known of the errno.
    #[must_use]
    pub fn because(self, because: &'static str) -> Self {
        Self { because, ..self }
    }

    fn advice(&self) -> Option<String> {
        if !self.because.is_empty() {
            return Some(self.because.to_owned());
        }
        match self.source.raw_os_error()? {
            libc::EPERM | libc::EACCES if !self.capability.is_empty() => {
                let name = self.capability.trim_start_matches("CAP_");
                Some(format!(
                    "needs {}: run as root, give the container `--cap-add {name}`, or \
                     `setcap {}+ep` the program",
                    self.capability,
                    self.capability.to_lowercase()
                ))
            }
            libc::ENODEV | libc::ENXIO => Some(format!(
                "there is no interface {}: `ip link` lists those of this network namespace",
                self.interface
            )),
            libc::EBUSY => Some(format!(
                "{} is in use by another program: stop that first",
                self.interface
            )),
            _ => None,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "cannot {} on {}: {}",
            self.operation, self.interface, self.source
        )?;
        match self.advice() {
            Some(advice) => write!(formatter, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(errno: i32) -> String {
        let source = io::Error::from_raw_os_error(errno);
        LinkError::new("open a packet socket", "eth7", source)
            .needs("CAP_NET_RAW")
            .to_string()
    }

    #[test]
    fn says_what_to_do() {
        assert_eq!(
            text(libc::EPERM),
            "cannot open a packet socket on eth7: Operation not permitted (os error 1); needs \
             CAP_NET_RAW: run as root, give the container `--cap-add NET_RAW`, or `setcap \
             cap_net_raw+ep` the program"
        );
        assert!(text(libc::ENODEV).ends_with(
            "there is no interface eth7: `ip link` lists those of this network namespace"
        ));
        assert!(text(libc::EBUSY).ends_with("eth7 is in use by another program: stop that first"));
        assert!(text(libc::EINVAL).ends_with("(os error 22)"));
    }
}
