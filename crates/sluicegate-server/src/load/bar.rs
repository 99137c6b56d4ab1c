//! A progress bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::progress::Progress;

/// A bar over a span of time, on stderr, and hidden where that is no terminal.
#[derive(Debug, Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar that is full after `whole`.
    pub(crate) fn new(whole: Duration) -> Self {
        let bar = ProgressBar::new(milliseconds(whole));
        if let Ok(style) = ProgressStyle::with_template("{bar:12} {percent:>3}%  {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// A bar nobody sees.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Shows a load's progress behind `label`; the load began when `before` of the bar had passed.
    pub(crate) fn show(&self, label: &str, before: Duration, progress: &Progress) {
        self.0.set_position(milliseconds(before + progress.elapsed.min(progress.planned)));
        let Progress { offered, good, refused, failed, .. } = progress;
        self.0.set_message(format!("{label}{offered} sent, {good} good, {refused} refused, {failed} failed"));
    }

    /// Takes the bar off the terminal.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
