//! Which settings a command line says, and by which flags.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::ServeCommandError;
use crate::config::read::pointless::{Pointless, Said, pointless};
use crate::config::{Settings, SettingsError};

/// The flags that were said, by the settings they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaidFlags(Vec<&'static str>);

/// What a flag says, by its name among the arguments. Those that are missing here always have an effect, or can't be said without the
/// flag that they need.
const SETTINGS: [(&str, &str); 19] = [
    ("upstreams", "route.default.upstreams"),
    ("max_keys", "max-keys"),
    ("concurrency", "queue.default.concurrency"),
    ("waiting", "queue.default.waiting"),
    ("wait", "queue.default.wait"),
    ("order", "queue.default.order"),
    ("target", "queue.default.target"),
    ("full", "queue.default.full"),
    ("fair", "queue.default.fair"),
    ("classes", "queue.default.classes"),
    ("priority_header", "queue.default.priority"),
    ("reject_status", "queue.default.reject-status"),
    ("deadline", "route.default.deadline"),
    ("attempt_timeout", "route.default.attempt-timeout"),
    ("retry", "route.default.retry"),
    ("hedge", "route.default.hedge"),
    ("replay", "route.default.replay"),
    ("upstream_deadline_header", "upstream.default.deadline-header"),
    ("forwarded_header", "forwarded-header"),
];

