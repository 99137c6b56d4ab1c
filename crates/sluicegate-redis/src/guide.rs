//! The guide. Every example in it is compiled.

#[doc = include_str!("../guide/sharing_a_quota.md")]
pub mod sharing_a_quota {}
