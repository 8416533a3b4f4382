//! A scheduler as one types it: its name and flags.

use core::str::FromStr;

use director::scheduler::{self, Entry};
use director::service::{FLAG_SCHED_1, FLAG_SCHED_2, FLAG_SCHED_3, ServiceConfig};

/// A scheduler with its flags, as the lab, replays and shadow scheduling are told it: `wlc`, `mh -b mh-fallback,mh-port`.
#[derive(Clone, Debug)]
pub struct Spec {
    /// As typed, with one space between words.
    pub text: String,
    /// The scheduler: the kernel's, or one of [`ENTRIES`](crate::ENTRIES).
    pub entry: &'static Entry,
    /// Its flags' bits; 0 where none are named.
    pub flags: u32,
}

impl Spec {
    /// Bits of a service that are its scheduler's own (`IP_VS_SVC_F_SCHED1` to `3`).
    pub const FLAGS: u32 = FLAG_SCHED_1 | FLAG_SCHED_2 | FLAG_SCHED_3;

    /// The same service with this scheduler.
    #[must_use]
    pub fn of(&self, service: &ServiceConfig) -> ServiceConfig {
        ServiceConfig {
            scheduler: self.entry.name.to_owned(),
            flags: service.flags & !Self::FLAGS | self.flags,
            ..service.clone()
        }
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl FromStr for Spec {
    /// One sentence: what is wrong, and what is possible.
    type Err = String;

    /// Reads `NAME` or `NAME -b FLAG[,FLAG]...`, as for `ipvsadm -s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (name, flags) = match words[..] {
            [name] => (name, ""),
            [name, "-b", flags] => (name, flags),
            _ => {
                return Err(
                    "a scheduler is a name, or a name and its flags: \"mh -b mh-port\"".to_owned(),
                );
            }
        };
        let entry = crate::find(name).ok_or_else(|| {
            let known = scheduler::ENTRIES.iter().chain(crate::ENTRIES);
            let names: Vec<&str> = known.map(|entry| entry.name).collect();
            format!("there is no scheduler {name:?}, only {}", names.join(", "))
        })?;
        let mut bits = 0;
        for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
            let known = entry.flags.iter().find(|known| known.name == flag);
            bits |= known.ok_or_else(|| not_a_flag(flag, entry))?.flag;
        }
        Ok(Self {
            text: words.join(" "),
            entry,
            flags: bits,
        })
    }
}

fn not_a_flag(flag: &str, entry: &Entry) -> String {
    let names: Vec<&str> = entry.flags.iter().map(|known| known.name).collect();
    let possible = if names.is_empty() {
        "which has none".to_owned()
    } else {
        format!("only {}", names.join(", "))
    };
    format!("{flag:?} is not a flag of {}, {possible}", entry.name)
}

#[cfg(test)]
mod tests {
    use director::service::{FLAG_PERSISTENT, Family, ServiceKey};

    use super::*;

    #[test]
    fn what_is_no_scheduler_is_refused_in_a_sentence() {
        for (text, expected) in [
            ("nosuch", "there is no scheduler \"nosuch\", only rr, wrr"),
            (
                "mh -b sh-port",
                "\"sh-port\" is not a flag of mh, only mh-fallback, mh-port",
            ),
            (
                "wlc -b sh-port",
                "\"sh-port\" is not a flag of wlc, which has none",
            ),
            ("", "a scheduler is a name"),
            ("mh mh-port", "a scheduler is a name"),
        ] {
            let error = text.parse::<Spec>().unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_service_gets_the_scheduler_and_its_flags_alone() {
        let spec: Spec = " mh  -b mh-port,mh-fallback".parse().unwrap();
        assert_eq!(spec.text, "mh -b mh-port,mh-fallback");
        assert_eq!(spec.flags, FLAG_SCHED_1 | FLAG_SCHED_2);
        let persistent = ServiceConfig {
            key: ServiceKey::Mark {
                family: Family::V4,
                mark: 1,
            },
            scheduler: "wlc".to_owned(),
            flags: FLAG_PERSISTENT | FLAG_SCHED_3,
            timeout: 300,
            netmask: u32::MAX,
            persistence_engine: None,
        };
        let service = spec.of(&persistent);
        assert_eq!(service.scheduler, "mh");
        assert_eq!(service.flags, FLAG_PERSISTENT | FLAG_SCHED_1 | FLAG_SCHED_2);
        assert_eq!("maglev".parse::<Spec>().unwrap().flags, 0);
    }
}
