//! `ulvs decap`: the real server's end of LVS-TUN without the kernel's ipip, gre and fou modules.

pub mod tunnel;
