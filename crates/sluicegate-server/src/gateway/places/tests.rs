//! What an operator says, and what it comes to.

use super::*;

fn head(status: u16, media: &str) -> Response<()> {
    Response::builder().status(status).header(header::CONTENT_TYPE, media).body(()).unwrap()
}

#[test]
fn an_answer_tells_how_long_it_takes_and_a_refusal_that_it_is_too_much() {
    let too_many = AdaptiveSettings { drops: vec![StatusCode::TOO_MANY_REQUESTS], ..Default::default() };
    let own = QueueSettings { concurrency: Concurrency::Adaptive(too_many), ..Default::default() };
    let judge = |settings: &QueueSettings| Places::new(settings, Vec::new(), None, TokioTime::new()).judge();
    let (usual, own) = (judge(&QueueSettings::default()), judge(&own));
    let good = Some(Answer::Accepted);
    let refused = Some(Answer::Refused);
    for (status, by_usual, by_own) in [
        (200, good, good),
        (500, good, good),
        (503, refused, good),
        (504, refused, good),
        (429, good, refused),
    ] {
        let head = head(status, "text/html");
        assert_eq!((usual.of_head(&head), own.of_head(&head)), (by_usual, by_own), "{status}");
    }
    assert_eq!(usual.of_head(&head(101, "")), None);
    assert_eq!(usual.of_head(&head(200, "Text/Event-Stream; charset=utf-8")), None);
    let mut after_another = head(200, "text/html");
    after_another.extensions_mut().insert(Dropped);
    assert_eq!(usual.of_head(&after_another), refused);
}

#[test]
fn a_step_by_one_is_no_news_also_near_one() {
    for (logged, limit, news) in [
        (0, 1, true),
        (1, 2, false),
        (2, 1, false),
        (1, 3, true),
        (4, 5, false),
        (10, 12, false),
        (10, 13, true),
    ] {
        assert_eq!(is_news(logged, limit), news, "{logged} to {limit}");
    }
}

#[test]
fn what_an_operator_says_is_what_permits_do() {
    let adaptive = AdaptiveSettings { first: 7, min: 2, max: 20, ..Default::default() };
    for (concurrency, places) in
        [(Concurrency::Any, usize::MAX), (Concurrency::Fixed(3), 3), (Concurrency::Adaptive(adaptive), 7)]
    {
        let settings = QueueSettings { concurrency, waiting: 5, ..Default::default() };
        let permits = Places::new(&settings, Vec::new(), None, TokioTime::new()).permits;
        assert_eq!((permits.concurrency(), permits.queue()), (places, 5));
    }
}

#[test]
fn routes_have_partitions_by_their_names_where_there_are_places() {
    let named = |name: &str| RouteSettings { name: name.to_owned(), ..Default::default() };
    let share = Share::percent(40);
    for (concurrency, partitions, of_b) in
        [(Concurrency::Fixed(5), 3, 1), ("adaptive".parse().unwrap(), 3, 1), (Concurrency::Any, 1, 0)]
    {
        let settings = QueueSettings { concurrency, ..Default::default() };
        let shares = ["b", "a"].map(|name| (name.to_owned(), share)).to_vec();
        let places = Places::new(&settings, shares, None, TokioTime::new());
        assert_eq!(places.permits.standing().partitions.len(), partitions);
        assert_eq!((places.partition(&named("a")), places.partition(&named("b"))), (0, of_b));
        assert_eq!(places.partition(&named("c")), partitions - 1, "all others");
    }
}

/// Who came under the configuration before keeps its route's part, whichever number that has now.
#[test]
fn a_route_has_its_own_partition_over_a_change() {
    let named = |name: &str| RouteSettings { name: name.to_owned(), ..Default::default() };
    let shares = |names: &[&str]| -> Vec<(String, Share)> {
        names.iter().map(|name| ((*name).to_owned(), Share::percent(25))).collect()
    };
    let settings = QueueSettings { concurrency: Concurrency::Fixed(8), ..Default::default() };
    let before = Places::new(&settings, shares(&["pay"]), None, TokioTime::new());
    let now = Places::new(&settings, shares(&["ask", "pay"]), Some(&before), TokioTime::new());
    let counted =
        || -> Vec<usize> { now.permits.standing().partitions.iter().map(|part| part.in_flight).collect() };
    // Also before it is told to be as it says.
    let early = now.permits.try_enter_spare_of(now.partition(&named("pay")));
    assert_eq!((early.is_some(), counted()), (true, vec![1, 0]));
    now.apply();
    let who = before.asked(&named("pay"), 64).partition;
    let late = before.permits.try_enter_spare_of(who);
    let other = before.permits.try_enter_spare_of(before.partition(&named("ask")));
    assert!(late.is_some() && other.is_some());
    assert_eq!(counted(), [0, 2, 1], "that had no share then");
}

/// A line that is measured in services has its bound in requests all the same.
#[tokio::test]
async fn where_places_are_found_out_no_more_wait_than_may() {
    let adaptive = AdaptiveSettings { first: 1, max: 1, ..Default::default() };
    let settings =
        QueueSettings { concurrency: Concurrency::Adaptive(adaptive), waiting: 2, ..Default::default() };
    assert!(settings.wait_of_services().is_some());
    let permits = Places::new(&settings, Vec::new(), None, TokioTime::new()).permits;
    let _held = permits.enter().unwrap().await.unwrap();
    let _waiting = [permits.enter().unwrap(), permits.enter().unwrap()];
    assert_eq!(permits.enter().unwrap_err().why(), sluicegate::queue::Refusal::Full);
}
