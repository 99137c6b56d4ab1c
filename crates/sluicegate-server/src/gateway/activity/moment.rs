//! For how long the service had a request.

use super::Activity;
use super::stamp::Stamp;

/// A moment in a request's time at the service.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds on the gateway's clock.
    pub at: u64,
    /// For how long the client was waited for by then, in nanoseconds.
    waited: u64,
}

impl Activity {
    /// Whether nobody but the client was waited for up to now: all that the service wanted of the request so far, it has just got, or not yet.
    #[must_use]
    pub fn is_client_waited_for(&self) -> bool {
        self.upload.is_waited_for(self.now())
    }

    /// Now, to [see later](Self::had_since) for how long the service had the request.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { at: self.now(), waited: self.upload.waited_by(self.now()) }
    }

    /// When the request got its place at the service; none before that.
    #[must_use]
    pub fn admission(&self) -> Option<Moment> {
        let at = self.upload.begun_at();
        (at != Stamp::NONE).then_some(Moment { at, waited: 0 })
    }

    /// For how long the service has had the request since, in nanoseconds: the time that its client was waited for is no part of it.
    #[must_use]
    pub fn had_since(&self, moment: Moment) -> u64 {
        let now = self.moment();
        now.at.saturating_sub(moment.at).saturating_sub(now.waited.saturating_sub(moment.waited))
    }

    /// For how long the client was waited for since, in nanoseconds.
    #[must_use]
    pub fn waited_since(&self, moment: Moment) -> u64 {
        self.moment().waited.saturating_sub(moment.waited)
    }

    /// Whether the client was waited for since.
    #[must_use]
    pub fn has_waited_since(&self, moment: Moment) -> bool {
        self.moment().waited > moment.waited
    }
}
