//! Turns: A B C A B C in one run, so that whatever the machine does meanwhile happens to all of them.

use serde::Serialize;

/// Fewer rounds than this show that a bench runs, not how fast anything is.
pub(crate) const FEWEST: u32 = 5;

/// What several rounds said about one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The middle round; of an even number the mean of the middle two.
    pub(crate) median: f64,
    /// The smallest round.
    pub(crate) min: f64,
    /// The largest round.
    pub(crate) max: f64,
}

impl Summary {
    /// Of one value a round; `None` without rounds.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

/// Lets every subject have its turn in every round; answers the samples of each subject, in the order of the rounds.
///
/// # Errors
/// The first error of `turn`, at once.
pub(crate) fn interleave<S, T, E>(
    subjects: &mut [S],
    rounds: u32,
    mut turn: impl FnMut(u32, &mut S) -> Result<T, E>,
) -> Result<Vec<Vec<T>>, E> {
    let mut samples: Vec<Vec<T>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
            samples.push(turn(round, subject)?);
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let summary = |values: &[f64]| Summary::of(values.iter().copied());
        assert_eq!(summary(&[3.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(summary(&[4.0, 1.0, 2.0, 3.0]), Some(Summary { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(summary(&[7.0]), Some(Summary { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn turns_alternate() {
        let mut order = Vec::new();
        let samples = interleave(&mut ['a', 'b'], 2, |round, subject| {
            order.push((round, *subject));
            Ok::<_, ()>(format!("{subject}{round}"))
        });
        assert_eq!(order, [(1, 'a'), (1, 'b'), (2, 'a'), (2, 'b')]);
        assert_eq!(samples, Ok(vec![vec!["a1".into(), "a2".into()], vec!["b1".into(), "b2".to_string()]]));
    }
}
