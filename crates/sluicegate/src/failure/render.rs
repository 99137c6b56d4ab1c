//! What is shown of a failure, and to whom.

use std::fmt;

use super::text::{one_line, rfc3339};
use super::{Failure, Kind, Lasting};

impl Failure {
    /// One line for a user: what it means, whether to try again and when, and the log ID. A bug shows nothing of its
    /// inside; nothing shows context or causes.
    #[must_use]
    pub fn friendly(&self) -> String {
        let (meaning, id) = (&self.facts.meaning, self.facts.id);
        if meaning.kind == Kind::Bug {
            return format!(
                "There was an unexpected issue, and trying again may not help. Please report it. (log ID {id})"
            );
        }
        let sentence = &*meaning.line;
        let stop = if sentence.ends_with(['.', '!', '?']) { "" } else { "." };
        let advice = match meaning.lasting {
            Lasting::Transitory => "Please try again later.".to_owned(),
            // In whole seconds, rounded up, as a response says it: who comes then is not too early.
            Lasting::For(wait) => {
                let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
                format!("Please try again in {seconds} s.")
            }
            Lasting::Permanent => "Trying again will not help.".to_owned(),
        };
        format!("{}{stop} {advice} (log ID {id})", one_line(sentence))
    }

    /// For a terminal: the friendly line; all of it below, the stack too, if `is_verbose`.
    ///
    /// ```
    /// # use sluicegate::failure::{Boundary, FailureOf};
    /// # struct Disk;
    /// # impl Boundary for Disk { const NAME: &'static str = "disk"; }
    /// let failure = FailureOf::<Disk>::bug("the index is torn").with("page", 7);
    /// assert_eq!(failure.terminal(false).to_string(), failure.friendly());
    /// assert!(failure.terminal(true).to_string().contains("page: 7"));
    /// ```
    #[must_use]
    pub const fn terminal(&self, is_verbose: bool) -> Terminal<'_> {
        Terminal { failure: self, is_verbose }
    }

    /// All of it, over several lines, for a log: ID, instant, kind, what, context, process, places, causes. The stack is
    /// [apart](Self::backtrace).
    #[must_use]
    pub fn record(&self) -> String {
        fmt::from_fn(|f| self.write_record(f)).to_string()
    }

    pub(super) fn write_record(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &*self.facts;
        let (code, what) = (facts.meaning.kind.code(), one_line(facts.meaning.what()));
        write!(f, "{} {} [{code}] {what}", facts.id, rfc3339(facts.born))?;
        write!(f, "\n  fingerprint {}", self.fingerprint())?;
        for (key, value) in &facts.context {
            write!(f, "\n  {key}: {}", one_line(value))?;
        }
        if let Some(process) = facts.process {
            let (name, build, host) =
                (one_line(process.name()), one_line(process.build()), one_line(process.host()));
            write!(f, "\n  process: {name} {build} on {host}, pid {}", process.pid())?;
        }
        self.write_former(f)?;
        for place in self.places() {
            write!(f, "\n  at {} {}", place.module, place.location)?;
        }
        self.visit_causes(|cause, text| match cause {
            // What it knew is not in its text; its way is in ours.
            Some(failure) => {
                write!(f, "\n  because [{}] {}", failure.kind().code(), one_line(text))?;
                if failure.id() != facts.id {
                    write!(f, " ({})", failure.id())?;
                }
                for (key, value) in failure.context() {
                    write!(f, "\n    {key}: {}", one_line(value))?;
                }
                failure.write_former(f)
            }
            None => write!(f, "\n  because {}", one_line(text)),
        })
    }

    fn write_former(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (module, former) in &self.facts.former {
            write!(f, "\n  was [{}] {} ({module})", former.kind.code(), one_line(former.what()))?;
        }
        Ok(())
    }

    /// Each cause with its text. One that only repeats the one before, as wrappers do, is left out, unless it knows more.
    pub(super) fn visit_causes(
        &self,
        mut visit: impl FnMut(Option<&Self>, &str) -> fmt::Result,
    ) -> fmt::Result {
        let mut before = String::new();
        for cause in self.causes() {
            let (text, failure) = (cause.to_string(), cause.downcast_ref::<Self>());
            if failure.is_some() || text != before {
                visit(failure, &text)?;
            }
            before = text;
        }
        Ok(())
    }
}

/// A failure as a terminal shows it: see [`Failure::terminal`].
#[derive(Debug)]
pub struct Terminal<'a> {
    failure: &'a Failure,
    is_verbose: bool,
}

impl fmt::Display for Terminal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.friendly())?;
        if self.is_verbose {
            f.write_str("\n")?;
            self.failure.write_record(f)?;
            if let Some(backtrace) = self.failure.backtrace() {
                write!(f, "\n{}", backtrace.to_string().trim_end())?;
            }
        }
        Ok(())
    }
}
