//! Command lines for the processes that `up` starts: each gets the options of `up` that it has too.

use std::ffi::{OsStr, OsString};

use clap::{ArgMatches, CommandFactory};

use super::Cli;

/// The options of a command as they were given, in its environment, or by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Argv(ArgMatches);

impl Argv {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        Self(matches.clone())
    }

    /// The arguments of `subcommand`: its name, the options that both commands have under one id, with the
    /// values of `set` instead of these, and `positional` at the end.
    pub(crate) fn forward(
        &self,
        subcommand: &str,
        set: &[(&str, &OsStr)],
        positional: &[&str],
    ) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![subcommand.into()];
        let command = Cli::command();
        let options = command.find_subcommand(subcommand).into_iter();
        for option in options.flat_map(clap::Command::get_arguments) {
            let (id, Some(long)) = (option.get_id().as_str(), option.get_long()) else { continue };
            let values: Vec<&OsStr> = match set.iter().find(|(name, _)| *name == id) {
                Some((_, value)) => vec![value],
                None => self.values(id),
            };
            words.extend(values.into_iter().map(|value| {
                let mut word = OsString::from(format!("--{long}="));
                word.push(value);
                word
            }));
        }
        words.extend(positional.iter().map(OsString::from));
        words
    }

    fn values(&self, id: &str) -> Vec<&OsStr> {
        let known = self.0.try_get_raw(id).ok().flatten();
        known.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, UpArgs};

    const UP: &str = "belljar up --mode push --slots 3 --workers 2 --runtime sandbox --listen 127.0.0.1:1 \
        --data d --redis-memory-mb 15 --redis redis://h/1 --result-ttl 5 --max-queued 6 --timeout 7 --memory-mb 8 --max-retries 9 \
        --python-version 3.13 --max-body-mb 10 --max-value-mb 17 --max-connections 11 --low-latency false --allowed-host a,b \
        --python-path p:q --site s --guest-dir g --grant-env A=1,B --grant-read r --grant-scratch-mb 12 \
        --grant-http GET+http://a/* --grant-http-secrets f --grant-http-ca c --grant-http-private 10.0.0.0/8 \
        --drain-timeout 13 --redis-prefix r --allow-weak-sandbox --keys required \
        --insecure --tenants t --tls-cert c --tls-key k --tls-client-ca a --cors-origin https://a,https://b --audit-stream 1000 --oidc-issuer https://i --oidc-audience a --max-result-mb 14 --reserved-slots 15 \
        --metrics-listen 127.0.0.1:9100 --otlp-endpoint http://c:4318 --trace-sample 0.5 --redis-ca c --redis-cert c --redis-key k --warm-mb 16 \
        --requirements https://h/simple/ --requirements-dir q --blobs b";

    fn up() -> UpArgs {
        match Cli::read(UP.split_whitespace().map(Into::into)).expect("valid").command {
            Command::Up(up) => *up,
            _ => panic!("up"),
        }
    }

    #[test]
    fn a_forwarded_option_has_the_value_that_up_got() {
        let up = up();
        let worker: &[&str] = &["push", "3", "tcp://127.0.0.1:1"];
        for (name, positional, options) in
            [("gateway", &[][..], 36), ("dispatcher", &[], 31), ("worker", worker, 20)]
        {
            let argv = up.argv.forward(name, &[], positional);
            let words = std::iter::once(OsString::from("belljar")).chain(argv);
            let matches = Cli::command().try_get_matches_from(words).expect("valid");
            let (_, parsed) = matches.subcommand().expect("a subcommand");
            let command = Cli::command();
            let known = command.find_subcommand(name).expect("a subcommand").get_arguments();
            let shared = known.filter(|arg| arg.get_long().is_some());
            let shared = shared.filter(|arg| !up.argv.values(arg.get_id().as_str()).is_empty());
            let same = shared.inspect(|arg| {
                let id = arg.get_id().as_str();
                let parsed: Vec<_> = parsed.get_raw(id).into_iter().flatten().collect();
                assert_eq!(parsed, up.argv.values(id), "{name} {id}");
            });
            assert_eq!(same.count(), options, "{name}");
        }
    }

    #[test]
    fn a_value_that_is_set_takes_the_place_of_ups() {
        let words = up().argv.forward("gateway", &[("redis", OsStr::new("redis://x"))], &[]);
        assert!(words.contains(&"--redis=redis://x".into()), "{words:?}");
        assert!(!words.contains(&"--redis=redis://h/1".into()), "{words:?}");
    }
}
