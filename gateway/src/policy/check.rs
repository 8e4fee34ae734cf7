//! Holds what is asked against a policy. Nothing is lowered silently: what is beyond it is refused.

use belljar_core::grants::{GrantRequest, offers_http};
use belljar_core::task::{Runtime, TaskLimits, TaskSpec};

use super::TenantPolicy;

/// Something that a policy does not allow, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    PayloadTooLarge(String),
}

/// Whether what is allowed holds what is asked for.
type IsAllowed = fn(&[String], &str) -> bool;

fn is_named(allowed: &[String], asked: &str) -> bool {
    allowed.iter().any(|name| name == asked)
}

/// HTTP requests: what is asked for may be a part of what is allowed.
fn is_covered(allowed: &[String], asked: &str) -> bool {
    let allowed: Vec<_> = allowed.iter().filter_map(|text| text.parse().ok()).collect();
    offers_http(&allowed, asked)
}

impl TenantPolicy {
    /// The widest limits of a function: those of the deployment or of the policy, whichever are narrower.
    pub(crate) fn widest(&self, deployment: &TaskLimits) -> TaskLimits {
        let count = |ours: Option<u64>, theirs: u32| {
            ours.map_or(theirs, |ours| u32::try_from(ours).map_or(theirs, |ours| ours.min(theirs)))
        };
        let timeout_ms = self.limits.timeout_s.map_or(u64::MAX, |s| s.saturating_mul(1_000));
        TaskLimits {
            timeout_ms: timeout_ms.min(deployment.timeout_ms),
            memory_mb: count(self.limits.memory_mb, deployment.memory_mb),
            max_retries: count(self.limits.max_retries, deployment.max_retries),
            ..*deployment
        }
    }

    /// The longest result of a call, in MiB, where it has a limit beside that of the worker.
    pub(crate) fn max_result_mb(&self) -> Option<u32> {
        self.limits.max_result_mb.map(|mib| u32::try_from(mib).unwrap_or(u32::MAX))
    }

    /// After how many seconds a function is forgotten that asks for `asked`: one that asks for nothing lives as long as it may.
    pub(crate) fn check_ttl(&self, asked: Option<u32>) -> Result<Option<u32>, Violation> {
        let Some(most) = self.limits.function_ttl_s else { return Ok(asked) };
        match asked {
            Some(asked) if u64::from(asked) > most => {
                Err(self.forbids(format!("a `ttl_s` of {asked}"), format!("at most {most}")))
            }
            asked => Ok(asked.or(Some(u32::try_from(most).unwrap_or(u32::MAX)))),
        }
    }

    /// Whether a function may be registered for this runtime.
    pub(crate) fn check_runtime(&self, runtime: Runtime) -> Result<(), Violation> {
        if self.runtimes.contains(&runtime) {
            return Ok(());
        }
        let allowed: Vec<_> = self.runtimes.iter().map(|runtime| runtime.as_str()).collect();
        Err(self.forbids(format!("the runtime `{runtime}`"), format!("`{}`", allowed.join("`, `"))))
    }

