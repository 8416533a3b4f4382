//! Frames in and out: memory, pcap, AF_PACKET, TUN; the only crate with unsafe.
