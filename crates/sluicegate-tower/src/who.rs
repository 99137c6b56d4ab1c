//! Who asks for a permit, as far as the line is to know it.

pub use sluicegate::permits::Who;

/// Says who asks: a function from the request, [`Anybody`], or for the deadline alone [`At`](crate::due::At), and over HTTP
/// `http::deadline::Carried`.
///
/// ```
/// use sluicegate_tower::who::{Asks, Who};
///
/// struct Job { tenant: u32, urgent: bool, due: Option<u64>, payload: Vec<u8> }
///
/// let who = |job: &Job| Who {
///     key: job.tenant.into(),
///     class: usize::from(!job.urgent),
///     deadline: job.due.unwrap_or(u64::MAX),
///     bytes: job.payload.len() as u64,
///     ..Who::default()
/// };
/// let job = Job { tenant: 7, urgent: false, due: None, payload: vec![0; 312] };
/// assert_eq!((who.who(&job).class, who.who(&job).bytes), (1, 312));
/// ```
pub trait Asks<Req> {
    /// Who asks with this request.
    fn who(&self, request: &Req) -> Who;
}

impl<Req, F: Fn(&Req) -> Who> Asks<Req> for F {
    fn who(&self, request: &Req) -> Who {
        self(request)
    }
}

/// All requests are alike: first come, first served, and none is ever too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anybody;

impl<Req> Asks<Req> for Anybody {
    fn who(&self, _: &Req) -> Who {
        Who::default()
    }
}
