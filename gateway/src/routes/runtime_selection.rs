//! Selects where a function runs: its runtime and its Python, or why it cannot run anywhere.

use belljar_core::labels::Labels;
use belljar_core::task::{PythonVersion, Runtime, TaskClass};
use belljar_pickle::PythonHint;

use crate::cache::pythons;
use crate::problem::Problem;

/// How many sets of labels a sentence lists.
const SHOWN_LABELS: usize = 10;

/// What a registration says of where its function runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuntimeRequest {
    pub(super) runtime: Option<Runtime>,
    pub(super) python: Option<PythonVersion>,
    /// What its bytecode shows.
    pub(super) hint: PythonHint,
}

impl RuntimeRequest {
    /// Where the function runs: as the request says, as its bytecode shows, else the deployment's default.
    pub(super) fn select(
        &self,
        default: TaskClass,
        served: &[TaskClass],
    ) -> Result<TaskClass, Problem> {
        let runtime = self.runtime.unwrap_or(default.runtime);
        let offered = pythons(served, runtime);
        let shown = || {
            if self.hint.allows(default.python) {
                return Some(default.python);
            }
            let newest = || offered.iter().rev().find(|python| self.hint.allows(**python)).copied();
            // Of several possible versions none is chosen at random: bytecode of the wrong one misbehaves.
            self.hint.certain().or_else(|| newest().filter(|_| self.hint.is_open_ended()))
        };
        match self.python.or_else(shown) {
            Some(python) if served.is_empty() || offered.contains(&python) => {
                Ok(TaskClass::new(runtime, python))
            }
            // No dispatcher is there to say what is served: the task waits in the queue.
            None if served.is_empty() => Ok(TaskClass::new(runtime, default.python)),
            Some(python) => Err(unserved(runtime, &format!("Python {python}"), &offered)),
            None if offered.iter().any(|python| self.hint.allows(*python)) => {
                let msg = format!(
                    "the bytecode of the function is of {}, and each runs it differently: send the version, for \
                 example `{{:d}}.{{:d}}`.format(*sys.version_info)",
                    self.hint
                );
                Err(Problem::body("python_ambiguous", "python", msg))
            }
            None => Err(unserved(runtime, &self.hint.to_string(), &offered)),
        }
    }
}

/// No worker can run this: a sentence with both versions.
pub(super) fn unserved(runtime: Runtime, wanted: &str, offered: &[PythonVersion]) -> Problem {
    if offered.is_empty() {
        let msg = format!(
            "no worker serves the runtime `{runtime}` now: start one with `--runtime {runtime}`"
        );
        return Problem::body("runtime_unserved", "runtime", msg);
    }
    let list = offered.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let msg = format!(
        "the function needs {wanted}, and the {runtime} workers run Python {list}: register it from \
         Python {list}, or start a worker with {wanted}"
    );
    Problem::body("python_unserved", "python", msg)
}

