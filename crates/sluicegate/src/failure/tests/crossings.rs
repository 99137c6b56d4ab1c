//! From module to module.

use proptest::prelude::*;

use super::*;

#[test]
fn facts_are_fixed_at_the_origin_and_each_boundary_adds_its_place() {
    let failure = torn();
    let (id, born, origin) = (failure.id(), failure.born_at(), failure.origin());
    let line = line!() + 1;
    let failure = failure.through::<Jobs>().through::<Cli>();
    assert_eq!((failure.id(), failure.born_at(), failure.origin()), (id, born, origin));
    let places: Vec<_> = failure.places().map(|p| (p.module, p.location.line())).collect();
    assert_eq!(places, [("files", origin.location.line()), ("jobs", line), ("cli", line)]);
    assert!(origin.location.file().ends_with("failure/tests.rs"));
    assert_eq!(id.get_version_num(), 7);
}

#[test]
fn a_result_is_taken_in_where_it_is_not_in_the_library() {
    let line = line!() + 1;
    let failure = Err::<(), _>(torn()).through::<Jobs>().with("job", 3).unwrap_err();
    let place = failure.places().last().unwrap();
    assert_eq!((place.location.line(), place.module), (line, "jobs"));
    assert!(place.location.file().ends_with("crossings.rs"), "{place:?}");
    assert_eq!(failure.context().last().unwrap(), &("job", "3".to_owned()));
}

#[test]
fn what_makes_a_foreign_error_ours_is_its_origin() {
    let (result, line) = (|| Err::<(), _>(disk_full()), line!());
    let bug = result().or_bug::<Files>("1");
    let known = result().or_known::<Files>("c", Lasting::Transitory, "2");
    let chosen = result().or_choose::<Files>(|_| Choice::bug("3"));
    for (failure, below) in [(bug, 1), (known, 2), (chosen, 3)] {
        let failure = failure.unwrap_err();
        assert_eq!((failure.origin().location.line(), failure.origin().module), (line + below, "files"));
        assert!(failure.origin().location.file().ends_with("crossings.rs"), "{failure:?}");
        assert_eq!(failure.cause::<io::Error>().unwrap().to_string(), "disk\nfull");
    }
}

/// As tower and callbacks hand it on.
#[test]
fn a_boxed_error_becomes_ours_with_its_chain() {
    type BoxError = Box<dyn Error + Send + Sync>;
    let result = || Err::<(), _>(BoxError::from(Foreign(Box::new(disk_full()))));
    let (bug, line) = (result().or_bug::<Files>("1").unwrap_err(), line!());
    let known = result().or_known::<Files>("c", Lasting::Transitory, "2").unwrap_err();
    let chosen = result().or_choose::<Files>(|error| {
        assert!(error.is::<Foreign>());
        Choice::bug("3")
    });
    for (failure, below) in [(bug, 0), (known, 1), (chosen.unwrap_err(), 2)] {
        assert_eq!(failure.origin().location.line(), line + below);
        assert!(failure.source().is_some_and(<dyn Error>::is::<Foreign>));
        assert_eq!(failure.cause::<io::Error>().unwrap().to_string(), "disk\nfull");
    }
    // A failure that was boxed on its way is the same one, wrapped in nothing.
    let inner = torn();
    let (id, causes) = (inner.id(), inner.causes().count());
    let back = Err::<(), _>(BoxError::from(inner)).or_bug::<Jobs>("again").unwrap_err();
    assert_eq!((back.id(), back.causes().count()), (id, causes));
    assert_eq!(back.places().map(|place| place.module).collect::<Vec<_>>(), ["files", "jobs"]);
}

#[test]
fn a_failure_within_a_foreign_error_keeps_its_id_its_time_and_its_way() {
    let inner = torn().through::<Jobs>();
    let (id, born, origin) = (inner.id(), inner.born_at(), inner.origin());
    // An `io::Error` hides what it holds from `source`, which is what most callbacks put a failure into.
    let foreign = Foreign(Box::new(io::Error::other(inner)));
    let outer =
        Err::<(), _>(foreign).or_known::<Cli>("failed", Lasting::Transitory, "It failed.").unwrap_err();
    assert_eq!((outer.id(), outer.born_at(), outer.origin()), (id, born, origin));
    assert_eq!(outer.kind(), Kind::Known("failed"));
    assert_eq!(outer.places().map(|p| p.module).collect::<Vec<_>>(), ["files", "jobs", "cli"]);
    // All of it is in reach, by type, and in the record, once.
    assert!(outer.cause::<Foreign>().is_some());
    assert_eq!(outer.cause::<Failure>().unwrap().id(), id);
    assert_eq!(outer.causes().filter(|cause| cause.is::<io::Error>()).count(), 2);
    let record = outer.record();
    for part in ["[failed] It failed.", "because a callback failed", "[bug] index 7 of 5", "path: a\\nforged"]
    {
        assert_eq!(record.matches(part).count(), 1, "{part} in {record}");
    }
}

