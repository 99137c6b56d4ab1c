//! One stage.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::setting::SettingsError;
use tokio::task::consume_budget;

use super::ItemError;
use super::ends::Course;
use super::intake::{Intake, Parcel};
use super::outlet::Outlet;
use crate::cancel::CancelToken;
use crate::contained::{Came, Contained, caught, said};
use crate::failure::Failure;
use crate::restart::When;
use crate::supervise::{Spec, Steward, Ward};
use crate::timer::Timer;

/// How a stage is made.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::pipeline::Stage;
///
/// let stage = Stage::new("resize", 4, 16)?.in_any_order().with_longest(Duration::from_secs(2))?;
/// assert_eq!(stage.places(), 20);
/// assert_eq!(Stage::new("resize", 0, 16).unwrap_err().field(), "workers");
/// assert_eq!(stage.with_longest(Duration::ZERO).unwrap_err().field(), "longest");
/// # Ok::<(), sluicegate::setting::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stage {
    name: String,
    workers: usize,
    places: usize,
    ordered: bool,
    /// Nanoseconds.
    longest: Option<u64>,
}

impl Stage {
    /// A stage of this name, for reports, with so many workers, in front of which so many items may wait. Items leave it in the order in which they
    /// came.
    ///
    /// # Errors
    /// If there are no workers.
    pub fn new(name: &str, workers: usize, waiting: usize) -> Result<Self, SettingsError> {
        if workers == 0 {
            let expected = "at least 1: without any, nothing leaves the stage";
            return Err(SettingsError::new("workers", workers, expected));
        }
        let places = workers.saturating_add(waiting);
        Ok(Self { name: name.to_owned(), workers, places, ordered: true, longest: None })
    }

    /// Whoever is done leaves. One slow item then holds up nobody but itself.
    #[must_use]
    pub fn in_any_order(self) -> Self {
        Self { ordered: false, ..self }
    }

    /// Work on one item that takes longer is dropped where it awaits, and the item comes out as [`Expired`](ItemError::Expired).
    ///
    /// # Errors
    /// If that is zero.
    pub fn with_longest(self, longest: Duration) -> Result<Self, SettingsError> {
        if longest.is_zero() {
            let expected = "longer than 0: every item would take too long";
            return Err(SettingsError::new("longest", format_args!("{longest:?}"), expected));
        }
        Ok(Self { longest: Some(nanos(longest)), ..self })
    }

    /// How many items may be in it: those that wait, are worked on, or are done and wait for the next stage.
    #[must_use]
    pub const fn places(&self) -> usize {
        self.places
    }

    pub(super) const fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Adds its workers.
    pub(super) fn staff<X, Y, W, F, E, T>(
        self,
        steward: &mut Steward<T>,
        course: &Arc<Course>,
        intake: &Intake<X>,
        outlet: &Outlet<Y>,
        time: &T,
        work: W,
    ) where
        X: Send + 'static,
        Y: Send + 'static,
        W: Fn(X) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Y, E>> + Send + 'static,
        E: Into<Failure> + 'static,
        T: Timer,
    {
        let work = Arc::new(work);
        for number in 1..=self.workers {
            let spec = Spec::new(&format!("{} {number}", self.name)).with_when(When::OnFailure);
            let (longest, time, work) = (self.longest, time.clone(), Arc::clone(&work));
            let (course, intake, outlet) = (Arc::clone(course), intake.clone(), outlet.clone());
            let _ = steward.add(spec, move |ward: Ward<(), T>| {
                let (course, intake, outlet) = (Arc::clone(&course), intake.clone(), outlet.clone());
                let (time, work) = (time.clone(), Arc::clone(&work));
                async move {
                    // What a worker that is gone has left.
                    outlet.move_on().await;
                    while let Ok(Some(parcel)) = ward.stop().run(intake.line.pop()).await {
                        let Parcel { number, item, stay } = parcel;
                        let held = outlet.hold(number, stay);
                        let made = caught(async {
                            match item {
                                // Dropped here, where a panic of that is the item's.
                                Ok(_) if course.has_failed() => Err(ItemError::Stopped),
                                Ok(item) => one(&*work, item, longest, &time).await,
                                Err(error) => Err(error),
                            }
                        });
                        let made = made.await.unwrap_or_else(|panic| Err(ItemError::Panicked(said(panic))));
                        if made.is_err() {
                            course.failed();
                        }
                        held.put(made).await;
                        // Items that never wait let others have their turn.
                        consume_budget().await;
                    }
                    Ok::<(), Infallible>(())
                }
            });
        }
    }
}

/// Works on one item.
async fn one<X, Y, W, F, E, T>(work: &W, item: X, longest: Option<u64>, time: &T) -> Result<Y, ItemError>
where
    W: Fn(X) -> F,
    F: Future<Output = Result<Y, E>>,
    E: Into<Failure>,
    T: Timer,
{
    let stop = match longest {
        Some(longest) => CancelToken::expiring(time.clone(), time.now().saturating_add(longest)),
        None => CancelToken::new(time.clone()),
    };
    ItemError::of(match Contained::begin(|| work(item)) {
        Ok(work) => work.end(&stop, 0, time).await,
        Err(panic) => Came::Panicked(panic),
    })
}
