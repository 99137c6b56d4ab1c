//! A real Redis, as an example's store is told of it.

use sluicegate_redis::Settings;
use sluicegate_testkit::redis_server::Server;
use sluicegate_testkit::wait::PATIENCE;

/// What a store of it is told; patient as tests are.
pub(crate) fn settings(server: &Server) -> Settings {
    let settings = Settings::new(&server.url()).expect("an address");
    settings.timeout(PATIENCE).connect_timeout(PATIENCE)
}