#[test]
fn a_failure_that_comes_back_as_it_went_is_told_anew_and_not_wrapped() {
    let inner = torn();
    let id = inner.id();
    let error: Failure = inner.into_failure();
    let outer = Err::<(), _>(error).or_bug::<Cli>("no idea").unwrap_err();
    assert_eq!((outer.id(), outer.to_string().as_str()), (id, "no idea"));
    assert!(outer.cause::<Failure>().is_none() && outer.cause::<io::Error>().is_some());
    assert!(outer.record().contains("was [bug] index 7 of 5 (files)"), "{outer:?}");
}

#[test]
fn of_several_causes_none_is_lost_and_the_first_failure_is_the_origin() {
    let (first, second) = (torn(), torn());
    let (id, other) = (first.id(), second.id());
    let both = FailureOf::<Jobs>::bug("both failed").because(disk_full()).because(first).because(second);
    assert_eq!((both.id(), both.origin().module), (id, "files"));
    assert_eq!(both.places().map(|p| p.module).collect::<Vec<_>>(), ["files", "jobs"]);
    assert!(both.source().unwrap().is::<io::Error>(), "the first is the source");
    assert_eq!(both.causes().filter(|cause| cause.is::<Failure>()).count(), 2);
    let record = both.record();
    assert!(record.contains(&format!("[bug] index 7 of 5 ({other})")), "{record}");
    assert_eq!(record.matches(&id.to_string()).count(), 1);
}

#[test]
fn an_error_that_is_its_own_source_keeps_nobody() {
    #[derive(Debug)]
    struct Loop;
    impl fmt::Display for Loop {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("round")
        }
    }
    impl Error for Loop {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }
    let failure = FailureOf::<Files>::bug("turning").because(Loop);
    assert_eq!((failure.causes().count(), failure.record().matches("because").count()), (64, 1));
}

/// What a module on the way may do with a failure.
#[derive(Clone, Copy, Debug)]
enum Step {
    Through,
    Known,
    Bug,
    Wrap,
    Hide,
    With,
}

fn step(failure: FailureOf<Jobs>, step: Step) -> FailureOf<Jobs> {
    match step {
        Step::Through => failure.through::<Cli>().through(),
        Step::Known => failure.retold(Choice::known("known", Lasting::Transitory, "Something known.")),
        Step::Bug => Err::<(), _>(failure).or_bug("a bug here").unwrap_err(),
        Step::Wrap => FailureOf::bug("wrapped").because(Foreign(failure.into())),
        Step::Hide => Err::<(), _>(io::Error::other(failure)).or_bug("hidden").unwrap_err(),
        Step::With => failure.with("secret", "hunter2"),
    }
}

proptest! {
    /// Whatever modules and libraries do to a failure on its way, it stays the same one, nothing is lost for the log, and
    /// nothing of its inside comes out for the user.
    #[test]
    fn no_way_changes_what_was_fixed_at_the_origin(
        steps in prop::collection::vec(
            prop::sample::select(vec![Step::Through, Step::Known, Step::Bug, Step::Wrap, Step::Hide, Step::With]),
            0..12,
        ),
    ) {
        let mut failure = FailureOf::<Jobs>::bug("hunter2 in a bug")
            .with("password", "hunter2")
            .because(io::Error::new(io::ErrorKind::StorageFull, "hunter2 in a cause"));
        let (id, born, origin) = (failure.id(), failure.born_at(), failure.origin());
        for this in &steps {
            failure = step(failure, *this);
        }
        prop_assert_eq!((failure.id(), failure.born_at(), failure.origin()), (id, born, origin));
        let crossed: usize = steps.iter().map(|step| match step {
            Step::Through => 2,
            Step::With => 0,
            Step::Known | Step::Bug | Step::Wrap | Step::Hide => 1,
        }).sum();
        prop_assert_eq!(failure.places().count(), 1 + crossed);
        let cause = failure.causes().filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
        prop_assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::StorageFull));
        let (friendly, record) = (failure.friendly(), failure.record());
        prop_assert!(!friendly.contains("hunter2") && friendly.contains(&id.to_string()), "{}", friendly);
        let all = ["hunter2 in a bug", "hunter2 in a cause", "password: hunter2"];
        prop_assert!(all.iter().all(|part| record.contains(part)), "{}", record);
    }
}
