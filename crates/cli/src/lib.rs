//! The ipvsadm command line: argv to IPVS messages, replies to text.
