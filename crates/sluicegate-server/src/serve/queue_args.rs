//! The flags of `serve` that say who waits for a place at the upstream, and how.

use std::time::Duration;

use clap::Args;
use http::{HeaderName, StatusCode};

use crate::config::limit::KeyParts;
use crate::config::queue::{Class, Order, PriorityFrom, PrioritySettings, WhenFull};
use crate::config::settings::{Concurrency, QueueSettings};
use crate::flags::{own_header, timeout};

/// Flags of the one queue.
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// How many requests wait for one of those places at the most
    #[arg(long = "queue", value_name = "N", default_value_t = 100)]
    waiting: usize,
    /// How long a request waits for one at the most: who would wait longer, as far as is known, is refused at once. If nothing is said,
    /// as long as its deadline allows; with `--concurrency adaptive` and the order fifo, one and a half times what the upstream takes for
    /// a request, and 5ms in any case
    #[arg(long = "queue-wait", value_name = "TIME", value_parser = timeout)]
    wait: Option<Duration>,
    /// Who is next: fifo (who has waited longest), codel (the same, and in an overload who has waited too long is shed), codel-newest (in an
    /// overload who came last is next)
    #[arg(
        long = "queue-order",
        value_enum,
        value_name = "ORDER",
        default_value_t,
        hide_possible_values = true
    )]
    order: Order,
    /// The shortest wait that is an overload for codel; who has waited twice as long is shed then. 5ms if nothing is said; twice what
    /// the service takes, where that works on few requests at once
    #[arg(long = "queue-target", value_name = "TIME", value_parser = timeout)]
    target: Option<Duration>,
    /// Who gives way where as many wait as may: who comes (refuse), or who has waited longest (drop-oldest)
    #[arg(long = "queue-full", value_enum, value_name = "WHO", default_value_t, hide_possible_values = true)]
    full: WhenFull,
    /// Clients take turns, so that who sends a thousand waits for itself; or the values of another key, as of a limit
    #[arg(long = "queue-fair", value_name = "KEY", num_args = 0..=1, default_missing_value = "client.ip")]
    fair: Option<KeyParts>,
    /// Classes of requests and their shares of the places, such as high=8,low=1; who is in none is in the last
    #[arg(long = "queue-classes", value_name = "CLASS=WEIGHT", value_delimiter = ',')]
    classes: Vec<Class>,
    /// The field in which a request says its class
    #[arg(long, value_name = "NAME", value_parser = own_header, requires = "classes")]
    priority_header: Option<HeaderName>,
    /// Who is heard in it: trusted-proxies, or anyone, so that who wants to be served first is
    #[arg(
        long,
        value_enum,
        value_name = "WHO",
        default_value_t,
        hide_possible_values = true,
        requires = "priority_header"
    )]
    priority_from: PriorityFrom,
}

impl QueueArgs {
    /// The one queue, with these places in front of it.
    pub(super) fn settings(
        &self,
        concurrency: Option<Concurrency>,
        reject_status: StatusCode,
    ) -> QueueSettings {
        let from = self.priority_from;
        QueueSettings {
            concurrency: concurrency.unwrap_or_default(),
            waiting: self.waiting,
            wait: self.wait,
            order: self.order,
            target: self.target,
            full: self.full,
            fair: self.fair.clone(),
            classes: self.classes.clone(),
            priority: self.priority_header.clone().map(|header| PrioritySettings { header, from }),
            reject_status,
            ..QueueSettings::default()
        }
    }
}
