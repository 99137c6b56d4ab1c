//! Work that may be done more than once.

/// A promise that this work, done twice, even at once, has the same effect as done once: it reads, or it writes the same, or it
/// carries a key by which the other side knows it again. Hedges and retries take nothing else.
///
/// The work is a function from the attempt's number, from 0 on, so that each may go to another replica.
///
/// ```
/// use sluicegate::idempotent::Idempotent;
///
/// let replicas = ["a", "b", "c"];
/// let read = Idempotent::promise(|attempt: usize| {
///     let replica = replicas[attempt % replicas.len()];
///     async move { Ok::<_, ()>(replica) }
/// });
/// # drop(read);
/// ```
///
/// Without the promise, it is not taken:
///
/// ```compile_fail
/// # async fn pay(hedge: &sluicegate::hedge::Hedge<sluicegate::timer::ManualTime>) {
/// let transfer = |_: usize| async { Ok::<(), ()>(()) };
/// hedge.run(&transfer).await.unwrap();
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Idempotent<F>(F);

impl<F> Idempotent<F> {
    /// Promises it. Nobody checks.
    #[must_use]
    pub const fn promise(work: F) -> Self {
        Self(work)
    }

    /// Begins the attempt of this number.
    pub fn attempt<A>(&self, number: usize) -> A
    where
        F: Fn(usize) -> A,
    {
        (self.0)(number)
    }
}
