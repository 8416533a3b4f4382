//! Which options go with which command, and with which tunnel type.

use super::command::Kind;
use super::options::{CHECKS, Check, TUNNEL_CHECKS};
use super::parse::Refusal;
use crate::netlink::{TUNNEL_GRE, TUNNEL_GUE};

/// The checks that were ticked off by options.
#[derive(Clone, Debug, Default)]
pub(super) struct Given(Vec<Check>);

impl Given {
    /// Notes an option.
    ///
    /// # Errors
    /// If one of its kind was given before.
    pub(super) fn add(&mut self, check: Check) -> Result<(), Refusal> {
        if self.has(check) {
            return Err(Refusal::usage(format!(
                "multiple '{}' options specified",
                check.name()
            )));
        }
        self.0.push(check);
        Ok(())
    }

    pub(super) fn has(&self, check: Check) -> bool {
        self.0.contains(&check)
    }

    /// Checks the options against the command.
    pub(super) fn check_command(&self, kind: Kind) -> Result<(), Refusal> {
        let (column, name) = kind.column();
        self.check(CHECKS, column, &format!("the '{name}' command"))
    }

    /// Checks the tunnel options against the tunnel type.
    pub(super) fn check_tunnel(&self, tunnel: u8) -> Result<(), Refusal> {
        let (column, name) = match tunnel {
            TUNNEL_GUE => (1, "gue"),
            TUNNEL_GRE => (2, "gre"),
            _ => (0, "ipip"),
        };
        self.check(TUNNEL_CHECKS, column, &format!("the '{name}' tunnel type"))
    }

    fn check(
        &self,
        table: &[(Check, &str, &str)],
        column: usize,
        subject: &str,
    ) -> Result<(), Refusal> {
        let mut exclusive = None;
        for &(check, name, rules) in table {
            let rule = rules.as_bytes().get(column).copied();
            let text = match (rule, self.has(check)) {
                (Some(b'+'), false) => {
                    format!("You need to supply the '{name}' option for {subject}")
                }
                (Some(b'x'), true) => format!("Illegal '{name}' option with {subject}"),
                (Some(b'1'), true) => match exclusive {
                    None => {
                        exclusive = Some(name);
                        continue;
                    }
                    Some(first) => format!(
                        "The option '{name}' conflicts with the '{first}' option in {subject}"
                    ),
                },
                _ => continue,
            };
            return Err(Refusal::usage(text));
        }
        Ok(())
    }
}
