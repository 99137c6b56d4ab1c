//! The arguments of `sluicegate load`.

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::plan::{Plan, PlanError};
use super::schedule::{Arrivals, Rate};
use super::target::Target;
use crate::flags::duration;

/// Offers an HTTP service requests on a schedule, whether it keeps up or not, and reports what came of them.
///
/// Every latency counts from the instant a request was meant to leave, so a slow service can't slow down the
/// questions and look better for it. Exits with 1 if not one request was answered.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// Where to: an http:// URL (TLS is not spoken).
    #[arg(value_name = "URL")]
    pub url: Target,

    /// Requests a second, 0.001 to 1000000.
    #[arg(long, value_name = "PER_SECOND", default_value = "1000")]
    pub rate: Rate,

    /// For how long to send requests; waiting for the last answers comes on top.
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub duration: Duration,

    /// Before that, send requests for this long without counting them.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub warm_up: Duration,

    /// How arrivals are spread over time.
    #[arg(long, value_enum, default_value = "constant")]
    pub arrivals: Arrivals,

    /// Which random arrivals: the same number repeats them.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// An answer counts as in time if it is complete within this of the request's intended start.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub deadline: Duration,

    /// The client leaves, and closes its connection, this long after the intended start [default: 10 deadlines].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// The most connections open at once. A request that finds none is not sent, and is counted as such.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::CONNECTIONS)]
    pub connections: NonZeroUsize,

    /// The request's method [default: GET, or POST with a body].
    #[arg(long, value_name = "METHOD")]
    pub method: Option<Method>,

    /// A request header; may repeat.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// The request's body.
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,

    /// The one status that counts as good [default: every 2xx].
    #[arg(long, value_name = "STATUS")]
    pub expect: Option<StatusCode>,

    /// Print the report as JSON, and no progress.
    #[arg(long)]
    pub json: bool,
}

impl TryFrom<LoadArgs> for Plan {
    type Error = PlanError;

    fn try_from(args: LoadArgs) -> Result<Self, PlanError> {
        let method = args.method.unwrap_or(if args.body.is_some() { Method::POST } else { Method::GET });
        let mut plan = Plan::new(args.url, args.rate, args.duration)?
            .warm_up(args.warm_up)?
            .arrivals(args.arrivals, args.seed)
            .limits(args.deadline, args.timeout)?
            .connections(args.connections)
            .request(method, args.body.map(Bytes::from).unwrap_or_default())?;
        for (name, value) in args.headers {
            plan = plan.header(name, value)?;
        }
        Ok(match args.expect {
            Some(status) => plan.expect(status),
            None => plan,
        })
    }
}

/// A header as curl's `-H` takes it.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("there is no colon in it; write 'NAME: VALUE'")?;
    let name = name.trim().parse().map_err(|_| format!("{:?} can't be a header's name", name.trim()))?;
    let value = value.trim().parse().map_err(|_| format!("{:?} can't be a header's value", value.trim()))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn plan(arguments: &str) -> Result<Plan, String> {
        let arguments = std::iter::once("load").chain(arguments.split('|'));
        let command = Command::try_parse_from(arguments).map_err(|error| error.to_string())?;
        Plan::try_from(command.args).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_the_help_states() {
        let plan = plan("http://localhost/").unwrap();
        assert_eq!((plan.rate, plan.duration), (Rate::per_second(1000.0).unwrap(), Duration::from_secs(10)));
        assert_eq!((plan.deadline, plan.timeout), (Duration::from_secs(1), Duration::from_secs(10)));
        assert_eq!((plan.method, plan.connections), (Method::GET, Plan::CONNECTIONS));
    }

    #[test]
    fn every_option_arrives() {
        let plan = plan(
            "http://localhost/|--rate|0.5|--for|2m|--warm-up|4s|--arrivals|poisson|--seed|9|--deadline|50ms|--timeout|3s|\
             --connections|7|-H|a: b|--header|c:d|--body|text|--expect|404",
        )
        .unwrap();
        assert_eq!((plan.rate, plan.duration), (Rate::per_second(0.5).unwrap(), Duration::from_secs(120)));
        assert_eq!((plan.warm_up, plan.arrivals, plan.seed), (Duration::from_secs(4), Arrivals::Poisson, 9));
        assert_eq!((plan.deadline, plan.timeout), (Duration::from_millis(50), Duration::from_secs(3)));
        assert_eq!((plan.connections.get(), plan.expect), (7, Some(StatusCode::NOT_FOUND)));
        assert_eq!((plan.method, &plan.body[..]), (Method::POST, &b"text"[..]));
        assert_eq!((plan.headers["a"].as_bytes(), plan.headers["c"].as_bytes()), (&b"b"[..], &b"d"[..]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, named) in [
            ("https://localhost/", "TLS"),
            ("http://localhost/|--rate|fast", "fast"),
            ("http://localhost/|--connections|0", "--connections"),
            ("http://localhost/|--header|colonless", "NAME: VALUE"),
            ("http://localhost/|--timeout|1ms", "timeout: 1ms"),
            ("http://localhost/|--expect|9", "--expect"),
        ] {
            let error = plan(arguments).unwrap_err();
            assert!(error.contains(named), "{arguments}: {error}");
        }
    }
}
