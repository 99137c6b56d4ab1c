//! A failure as a structured record.

use std::fmt;

use tracing::Level;

use super::text::{one_line, pairs, rfc3339};
use super::{Failure, Process};

/// One event of each level: tracing wants to know it where the program is built.
macro_rules! events {
    ($level:expr, $fields:tt) => {
        match $level {
            Level::ERROR => events!(@ERROR $fields),
            Level::WARN => events!(@WARN $fields),
            Level::INFO => events!(@INFO $fields),
            Level::DEBUG => events!(@DEBUG $fields),
            Level::TRACE => events!(@TRACE $fields),
        }
    };
    (@$name:ident { $($fields:tt)+ }) => {
        tracing::event!(target: "sluicegate::failure", Level::$name, $($fields)+)
    };
}

impl Failure {
    /// Logs it through `tracing`, field by field: `id`, `code` (`bug` of a bug), `born`, `lasting`, `origin`, `way`, `context`, `was`,
    /// `causes`, `fingerprint`, `process`, `build`, `host`, `pid`, `backtrace`. What there is none of is left out. The
    /// target is `sluicegate::failure`.
    pub fn log(&self, level: Level) {
        // What nobody listens to is not worth its texts.
        if !tracing::level_enabled!(level) {
            return;
        }
        let facts = &*self.facts;
        let (id, born) = (facts.id, rfc3339(facts.born));
        let (code, lasting, fingerprint) =
            (self.kind().code(), format!("{:?}", self.lasting()), self.fingerprint());
        let at = |place: super::Place| format!("{} {}", place.module, place.location);
        let origin = at(facts.origin);
        let way = some(facts.taken_in.iter().map(|place| at(*place)).collect::<Vec<_>>().join(", "));
        let context = some(pairs(&facts.context).to_string());
        let was = some(self.former_as_text());
        let causes = some(self.causes_as_text());
        let process = facts.process;
        let (name, build, host, pid) = (
            process.map(Process::name),
            process.map(Process::build),
            process.map(Process::host),
            process.map(Process::pid),
        );
        let backtrace = self.backtrace().map(ToString::to_string);
        events!(level, {
            %id, code, born, lasting, origin, way, context, was, causes, %fingerprint,
            process = name, build, host, pid, backtrace,
            "{}", one_line(facts.meaning.what())
        });
    }

    fn causes_as_text(&self) -> String {
        fmt::from_fn(|f| {
            let mut between = "";
            self.visit_causes(|failure, text| {
                f.write_str(between)?;
                between = "; ";
                let Some(failure) = failure else { return write!(f, "{}", one_line(text)) };
                write!(f, "[{}] {}", failure.kind().code(), one_line(text))?;
                if failure.id() != self.id() {
                    write!(f, " ({})", failure.id())?;
                }
                if !failure.context().is_empty() {
                    write!(f, " ({})", pairs(failure.context()))?;
                }
                match failure.former_as_text() {
                    was if was.is_empty() => Ok(()),
                    was => write!(f, " (was {was})"),
                }
            })
        })
        .to_string()
    }

    /// What it meant to modules below.
    fn former_as_text(&self) -> String {
        let was = self.facts.former.iter().map(|(module, former)| {
            format!("[{}] {} ({module})", former.kind.code(), one_line(former.what()))
        });
        was.collect::<Vec<_>>().join(", ")
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
