//! What stands between two stages, by itself.

use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Wake, Waker};
use std::thread;

use crate::pipeline::inside::Inside;
use crate::pipeline::intake::Stay;

use super::*;

/// With a place there, as if it came from a stage.
fn stay<X>(intake: &Intake<X>, course: &Arc<Course>) -> Stay {
    course.count.lock().enter();
    Stay { place: intake.place_now().unwrap(), inside: Inside::new(course) }
}

fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn next_of(intake: &Intake<u32>) -> Option<Result<u32, String>> {
    match now(intake.line.pop()) {
        Poll::Ready(parcel) => Some(parcel.unwrap().item.map_err(|error| error.to_string())),
        Poll::Pending => None,
    }
}

/// Puts another there as soon as it hears of one.
struct Puts(Intake<u32>, Arc<Course>);

impl Wake for Puts {
    fn wake(self: Arc<Self>) {
        let Self(intake, course) = &*self;
        let owed = intake.put(Ok(2), stay(intake, course)).ok();
        owed.unwrap().pay();
    }
}

/// Whoever waits is foreign, so it is woken under no lock: here that lock would be taken twice.
#[test]
fn who_is_woken_by_an_item_may_put_another() {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let (intake, before) = (Intake::<u32>::new(4), Intake::<u32>::new(4));
        let course = Arc::<Course>::default();
        let waker = Waker::from(Arc::new(Puts(intake.clone(), Arc::clone(&course))));
        let mut pop = Box::pin(intake.line.pop());
        assert!(pop.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let outlet = Outlet::new(intake.clone(), true);
        assert!(now(outlet.hold(0, stay(&before, &course)).put(Ok(1))).is_ready());
        let first = pop.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(first)) = first else { panic!("it is not there") };
        assert_eq!((first.number, first.item.unwrap(), next_of(&intake)), (0, 1, Some(Ok(2))));
        ended.send(()).unwrap();
    });
    end.recv_timeout(Duration::from_secs(20)).expect("it waits for itself");
}

/// A worker is cut off, or panics where nobody expects it: its number is given up, and its place.
#[test]
fn what_a_worker_loses_keeps_nobody_from_their_turn() {
    let (intake, before) = (Intake::<u32>::new(8), Intake::<u32>::new(4));
    let course = Arc::<Course>::default();
    let outlet = Outlet::new(intake.clone(), true);
    let [first, lost, third, last] = [0, 1, 2, 3].map(|number| outlet.hold(number, stay(&before, &course)));
    assert!(now(third.put(Ok(2))).is_ready());
    drop(lost);
    assert_eq!((next_of(&intake), before.place_now().is_none()), (None, true), "it is nobody's turn");
    assert!(now(first.put(Ok(0))).is_ready());
    let gone = || Some(Err("the stages were given up before it was done".to_owned()));
    let came: [_; 4] = std::array::from_fn(|_| next_of(&intake));
    assert_eq!(came, [Some(Ok(0)), gone(), Some(Ok(2)), None]);
    // The last of all: the next worker moves it on.
    drop(last);
    assert_eq!(next_of(&intake), None);
    assert!(now(outlet.move_on()).is_ready());
    assert_eq!(next_of(&intake), gone());
    assert!((0..4).all(|_| before.place_now().map(std::mem::forget).is_some()), "all places are free");
}

/// Whoever has its turn may move many, none of which waits: it lets others have theirs meanwhile.
#[tokio::test]
async fn who_moves_for_all_lets_others_have_their_turn() {
    const MANY: usize = 1000;
    let (intake, before) = (Intake::<u32>::new(MANY), Intake::<u32>::new(MANY));
    let course = Arc::<Course>::default();
    let outlet = Outlet::new(intake.clone(), true);
    (0..MANY).for_each(|number| drop(outlet.hold(number as u64, stay(&before, &course))));
    let mut moves = pin!(outlet.move_on());
    let polled = std::future::poll_fn(|context| Poll::Ready(moves.as_mut().poll(context))).await;
    assert!(polled.is_pending() && (1..MANY).contains(&intake.line.len()), "{}", intake.line.len());
    moves.await;
    assert_eq!(intake.line.len(), MANY);
}
