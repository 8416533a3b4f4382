//! Giving up what is no longer needed.

use std::collections::BTreeMap;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};

use link::sys::process;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::error::{Result, RuntimeError};

/// System calls that this program never makes, and that are of use to whoever takes it over: running other programs,
/// reaching into other processes, changing the kernel or what is mounted, leaving the namespaces.
const NEVER_CALLED: [libc::c_long; 33] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
];

/// Gives up, for this thread and all it starts from now on, gaining privileges by running a file, and the system
/// calls that this program never makes: they fail with EPERM.
///
/// # Errors
/// The system's refusal.
pub fn confine() -> Result<()> {
    let failed = |what: &str, source| RuntimeError::system(format!("cannot {what}"), source);
    process::set_no_new_privileges()
        .map_err(|source| failed("give up gaining privileges", source))?;
    let errno = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    // An empty list of conditions: whatever the arguments.
    let rules: BTreeMap<_, _> = NEVER_CALLED
        .iter()
        .map(|&number| (number, Vec::new()))
        .collect();
    let unknown = |error: seccompiler::BackendError| {
        failed(
            "make the system call filter",
            io::Error::other(error.to_string()),
        )
    };
    let arch = std::env::consts::ARCH.try_into().map_err(unknown)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).map_err(unknown)?;
    let program: BpfProgram = filter.try_into().map_err(unknown)?;
    seccompiler::apply_filter(&program).map_err(|error| {
        failed(
            "set the system call filter",
            io::Error::other(error.to_string()),
        )
    })
}

/// Takes every capability from the calling thread, for good.
///
/// # Errors
/// The system's refusal.
pub fn drop_all_of_this_thread() -> Result<()> {
    keep(&[])
}

/// Takes every capability but those in `wanted` from the calling thread; those it has of them it keeps effective.
/// capset(2) is per thread: threads started later inherit, threads that run already do not.
///
/// # Errors
/// The system's refusal.
pub fn keep(wanted: &[Capability]) -> Result<()> {
    let failed = |error: caps::errors::CapsError| {
        RuntimeError::system(
            "cannot give up capabilities",
            io::Error::other(error.to_string()),
        )
    };
    let had = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet = wanted
        .iter()
        .copied()
        .filter(|one| had.contains(one))
        .collect();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(failed)?;
    }
    // Effective before permitted: it must stay a subset.
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)
}

/// Whether the calling thread may use `capability`.
#[must_use]
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confined_thread_runs_no_programs() {
        // Filters belong to threads: this one's ends with it.
        std::thread::spawn(|| {
            confine().unwrap();
            let error = std::process::Command::new("/bin/true")
                .status()
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(std::fs::read("/proc/self/status").is_ok());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_without_capabilities_has_none() {
        std::thread::spawn(|| {
            drop_all_of_this_thread().unwrap();
            assert!(!has(Capability::CAP_NET_RAW));
            assert!(link::sys::raw_ip::Receiver::open(false, 4).is_err());
        })
        .join()
        .unwrap();
    }
}
