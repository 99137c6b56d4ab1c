//! How much time is read from a client and told to an upstream, in words.

use std::fmt;

use serde::Serialize;
use sluicegate_tower::http::deadline::Field;

use super::Asked;
use super::words::time;
use crate::config::settings::{RouteSettings, UpstreamSettings};

/// An upstream that is told how much time is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldMet {
    /// Its name.
    pub upstream: String,
    /// The field it is told in.
    pub field: String,
    /// How much less it is told than is left.
    pub reserve: String,
}

impl ToldMet {
    /// None if it is not told.
    pub(super) fn of(upstream: &UpstreamSettings) -> Option<Self> {
        let field = upstream.deadline_header.as_ref()?;
        Some(Self {
            upstream: upstream.name.clone(),
            field: field.name().to_string(),
            reserve: time(upstream.deadline_reserve),
        })
    }
}

impl fmt::Display for ToldMet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upstream, field, reserve } = self;
        write!(f, "{upstream} is told in {field} what is left, less {reserve}")
    }
}

/// A field in which the client may say that it waits for less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShortenedMet {
    /// Its name.
    pub field: String,
    /// The deadline that this request has by it; none where it says nothing that can be understood, or more than the route allows.
    pub here: Option<String>,
}

impl ShortenedMet {
    pub(super) fn of(field: &Field, route: &RouteSettings, asked: &Asked) -> Self {
        let said = field.read(&asked.headers).ok().flatten().filter(|said| *said < route.deadline);
        Self { field: field.name().to_string(), here: said.map(time) }
    }
}

impl fmt::Display for ShortenedMet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "or less, if the client says so in {}", self.field)?;
        self.here.as_ref().map_or(Ok(()), |here| write!(f, "; here {here}"))
    }
}
