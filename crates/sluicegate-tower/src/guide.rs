//! The guide: a chapter a task. Every example in it is compiled and run.

#[doc = include_str!("../guide/clients.md")]
pub mod clients {}

#[doc = include_str!("../guide/servers.md")]
pub mod servers {}
