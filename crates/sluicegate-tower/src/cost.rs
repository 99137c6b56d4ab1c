//! What a request costs.

/// What a request costs, in tokens: a function from the request, or [`One`].
pub trait Cost<Req> {
    /// The tokens to take. None are granted always; more than the limit's capacity, never.
    fn cost(&self, request: &Req) -> u64;
}

/// Every request costs one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct One;

impl<Req> Cost<Req> for One {
    fn cost(&self, _: &Req) -> u64 {
        1
    }
}

impl<Req, F: Fn(&Req) -> u64> Cost<Req> for F {
    fn cost(&self, request: &Req) -> u64 {
        self(request)
    }
}