/// What is wrong with the labels of a class, if no live worker has them; `live` are the classes of all live workers.
pub(super) fn unmet_labels(
    class: TaskClass,
    live: &[TaskClass],
    field: &'static str,
) -> Option<Problem> {
    if class.labels.is_empty() || live.iter().any(|own| own.serves(&class)) {
        return None;
    }
    let plain = TaskClass { labels: Labels::NONE, ..class };
    let mut there: Vec<_> =
        live.iter().filter(|own| own.serves(&plain)).map(|own| own.labels).collect();
    there.sort_unstable();
    there.dedup();
    let (none, some): (Vec<_>, Vec<_>) = there.into_iter().partition(Labels::is_empty);
    let mut shown: Vec<_> =
        some.iter().take(SHOWN_LABELS).map(|labels| format!("`{labels}`")).collect();
    if some.len() > SHOWN_LABELS {
        shown.push(format!("{} more", some.len() - SHOWN_LABELS));
    }
    if !none.is_empty() {
        shown.push("none".to_owned());
    }
    let there = match shown.as_slice() {
        [] => format!("no worker runs `{plain}` now"),
        _ => format!("the labels of workers for `{plain}` are {}", shown.join(" or ")),
    };
    let options = class.labels.iter().map(|label| format!(" --label {label}")).collect::<String>();
    let msg = format!(
        "the function asks for a worker with the labels `{}`, and no live worker has them: {there}. Start one with `{}`",
        class.labels,
        options.trim_start()
    );
    Some(Problem::body("labels_unserved", field, msg))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(runtime: Option<&str>, python: Option<&str>) -> RuntimeRequest {
        RuntimeRequest {
            runtime: runtime.map(|text| text.parse().expect("a runtime")),
            python: python.map(|text| text.parse().expect("a version")),
            hint: PythonHint::UNKNOWN,
        }
    }

    fn class(text: &str) -> TaskClass {
        text.parse().expect("a class")
    }

    #[test]
    fn a_function_goes_where_it_can_run() {
        let default = class("native:3.11");
        let served = [class("native:3.11"), class("sandbox:3.13")];
        let of = |runtime, python| {
            request(runtime, python).select(default, &served).map(|class| class.to_string())
        };
        assert_eq!(of(None, None).as_deref(), Ok("native:3.11"));
        assert_eq!(of(Some("sandbox"), Some("3.13")).as_deref(), Ok("sandbox:3.13"));
        let refused = of(None, Some("3.12")).expect_err("no worker has 3.12");
        assert!(refused.msg.contains("3.12") && refused.msg.contains("3.11"), "{}", refused.msg);
        let asleep = request(Some("sandbox"), Some("3.9")).select(default, &[]);
        assert_eq!(asleep.map(|class| class.to_string()).as_deref(), Ok("sandbox:3.9"));
        let refused = request(Some("sandbox"), None).select(default, &[default]);
        assert_eq!(refused.expect_err("no worker").kind, "runtime_unserved");
    }

    /// `def f(): return 1`, by the dill of Python 3.9; bytecode of 3.10 looks alike.
    const BY_3_9: &str = "gASVpQAAAAAAAACMCmRpbGwuX2RpbGyUjBBfY3JlYXRlX2Z1bmN0aW9ulJOUKGgAjAxfY3JlYXRlX2NvZGWUk5Qo\
        SwBLAEsASwBLAUtDQwRkAVMAlE5LAYaUKSmMBzxzdGRpbj6UjAFmlEsCQwCUKSl0lFKUY19fYnVpbHRpbl9fCl9fbWFpbl9fCmgI\
        Tk50lFKUfZR9lIwPX19hbm5vdGF0aW9uc19flH2Uc4aUYi4=";

    #[test]
    fn of_two_pythons_none_is_taken_by_chance() {
        let pickle = belljar_pickle::payload::decode(BY_3_9).expect("base64");
        let hint = belljar_pickle::inspect(&pickle).expect("a pickle").python;
        let of = |python, default, served: &[&str]| {
            let served: Vec<_> = served.iter().map(|text| class(text)).collect();
            let resolved =
                RuntimeRequest { hint, ..request(None, python) }.select(class(default), &served);
            resolved.map(|class| class.to_string()).map_err(|problem| problem.kind)
        };
        let all = ["native:3.9", "native:3.10", "native:3.11"];
        assert_eq!(of(None, "native:3.11", &all), Err("python_ambiguous"));
        assert_eq!(of(None, "native:3.11", &all[1..]), Err("python_ambiguous"));
        assert_eq!(of(None, "native:3.11", &all[2..]), Err("python_unserved"));
        assert_eq!(of(Some("3.9"), "native:3.11", &all).as_deref(), Ok("native:3.9"));
        assert_eq!(
            of(None, "native:3.10", &all).as_deref(),
            Ok("native:3.10"),
            "the deployment says so"
        );
    }

    #[test]
    fn labels_that_no_worker_has_are_told_with_those_that_there_are() {
        let live =
            ["native:3.11", "native:3.11/gpu=a100,region=eu", "sandbox:3.11/gpu=h100"].map(class);
        let told = |text: &str, live: &[TaskClass]| {
            unmet_labels(class(text), live, "labels").map(|problem| problem.msg)
        };
        for met in ["native:3.11", "native:3.11/gpu=a100", "native:3.11/gpu=a100,region=eu"] {
            assert_eq!(told(met, &live), None, "{met}");
        }
        let unmet = told("native:3.11/gpu=h100", &live).expect("no worker has it");
        for part in ["`gpu=h100`", "`gpu=a100,region=eu` or none", "--label gpu=h100"] {
            assert!(unmet.contains(part), "{part}: {unmet}");
        }
        let none = told("native:3.13/gpu=a100", &live).expect("no worker of that Python");
        assert!(none.contains("no worker runs `native:3.13` now"), "{none}");
    }
}
