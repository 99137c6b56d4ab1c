//! The guide. Every example in it is compiled.

#[doc = include_str!("../guide/sharing_a_quota.md")]
pub mod sharing_a_quota {}

#[doc = include_str!("../guide/on_a_cluster.md")]
pub mod on_a_cluster {}
