//! What every store promises.

use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::timer::ManualTime;
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::store_suite::Rig;
use sluicegate_testkit::wait::PATIENCE;

use crate::cluster::Cluster;
use crate::server::{Server, prefix};

/// When the tests' time begins, in microseconds: a whole multiple of all intervals of stepped quotas.
pub(crate) const START: u64 = 1_800_000_000_000_000;

/// A store in Redis, on virtual time.
pub(crate) struct OfRedis {
    store: Redis<ManualTime>,
    time: ManualTime,
}

/// How many random sequences there are on all servers but a single one.
const FEW: u64 = 40;

impl OfRedis {
    /// With these settings but for the prefix, which is this store's own.
    pub(crate) fn new(settings: Settings, connection: &mut impl redis::ConnectionLike) -> Self {
        let prefix = prefix();
        let began = format!("{prefix}:began");
        redis::cmd("SET").arg(began).arg(START).exec(connection).expect("a server that answers");
        let settings = settings.prefix(&prefix).expect("a prefix");
        let settings = settings.timeout(PATIENCE).connect_timeout(PATIENCE);
        let time = ManualTime::new();
        let now = {
            let time = time.clone();
            move || START + time.now() / 1000
        };
        Self { store: Redis::open_in_test_time(settings, time.clone(), now), time }
    }

    fn on(server: &Server) -> Self {
        Self::new(server.settings(), &mut server.connect())
    }

    fn on_cluster(cluster: &Cluster, tag: Option<&str>) -> Self {
        let settings = cluster.settings();
        let settings = match tag {
            Some(tag) => settings.one_slot(tag).expect("a tag"),
            None => settings,
        };
        Self::new(settings, &mut cluster.connect())
    }
}

impl Rig for OfRedis {
    type Store = Redis<ManualTime>;

    const RESOLUTION: Duration = Duration::from_micros(1);
    const ROUNDS: bool = false;

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn time(&self) -> &ManualTime {
        &self.time
    }
}

mod single {
    use super::OfRedis;

    sluicegate_testkit::store_suite!(OfRedis::on(crate::server::shared()));
}

/// By TLS with certificates on both sides, in another database, as a user with the rights of the guide.
mod encrypted {
    use super::{FEW, OfRedis};

    sluicegate_testkit::store_suite!(OfRedis::on(crate::server::encrypted()), seeds: FEW);
}

/// Keys spread over slots, so that requests are taken slot by slot.
mod cluster_spread {
    use super::{FEW, OfRedis};

    sluicegate_testkit::store_suite!(OfRedis::on_cluster(crate::cluster::shared(), None), seeds: FEW);
}

/// All keys in one slot.
mod cluster_in_one_slot {
    use super::{FEW, OfRedis};

    sluicegate_testkit::store_suite!(OfRedis::on_cluster(crate::cluster::shared(), Some("one")), seeds: FEW);
}

/// Spread over slots by TLS, as a user with the rights of the guide.
mod cluster_encrypted {
    use super::{FEW, OfRedis};

    sluicegate_testkit::store_suite!(OfRedis::on_cluster(crate::cluster::encrypted(), None), seeds: FEW);
}
