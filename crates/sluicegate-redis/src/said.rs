//! What the script says.

/// What the script says of one charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) kind: Kind,
    pub(crate) remaining: u64,
    /// Microseconds; none where there is no such instant.
    pub(crate) retry_after: Option<u64>,
    pub(crate) reset_after: Option<u64>,
}

/// What it has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Granted,
    Later,
    Never,
}

/// What the script says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Of one that is decided: how many microseconds until all of it is due, and each charge's standing.
    Decided { due: u64, each: Vec<Standing> },
    /// How many tokens.
    Count(u64),
    /// That it is done.
    Done,
}

impl Said {
    /// Whether everything that was asked for was taken.
    pub(crate) fn is_granted(&self) -> bool {
        match self {
            Self::Decided { each, .. } => each.iter().all(|standing| standing.kind == Kind::Granted),
            Self::Count(_) | Self::Done => true,
        }
    }
}
