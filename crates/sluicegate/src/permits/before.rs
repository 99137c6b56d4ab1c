//! What is still held of permits that were handed out before what decides how many there are was replaced.

use super::hold::Hold;

/// Of each generation of which some are held: how many, and which partition of now each of its partitions is.
#[derive(Debug, Default)]
pub(super) struct Before(Vec<Of>);

#[derive(Debug)]
struct Of {
    generation: u32,
    held: usize,
    to: Vec<usize>,
}

impl Before {
    /// Another generation is over, of which all are held that are in flight and of none before. Each of its partitions is the `to[n]`th now.
    pub(super) fn push(&mut self, generation: u32, in_flight: usize, to: &[usize]) {
        for of in &mut self.0 {
            of.to.iter_mut().for_each(|at| *at = place(to, *at));
        }
        let known: usize = self.0.iter().map(|of| of.held).sum();
        let held = in_flight.saturating_sub(known);
        if held > 0 {
            self.0.push(Of { generation, held, to: to.to_vec() });
        }
    }

    /// Of which partition one is now that may be of such a generation. Those of which nothing is known are everybody else's.
    pub(super) fn partition_of(&self, hold: &Hold) -> usize {
        let of = self.0.iter().find(|of| of.generation == hold.generation);
        of.map_or(usize::MAX, |of| place(&of.to, hold.since.partition()))
    }

    /// The same of one that comes back.
    pub(super) fn give_back(&mut self, hold: &Hold) -> usize {
        let partition = self.partition_of(hold);
        if let Some(at) = self.0.iter().position(|of| of.generation == hold.generation) {
            self.0[at].held -= 1;
            if self.0[at].held == 0 {
                self.0.swap_remove(at);
            }
        }
        partition
    }
}

fn place(to: &[usize], at: usize) -> usize {
    to.get(at).or(to.last()).copied().unwrap_or(usize::MAX)
}

/// Which of `new` partitions each of `old` ones is: by their names, where all that have a share have one before and after; else by their
/// numbers. What is gone, and what had no share, is everybody else's, which is the last.
pub(super) fn moves(old: (usize, &[String]), new: (usize, &[String])) -> Vec<usize> {
    let ((old, old_names), (new, new_names)) = (old, new);
    let last = new - 1;
    let is_named = old_names.len() + 1 == old && new_names.len() + 1 == new;
    let to = |at: usize| match old_names.get(at) {
        Some(name) if is_named => new_names.iter().position(|other| other == name),
        _ => Some(at).filter(|at| at + 1 < old),
    };
    (0..old).map(|at| to(at).map_or(last, |at| at.min(last))).collect()
}

/// Which of the partitions of these names of now one is that is told by its number in the order of those. One without a name, or whose name
/// is not among those of now, is everybody else's.
pub(super) fn number(now: &[String], names: &[String], at: usize) -> usize {
    let Some(name) = names.get(at) else { return usize::MAX };
    // Mostly nothing has changed.
    let same = Some(at).filter(|&at| now.get(at) == Some(name));
    same.or_else(|| now.iter().position(|other| other == name)).unwrap_or(usize::MAX)
}
