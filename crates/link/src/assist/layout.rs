//! What this process and the two programs agree on: where things stand in their maps and in a frame.

/// Words of 64 bits in a flow's entry.
pub(super) const WORDS: usize = 16;

// Octets in an entry. Entry 0 is no flow: its generation is the one that counts.
/// Which state of the host and the services the decision is about; 0 = none.
pub(super) const GENERATION: i16 = 0;
/// Packets taken.
pub(super) const PACKETS: i16 = 8;
/// Octets of their IP datagrams.
pub(super) const OCTETS: i16 = 16;
/// When the last one was, nanoseconds of the monotonic clock.
pub(super) const LAST: i16 = 24;
/// Index of the interface to send by. The decision begins here.
pub(super) const EGRESS: i16 = 32;
/// Largest IP datagram there.
pub(super) const MTU: i16 = 36;
/// [`SOURCE`] or [`DESTINATION`]; 0 = nothing is translated.
pub(super) const TRANSLATES: i16 = 40;
/// What the translation adds to the IPv4 header's checksum, 16 bits.
pub(super) const HEADER_CHANGE: i16 = 44;
/// Link addresses, as a frame begins: destination, source.
pub(super) const MACS: i16 = 48;
/// New port, as it stands in a packet.
pub(super) const NEW_PORT: i16 = 60;
/// Old port, as it stands in a packet.
pub(super) const OLD_PORT: i16 = 62;
/// New address: 4 or 16 octets.
pub(super) const ADDRESS: i16 = 64;
/// What the new address adds to a checksum, 32 bits.
pub(super) const ADDRESS_CHANGE: i16 = 80;
/// Where the checksum stands in the frame.
pub(super) const CHECKSUM_AT: i16 = 84;
/// Flags of `bpf_l4_csum_replace` for the address, and for the port.
pub(super) const ADDRESS_FLAGS: i16 = 88;
pub(super) const PORT_FLAGS: i16 = 92;
/// Octets of a decision, from [`EGRESS`] on.
pub(super) const DECISION: usize = 64;
/// Frames that the filter left to the director since the flow was installed; with [`TAKEN_OVER`] from the moment that
/// the kernel has them.
pub(super) const ARRIVED: i16 = 96;
/// Those of them that stand in a ring.
pub(super) const DELIVERED: i16 = 104;

/// The bit of [`ARRIVED`]; frames by the director in the time that a flow may wait are fewer.
pub(super) const TAKEN_OVER: u32 = 1 << 30;

/// The packet's source changes.
pub(super) const SOURCE: u32 = 1;
/// The packet's destination changes.
pub(super) const DESTINATION: u32 = 2;

/// Octets of a key: source and destination address (IPv4 mapped), both ports, and the index of the
/// interface it arrives on with [`UDP_BIT`].
pub(super) const KEY: usize = 40;
/// Set for UDP, clear for TCP; no interface has so large an index.
pub(super) const UDP_BIT: u32 = 1 << 31;

// Octets in what the filter leaves for the program behind it.
/// The flow's entry; 0 = the frame is of none.
pub(super) const CELL_FLOW: i16 = 0;
/// The interface.
pub(super) const CELL_INTERFACE: i16 = 4;
/// Octets of the frame.
pub(super) const CELL_FRAME: i16 = 8;
/// Octets of its IP datagram.
pub(super) const CELL_DATAGRAM: i16 = 12;
/// 1 = the frame is to be sent on; 0 = it is the director's, and to be counted as [`DELIVERED`].
pub(super) const CELL_TAKEN: i16 = 16;
/// Octets of it all.
pub(super) const CELL: usize = 24;

// Places in `struct __sk_buff`.
pub(super) const SKB_LEN: i16 = 0;
pub(super) const SKB_PACKET_TYPE: i16 = 4;
pub(super) const SKB_PROTOCOL: i16 = 16;
pub(super) const SKB_VLAN_PRESENT: i16 = 20;
pub(super) const SKB_INTERFACE: i16 = 40;
pub(super) const SKB_DATA: i16 = 76;
pub(super) const SKB_DATA_END: i16 = 80;
pub(super) const SKB_GSO_SIZE: i16 = 176;

/// Octets of the link header.
pub(super) const LINK: i16 = 14;
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const IPV4_HEADER: i16 = 20;
pub(super) const IPV6_HEADER: i16 = 40;
pub(super) const TCP: i32 = 6;
pub(super) const UDP: i32 = 17;