    /// Whether a function may ask for these grants.
    pub(crate) fn check_grants(&self, asked: &GrantRequest) -> Result<(), Violation> {
        let lists = [
            ("to read the directory", &asked.read, &self.grants.read, is_named as IsAllowed),
            ("the environment variable", &asked.env, &self.grants.env, is_named),
            ("the HTTP requests", &asked.http, &self.grants.http, is_covered),
        ];
        for (what, asked, allowed, is_allowed) in lists {
            let Some(allowed) = allowed else { continue };
            if let Some(name) = asked.iter().find(|name| !is_allowed(allowed, name)) {
                let allowed = match allowed.as_slice() {
                    [] => "none".to_owned(),
                    names => format!("`{}`", names.join("`, `")),
                };
                return Err(self.forbids(format!("{what} `{name}`"), allowed));
            }
        }
        match self.grants.scratch_mb {
            Some(most) if u64::from(asked.scratch_mb) > most => {
                let asked = format!("scratch space of {} MiB", asked.scratch_mb);
                Err(self.forbids(asked, format!("at most {most}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a call may be submitted as it is: its function may have been registered under another policy.
    pub(crate) fn check_call(&self, spec: &TaskSpec) -> Result<(), Violation> {
        self.check_runtime(spec.class.runtime)?;
        if spec.priority < self.max_priority {
            let asked = format!("the priority `{}`", spec.priority);
            return Err(self.forbids(asked, format!("at most `{}`", self.max_priority)));
        }
        if let Some(grants) = &spec.grants {
            self.check_grants(grants)?;
        }
        let widest = self.widest(&TaskLimits {
            timeout_ms: u64::MAX,
            memory_mb: u32::MAX,
            max_retries: u32::MAX,
            max_result_mb: None,
        });
        let limits = [
            ("a `timeout_s` of", spec.limits.timeout_ms, widest.timeout_ms, 1_000),
            ("a `memory_mb` of", spec.limits.memory_mb.into(), widest.memory_mb.into(), 1),
            ("a `max_retries` of", spec.limits.max_retries.into(), widest.max_retries.into(), 1),
        ];
        for (what, asked, most, unit) in limits {
            if asked > most {
                let most = format!(
                    "at most {}; the function was registered with it: register it again with less",
                    number(most, unit)
                );
                return Err(self.forbids(format!("{what} {}", number(asked, unit)), most));
            }
        }
        Ok(())
    }

    /// Whether a pickle of so many bytes may be sent.
    pub(crate) fn check_payload(&self, bytes: usize) -> Result<(), Violation> {
        match self.limits.payload_kb {
            Some(most) if bytes as u64 > most.saturating_mul(1024) => {
                Err(Violation::PayloadTooLarge(format!(
                    "a payload of {bytes} bytes is not allowed to tenant `{}`: at most {most} KiB; pass a \
                     reference to the data instead",
                    self.tenant
                )))
            }
            _ => Ok(()),
        }
    }

    fn forbids(&self, asked: impl std::fmt::Display, allowed: impl std::fmt::Display) -> Violation {
        let tenant = &self.tenant;
        Violation::Forbidden(format!(
            "the operator's policy does not allow {asked} to tenant `{tenant}`: {allowed}"
        ))
    }
}

/// A number in its unit, exactly.
fn number(value: u64, unit: u64) -> String {
    match (value / unit, value % unit) {
        (whole, 0) => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest:03}"),
    }
}

#[cfg(test)]
mod tests {
    use belljar_core::id::FunctionId;
    use belljar_core::task::{CodeHash, Priority};

    use super::*;
    use crate::policy::PolicyFile;

    fn policy() -> TenantPolicy {
        let text = r#"
            [tenant.acme]
            runtimes = ["sandbox"]
            max_priority = "normal"
            grants = { read = ["/srv/data"], env = [], http = ["GET https://a/v1/*"], scratch_mb = 8 }
            limits = { timeout_s = 2, memory_mb = 64, max_retries = 1, payload_kb = 1 }
        "#;
        let file: PolicyFile = toml::from_str(text).expect("valid");
        file.policy(&"acme".parse().expect("a name"))
    }

    fn spec() -> TaskSpec {
        TaskSpec {
            function_id: FunctionId::random(),
            code: CodeHash::of(b""),
            class: "sandbox:3.11".parse().expect("a class"),
            limits: TaskLimits {
                timeout_ms: 2_000,
                memory_mb: 64,
                max_retries: 1,
                max_result_mb: None,
            },
            priority: Priority::Normal,
            grants: None,
            packages: None,
            warm: belljar_core::warm::WarmMode::Auto,
        }
    }

    fn sentence(spec: &TaskSpec) -> String {
        policy().check_call(spec).expect_err("beyond the policy").to_string()
    }

    #[test]
    fn a_call_within_the_policy_passes() {
        let http = vec!["GET https://a/v1/x".into()];
        let grants =
            GrantRequest { read: vec!["/srv/data".into()], env: vec![], scratch_mb: 8, http };
        for priority in [Priority::Normal, Priority::Low] {
            let spec = TaskSpec { priority, grants: Some(Box::new(grants.clone())), ..spec() };
            assert_eq!(policy().check_call(&spec), Ok(()));
        }
        assert_eq!(policy().check_payload(1024), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_value_and_the_limit() {
        let mut native = spec();
        native.class = "native:3.11".parse().expect("a class");
        assert_eq!(
            sentence(&native),
            "the operator's policy does not allow the runtime `native` to tenant `acme`: `sandbox`"
        );
        let text = sentence(&TaskSpec { priority: Priority::High, ..spec() });
        assert!(text.contains("`high`") && text.contains("at most `normal`"), "{text}");
        for (limits, named) in [
            (
                TaskLimits { timeout_ms: 2_500, ..spec().limits },
                ["timeout_s` of 2.500", "at most 2"],
            ),
            (TaskLimits { memory_mb: 65, ..spec().limits }, ["memory_mb` of 65", "at most 64"]),
            (TaskLimits { max_retries: 2, ..spec().limits }, ["max_retries` of 2", "at most 1"]),
        ] {
            let text = sentence(&TaskSpec { limits, ..spec() });
            assert!(named.iter().all(|named| text.contains(named)), "{text}");
        }
        let none = GrantRequest::default();
        for (grants, named) in [
            (GrantRequest { read: vec!["/srv".into()], ..none.clone() }, ["`/srv`", "`/srv/data`"]),
            (GrantRequest { env: vec!["A".into()], ..none.clone() }, ["`A`", "none"]),
            (
                GrantRequest { http: vec!["GET https://a/*".into()], ..none.clone() },
                ["`GET https://a/*`", "`GET https://a/v1/*`"],
            ),
            (GrantRequest { scratch_mb: 9, ..none }, ["9 MiB", "at most 8"]),
        ] {
            let text = sentence(&TaskSpec { grants: Some(Box::new(grants)), ..spec() });
            assert!(named.iter().all(|named| text.contains(named)), "{text}");
        }
        let text = policy().check_payload(1_025).expect_err("too large").to_string();
        assert!(text.contains("1025 bytes") && text.contains("at most 1 KiB"), "{text}");
    }

    #[test]
    fn the_narrower_of_two_limits_counts() {
        let widest = policy().widest(&TaskLimits { timeout_ms: 1_000, ..TaskLimits::WIDEST });
        let narrower = TaskLimits { memory_mb: 64, max_retries: 1, ..spec().limits };
        assert_eq!(widest, TaskLimits { timeout_ms: 1_000, ..narrower });
    }
}
