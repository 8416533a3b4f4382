//! What an interface does itself, and by which driver (ethtool(8), `linux/ethtool.h`).

use std::io;
use std::os::fd::AsRawFd;

use super::interface::named_request;
use super::{check, socket};

/// `ETHTOOL_GDRVINFO`
const GET_DRIVER: u32 = 0x3;
/// `ETHTOOL_GLINK`
const GET_LINK: u32 = 0xa;
/// `ETHTOOL_GCHANNELS`
const GET_CHANNELS: u32 = 0x3c;
/// Words of struct `ethtool_channels`.
const CHANNEL_WORDS: usize = 9;
/// Words of struct `ethtool_drvinfo`.
const DRIVER_WORDS: usize = 49;
/// Octets of the driver's name behind the command's word, the final 0 included.
const DRIVER_NAME: usize = 32;

/// Work that an interface can be told to do itself or to leave to the kernel (`ethtool -K`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Finishing transport checksums of frames sent (`tx`).
    TransmitChecksum,
    /// Cutting TCP super-frames that are sent (`tso`).
    Segmentation,
    /// Putting received segments together into super-frames (`gro`).
    ReceiveAggregation,
}

impl Feature {
    /// The commands that read it (`ETHTOOL_GTXCSUM`, `ETHTOOL_GTSO`, `ETHTOOL_GGRO`) and set it (`ETHTOOL_S...`).
    const fn commands(self) -> (u32, u32) {
        match self {
            Self::TransmitChecksum => (0x16, 0x17),
            Self::Segmentation => (0x1e, 0x1f),
            Self::ReceiveAggregation => (0x2b, 0x2c),
        }
    }
}

/// Whether a feature of an interface is on. Anybody may ask.
///
/// # Errors
/// `ENODEV`, `EOPNOTSUPP`.
pub fn is_on(name: &str, feature: Feature) -> io::Result<bool> {
    // struct ethtool_value
    let mut value = [feature.commands().0, 0];
    call(name, &mut value)?;
    Ok(value[1] != 0)
}

/// Turns a feature of an interface on or off (`CAP_NET_ADMIN`).
///
/// # Errors
/// `EPERM`, `ENODEV`, `EOPNOTSUPP`.
pub fn set(name: &str, feature: Feature, on: bool) -> io::Result<()> {
    call(name, &mut [feature.commands().1, u32::from(on)])
}

/// The name of an interface's driver, such as `veth`, `bridge` or `virtio_net`. Anybody may ask.
///
/// # Errors
/// `ENODEV`, `EOPNOTSUPP` (the driver does not say).
pub fn driver(name: &str) -> io::Result<String> {
    let mut info = [0; DRIVER_WORDS];
    info[0] = GET_DRIVER;
    call(name, &mut info)?;
    let octets = info[1..].iter().flat_map(|word| word.to_ne_bytes());
    let name: Vec<u8> = octets
        .take(DRIVER_NAME)
        .take_while(|octet| *octet != 0)
        .collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Whether an interface that is up has carrier; a TUN device has it while a program has it open.
///
/// # Errors
/// `ENODEV`, `EOPNOTSUPP`.
pub fn has_carrier(name: &str) -> io::Result<bool> {
    let mut value = [GET_LINK, 0];
    call(name, &mut value)?;
    Ok(value[1] != 0)
}

/// Receive and transmit queues in use. Anybody may ask.
///
/// # Errors
/// `ENODEV`, `EOPNOTSUPP` (the driver does not say).
pub fn queues(name: &str) -> io::Result<(u32, u32)> {
    let mut channels = [0; CHANNEL_WORDS];
    channels[0] = GET_CHANNELS;
    call(name, &mut channels)?;
    let [_, _, _, _, _, receive, transmit, _, combined] = channels;
    let sum = |alone: u32| alone.saturating_add(combined);
    Ok((sum(receive), sum(transmit)))
}

/// Gives the kernel a command and lets it fill in the answer. Structures of two words are `ethtool_value`, the others
/// those of the commands above.
fn call<const WORDS: usize>(name: &str, words: &mut [u32; WORDS]) -> io::Result<()> {
    const { assert!(WORDS == 2 || WORDS == DRIVER_WORDS || WORDS == CHANNEL_WORDS) };
    let socket = socket::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = named_request(name)?;
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: SIOCETHTOOL reads and writes, behind ifru_data, the structure that belongs to the command in its first
    // word; callers in this file pair commands and sizes, and the array lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_tells_its_offloads_to_anybody() {
        assert!(is_on("lo", Feature::Segmentation).is_ok());
        assert!(is_on("lo", Feature::ReceiveAggregation).is_ok());
        let refused = is_on("nosuch0", Feature::TransmitChecksum).expect_err("no such interface");
        assert_eq!(refused.raw_os_error(), Some(libc::ENODEV));
        assert_eq!(
            queues("nosuch0")
                .expect_err("no such interface")
                .raw_os_error(),
            Some(libc::ENODEV)
        );
        let refused = driver("").expect_err("no such interface");
        assert_eq!(refused.raw_os_error(), Some(libc::ENODEV));
    }
}
