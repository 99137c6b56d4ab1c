//! The guide: a chapter a task. Every example in it is compiled and run.

#[doc = include_str!("../guide/first_limits.md")]
pub mod first_limits {}

#[doc = include_str!("../guide/quotas.md")]
pub mod quotas {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/waiting.md")]
pub mod waiting {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/tiers.md")]
pub mod tiers {}

#[doc = include_str!("../guide/late_costs.md")]
pub mod late_costs {}

#[doc = include_str!("../guide/limiting_each_client.md")]
pub mod limiting_each_client {}

#[doc = include_str!("../guide/memory_under_attack.md")]
pub mod memory_under_attack {}

#[doc = include_str!("../guide/hot_bucket.md")]
pub mod hot_bucket {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/queues.md")]
pub mod queues {}

#[doc = include_str!("../guide/sizing_a_queue.md")]
pub mod sizing_a_queue {}

#[doc = include_str!("../guide/choosing_a_limit.md")]
pub mod choosing_a_limit {}

#[doc = include_str!("../guide/shedding.md")]
pub mod shedding {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/worker_pools.md")]
pub mod worker_pools {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/pooling_buffers.md")]
pub mod pooling_buffers {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/stopping.md")]
pub mod stopping {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/operations.md")]
pub mod operations {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/replicated_requests.md")]
pub mod replicated_requests {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/hedging.md")]
pub mod hedging {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/retries.md")]
pub mod retries {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/throttling_a_copy.md")]
pub mod throttling_a_copy {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/leases.md")]
pub mod leases {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/store_away.md")]
pub mod store_away {}

#[doc = include_str!("../guide/failures.md")]
pub mod failures {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/heartbeats.md")]
pub mod heartbeats {}

#[cfg(feature = "tokio")]
#[doc = include_str!("../guide/supervision.md")]
pub mod supervision {}