impl FromArgMatches for SaidFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_said = |name: &str| {
            // Asked of a name that there is not it would panic.
            let is_known = matches.ids().any(|id| id == name);
            is_known && matches.value_source(name) == Some(ValueSource::CommandLine)
        };
        Ok(Self(SETTINGS.into_iter().filter(|(name, _)| is_said(name)).map(|(_, setting)| setting).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// It adds none.
impl Args for SaidFlags {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

impl Said for SaidFlags {
    fn is_said(&self, setting: &str) -> bool {
        // Each upstream comes with a flag of its own.
        let one = setting.rsplit_once('.').map(|(list, _)| list).filter(|list| list.ends_with(".upstreams"));
        self.0.contains(&one.unwrap_or(setting))
    }

    fn name(&self, setting: &str) -> String {
        flag(setting)
    }

    fn pick<'a>(&self, _: &'a str, by_flags: &'a str) -> &'a str {
        by_flags
    }
}

impl SaidFlags {
    /// What of these has no effect, a line each.
    pub(super) fn warnings(&self, settings: &Settings) -> Vec<String> {
        let line = |Pointless { setting, why, expected }: Pointless| {
            format!("`{}`: {why}; expected {expected}", flag(&setting))
        };
        pointless(settings, self).into_iter().map(line).collect()
    }
}

/// What is wrong, by its flag.
pub(super) fn wrong(mut error: SettingsError) -> ServeCommandError {
    let flag = flag(&error.setting);
    // One flag has all of them.
    if let Some(class) = error.setting.strip_prefix("queue.default.classes.")
        && !error.value.contains(class)
    {
        error.value = format!("{class}={}", error.value);
    }
    ServeCommandError::Flag { flag, error }
}

/// The flag that says a setting.
fn flag(setting: &str) -> String {
    let flag = match setting {
        "listener.0.address" => "listen",
        "queue.default.waiting" => "queue",
        "queue.default.wait" => "queue-wait",
        "queue.default.order" => "queue-order",
        "queue.default.target" => "queue-target",
        "queue.default.full" => "queue-full",
        "queue.default.fair" => "queue-fair",
        "queue.default.priority" => "priority-header",
        classes if classes.starts_with("queue.default.classes") => "queue-classes",
        adaptive if adaptive.starts_with("queue.default.concurrency.") => "concurrency",
        "queue.default.concurrency" => "concurrency",
        "queue.default.reject-status" => "reject-status",
        "upstream.default.url" => "upstream",
        "upstream.default.connect-timeout" => "connect-timeout",
        "upstream.default.idle" => "upstream-idle",
        "upstream.default.idle-timeout" => "upstream-idle-timeout",
        "route.default.deadline" => "deadline",
        "route.default.attempt-timeout" => "attempt-timeout",
        "route.default.retry" | "route.default.retry.attempts" => "retry",
        "route.default.hedge" | "route.default.hedge.after" | "route.default.hedge.first" => "hedge",
        "route.default.replay" => "replay",
        "route.default.limits" => "limit",
        upstreams if upstreams.starts_with("route.default.upstreams") => "upstream",
        "upstream.default.deadline-header" => "upstream-deadline-header",
        "store.timeout" => "store-timeout",
        "store.instances" => "instances",
        "store.lease" => "lease",
        upstream if upstream.starts_with("upstream.") && upstream.ends_with(".url") => "upstream",
        // There is no flag for the reserve itself, which is there for this one.
        reserve if reserve.ends_with(".deadline-reserve") => "upstream-deadline-header",
        limit if limit.starts_with("limit.") && limit.ends_with(".max-keys") => "max-keys",
        limit if limit.starts_with("limit.") && limit.ends_with(".quota") => "limit",
        same => same,
    };
    format!("--{flag}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::ServeArgs;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn warnings(flags: &[&str]) -> Vec<String> {
        let Line { args } = Line::try_parse_from([&["serve"], flags].concat()).unwrap();
        args.said.warnings(&Settings::from(&args).checked().unwrap())
    }

    #[test]
    fn each_flag_that_says_a_setting_is_there() {
        let serve = Line::command();
        for (name, setting) in SETTINGS {
            let arg = serve.get_arguments().find(|arg| arg.get_id() == name).expect(name);
            assert_eq!(flag(setting), format!("--{}", arg.get_long().unwrap()));
        }
    }

    #[test]
    fn what_has_no_effect_is_told_by_its_flag() {
        for (flags, starts) in [
            (
                &["--queue-target", "9ms"][..],
                "`--queue-target`: without a `--concurrency`, nobody waits; expected a",
            ),
            (&["--queue", "9"], "`--queue`: without a `--concurrency`, nobody waits; "),
            (&["--queue-fair"], "`--queue-fair`: without a `--concurrency`, "),
            (
                &["--concurrency", "8", "--queue", "0", "--queue-full", "refuse"],
                "`--queue-full`: with a `--queue` of 0, nobody waits; expected a larger `--queue`",
            ),
            (
                &["--concurrency", "8", "--queue-target", "9ms"],
                "`--queue-target`: with a `--queue-order` of `fifo`, nobody is shed for standing in the line; expected \
                 a `--queue-order` of `codel` or `codel-newest` besides",
            ),
            (
                &["--concurrency", "8", "--queue-wait", "30s"],
                "`--queue-wait`: `--deadline`, 30s, is over before; ",
            ),
            (
                &["--concurrency", "8", "--queue-order", "codel", "--queue-wait", "5ms"],
                "`--queue-wait`: nobody waits for more than 5ms, so none is ever taken for an overload by a target of 5ms, \
                 as it is if nothing is said: `codel` does nothing; expected a `--queue-wait` of more than 10ms, or none, \
                 or a shorter `--queue-target`",
            ),
            (
                &["--concurrency", "8", "--queue-classes", "a=1,b=2"],
                "`--queue-classes`: nothing says who is in ",
            ),
            (
                &["--concurrency", "8", "--queue-classes", "a=1,b=2", "--priority-header", "x-p"],
                "`--priority-header`: only trusted proxies are heard, and there are none; expected a `--trusted-proxy` ",
            ),
            (&["--replay", "1KiB"], "`--replay`: without `--retry` or `--hedge`, no body is sent again; "),
            (
                &["--retry"],
                "`--retry`: up to 64KiB of each body is kept, and nothing bounds how many, without a `--concurrency`; ",
            ),
            (
                &["--hedge", "p95", "--attempt-timeout", "50ms", "--concurrency", "8"],
                "`--hedge`: until the percentile is known, a hedge is sent after 100ms, and the attempt-timeout, 50ms, ",
            ),
            (&["--max-keys", "9"], "`--max-keys`: there is no limit"),
            (&["--forwarded-header", "forwarded"], "`--forwarded-header`: nobody is believed in it"),
        ] {
            let told = warnings(flags);
            assert!(told.len() == 1 && told[0].starts_with(starts), "{flags:?}: {told:?}");
        }
        let twice = ["--upstream", "http://a", "--upstream", "http://a", "--retry", "--concurrency", "8"];
        assert!(warnings(&twice)[0].starts_with("`--upstream`: `default` has the same `url`"));
    }

    #[test]
    fn of_what_nobody_has_said_nothing_is_told() {
        for flags in [
            &[][..],
            &["--concurrency", "adaptive"],
            &["--concurrency", "8", "--queue", "0", "--attempt-timeout", "1s"],
            &["--concurrency", "8", "--queue-order", "codel", "--queue-wait", "11ms"],
            &["--concurrency", "8", "--queue-order", "codel-newest", "--queue-wait", "6ms"],
        ] {
            assert_eq!(warnings(flags), [""; 0], "{flags:?}");
        }
    }
}
