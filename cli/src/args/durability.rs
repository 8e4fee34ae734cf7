//! What accepted tasks survive.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use clap::Args;

/// What stands before a number of replicas.
const REPLICA: &str = "replica:";

/// What an accepted task survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The death of any process. A crash of the machine may cost the last second.
    Process,
    /// A crash of the machine: everything is on the disk before it is answered.
    Disk,
    /// The loss of the Redis that has accepted it: so many replicas have it before it is answered.
    Replica(NonZeroU8),
}

impl Durability {
    /// How many replicas must have what is accepted.
    pub(crate) const fn replicas(self) -> u8 {
        match self {
            Self::Process | Self::Disk => 0,
            Self::Replica(replicas) => replicas.get(),
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let replicas = text.strip_prefix(REPLICA).and_then(|number| number.parse().ok());
        match (text, replicas) {
            ("process", _) => Ok(Self::Process),
            ("disk", _) => Ok(Self::Disk),
            (_, Some(replicas)) => Ok(Self::Replica(replicas)),
            _ => Err(format!(
                "it must be `process`, `disk`, or `{REPLICA}` and how many replicas of Redis must have a task, 1 to {}",
                u8::MAX
            )),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("process"),
            Self::Disk => f.write_str("disk"),
            Self::Replica(replicas) => write!(f, "{REPLICA}{replicas}"),
        }
    }
}

/// What a task survives once a client was told that it is accepted.
#[derive(Debug, Clone, Args)]
pub(crate) struct DurabilityArgs {
    /// What an accepted task survives: `process`, the death of any process; `disk`, a crash of the machine too, which the private
    /// Redis of `up` does, and a Redis of your own by its `appendfsync`; `replica:K`, the loss of a Redis of your own, since K
    /// replicas have the task before the submission is answered, or the answer is 503.
    #[arg(long, env = "BELLJAR_DURABILITY", value_name = "process|disk|replica:K", default_value_t = Durability::Process)]
    pub(crate) durability: Durability,
}

impl DurabilityArgs {
    /// Whether `up` can give this, with a Redis of the user or a private one.
    pub(super) fn check(&self, is_users: bool) -> Result<(), String> {
        match self.durability {
            Durability::Disk if is_users => Err(
                "--durability disk is for the private Redis: a Redis of your own has its data on \
                 the disk with `appendfsync always`"
                    .to_owned(),
            ),
            Durability::Replica(_) if !is_users => {
                Err("--durability replica needs a Redis that has replicas: --redis names it"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_is_read_as_it_is_written() {
        for text in ["process", "disk", "replica:1", "replica:255"] {
            let durability: Durability = text.parse().expect("one");
            assert_eq!(durability.to_string(), text);
        }
        for wrong in ["", "replica", "replica:", "replica:0", "replica:256", "replica:-1", "Disk"] {
            let told = wrong.parse::<Durability>().expect_err("none");
            assert!(told.contains("`replica:`") && told.contains("1 to 255"), "{wrong}: {told}");
        }
    }

    #[test]
    fn each_redis_gives_what_it_can() {
        let check = |text: &str, is_users| {
            DurabilityArgs { durability: text.parse().expect("one") }.check(is_users)
        };
        assert!(check("process", true).is_ok() && check("process", false).is_ok());
        assert!(check("disk", false).is_ok() && check("replica:1", true).is_ok());
        assert!(check("disk", true).is_err_and(|why| why.contains("appendfsync always")));
        assert!(check("replica:1", false).is_err_and(|why| why.contains("--redis")));
    }
}
