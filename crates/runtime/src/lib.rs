//! Threads, sockets, neighbours, the daemon: drives the director core over real links.
