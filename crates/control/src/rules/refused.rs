//! Messages for what the director refuses.

use super::command::{Command, Listing};
use crate::netlink::Errno;

/// ipvsadm's words for an error: first those of the command, then the general ones, then the C
/// library's.
#[must_use]
pub fn refusal_text(command: &Command, errno: Errno) -> String {
    let text = match (command, errno) {
        (Command::AddService(..), Errno::EEXIST) => "Service already exists",
        (Command::AddService(..) | Command::EditService(..), Errno::ENOENT) => {
            "Scheduler or persistence engine not found"
        }
        (
            Command::EditService(..)
            | Command::DeleteService(_)
            | Command::Zero(_)
            | Command::List(Listing::Service(_), _),
            Errno::ESRCH,
        ) => "No such service",
        (
            Command::AddServer(..) | Command::EditServer(..) | Command::DeleteServer(..),
            Errno::ESRCH,
        ) => "Service not defined",
        (Command::AddServer(..), Errno::EEXIST) => "Destination already exists",
        (Command::EditServer(..) | Command::DeleteServer(..), Errno::ENOENT) => {
            "No such destination"
        }
        (Command::StartDaemon(_), Errno::EEXIST) => "Daemon has already run",
        (Command::StopDaemon(_), Errno::ESRCH) => "No daemon is running",
        (Command::StartDaemon(_) | Command::StopDaemon(_), Errno::EOPNOTSUPP) => {
            "This director does not synchronise connections"
        }
        (_, Errno::EPERM) => "Permission denied (you must be root)",
        (_, Errno::EINVAL) => {
            "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        }
        (_, Errno::ENOPROTOOPT) => "Protocol not available",
        (_, Errno::ENOMEM) => "Memory allocation problem",
        (_, Errno::EOPNOTSUPP) => "Operation not supported with IPv6",
        (_, Errno::EAFNOSUPPORT) => "Operation not supported with specified address family",
        _ => return errno.to_string(),
    };
    text.to_owned()
}
