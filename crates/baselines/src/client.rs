//! The hash of a client, which the hashing schedulers share.

use core::hash::Hasher;
use core::net::IpAddr;

use director::scheduler::Flow;
use director::service::FLAG_SCHED_2;
use siphasher::sip::SipHasher13;

/// Key of the hash: the same for all directors, which are to agree.
const KEY: u64 = 0x636c_6965_6e74_0001;

/// Hash of the client's address; with [`FLAG_SCHED_2`] among `flags`, of its port too.
pub(crate) fn hash(flow: &Flow, flags: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEY, 0);
    write_address(&mut hasher, flow.source);
    if flags & FLAG_SCHED_2 != 0 {
        hasher.write(&flow.source_port.to_be_bytes());
    }
    hasher.finish()
}

/// Hash of a real server by its address and port, another one for each `purpose`.
pub(crate) fn hash_of_server(address: IpAddr, port: u16, purpose: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEY, purpose + 1);
    write_address(&mut hasher, address);
    hasher.write(&port.to_be_bytes());
    hasher.finish()
}

fn write_address(hasher: &mut SipHasher13, address: IpAddr) {
    match address {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
}
