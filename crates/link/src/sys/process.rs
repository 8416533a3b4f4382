//! What a process or thread may do and where it runs.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::{check, errno};

/// Moves the calling thread into the network namespace that a path names, such as
/// `/run/netns/NAME` or `/proc/PID/ns/net` (`CAP_SYS_ADMIN`).
///
/// # Errors
/// `ENOENT`, `EPERM`, `EINVAL` (not a network namespace).
pub fn enter_network_namespace(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: setns(2) takes no pointers.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) })?;
    Ok(())
}

/// Moves the calling thread into a new, empty network namespace, which goes away with the last
/// thread, socket or mount that holds it (`CAP_SYS_ADMIN`).
///
/// # Errors
/// `EPERM`.
pub fn new_network_namespace() -> io::Result<()> {
    // SAFETY: unshare(2) takes no pointers; CLONE_NEWNET changes only what this thread's new
    // sockets belong to.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    Ok(())
}

/// Binds the calling thread to one processor.
///
/// # Errors
/// `EINVAL` when this process may not use that processor.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    let size = size_of::<libc::cpu_set_t>();
    if cpu >= size * 8 {
        return Err(errno(libc::EINVAL));
    }
    // SAFETY: zeros are an empty set; `cpu` is below its capacity; the kernel reads `size` octets.
    check(unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size, &raw const set)
    })?;
    Ok(())
}

/// Gives the calling thread the lowest priority of ordinary ones (nice 19), as setpriority(2) on Linux does: of a thread,
/// not of its process.
///
/// # Errors
/// None in practice: lowering needs no privilege.
pub fn step_back() -> io::Result<()> {
    // SAFETY: setpriority(2) takes no pointers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) })?;
    Ok(())
}

/// Makes sure that this process and its children never gain privileges by executing a file
/// (`PR_SET_NO_NEW_PRIVS`). Cannot be undone.
///
/// # Errors
/// None in practice.
pub fn set_no_new_privileges() -> io::Result<()> {
    // SAFETY: this prctl takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

/// Octets from the kernel's random source.
///
/// # Errors
/// `ENOSYS` on kernels before 3.17.
pub fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut octets = [0; LEN];
    let mut filled = 0;
    while filled < LEN {
        let rest = &mut octets[filled..];
        let count = super::retry(|| {
            // SAFETY: the kernel writes at most `rest.len()` octets to `rest`.
            super::check_len(unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) })
        })?;
        filled += count;
    }
    Ok(octets)
}

/// Raises the limit of open files of this process to its hard limit; returns the new limit.
///
/// # Errors
/// None in practice.
pub fn raise_open_files() -> io::Result<u64> {
    // SAFETY: both calls are given a valid rlimit.
    unsafe {
        let mut limit: libc::rlimit = mem::zeroed();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
        Ok(limit.rlim_cur)
    }
}

/// The user this process acts as.
#[must_use]
pub fn effective_user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_octets_differ() {
        let first: [u8; 32] = random().expect("getrandom");
        let second: [u8; 32] = random().expect("getrandom");
        assert_ne!(first, second);
    }

    #[test]
    fn pinning_works_and_an_impossible_processor_is_refused() {
        std::thread::spawn(|| {
            pin_to_cpu(0).expect("processor 0 exists");
            let refused = pin_to_cpu(1_000_000).expect_err("no such processor");
            assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn no_new_privileges_and_open_files() {
        assert!(raise_open_files().expect("rlimit") >= 256);
        std::thread::spawn(|| set_no_new_privileges().expect("prctl"))
            .join()
            .expect("no panic");
    }
}
