//! When the configuration may have changed: on SIGHUP, and when a file of it does.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sluicegate::timer::{Timer, TokioTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::Settings;

/// How long files must be quiet before they are read, in nanoseconds: who writes one does so in several steps.
const QUIET: u64 = 100_000_000;

/// Watches the configuration file, and the certificates and keys it names.
///
/// What is watched is their folders: a file that is replaced by a rename, or by turning a link elsewhere, as orchestrators
/// do, is another file. Whether something has changed is told by the contents.
#[derive(Debug)]
pub(super) struct Changes {
    hangup: Signal,
    /// Where the operating system gives no watcher, a signal still serves.
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Something was heard, and it was not yet looked whether it is a change.
    heard: bool,
    /// Of the contents of all files, when they were last looked at.
    hash: u64,
    time: TokioTime,
}

impl Changes {
    /// Of `file`, which says `settings`; without a file there are none.
    ///
    /// # Errors
    /// If the operating system denies a signal handler.
    pub(super) fn of(file: Option<&Path>, settings: &Settings) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        // One that is on its way is enough: all is looked at anew then.
        let (events_in, events) = mpsc::channel(1);
        let watcher = file.map(|_| {
            notify::recommended_watcher(move |_| {
                let _ = events_in.try_send(());
            })
        });
        let watcher = watcher.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "files can't be watched: the configuration changes on SIGHUP only");
            None
        });
        let files = file.map(Path::to_owned).into_iter().collect();
        let mut changes = Self {
            hangup,
            watcher,
            events,
            files,
            folders: Vec::new(),
            heard: false,
            hash: 0,
            time: TokioTime::new(),
        };
        changes.watch(settings);
        changes.hash = changes.contents();
        Ok(changes)
    }

    /// From now on watches the files that these settings name, and the configuration file as before.
    pub(super) fn watch(&mut self, settings: &Settings) {
        self.files.truncate(1);
        if self.files.is_empty() {
            return;
        }
        let of_tls = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        self.files.extend(of_tls.flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]));
        let Some(watcher) = &mut self.watcher else { return };
        for file in &self.files {
            let folder = match file.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
                _ => PathBuf::from("."),
            };
            if self.folders.contains(&folder) {
                continue;
            }
            if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %folder.display(), "a folder can't be watched");
            }
            self.folders.push(folder);
        }
        self.hash = self.contents();
    }

    /// Resolves when the configuration should be read anew. Cancel-safe: what was heard and not yet told is told the next
    /// time.
    pub(super) async fn next(&mut self) {
        loop {
            let quiet = async {
                if !self.heard && self.events.recv().await.is_none() {
                    // There is no watcher; a signal is all that may come.
                    std::future::pending::<()>().await;
                }
                self.heard = true;
                self.time.sleep_for(QUIET).await;
                // What was heard meanwhile is seen now.
                let _ = self.events.try_recv();
                self.heard = false;
            };
            let asked = tokio::select! {
                biased;
                hangup = self.hangup.recv() => hangup.is_some(),
                () = quiet => false,
            };
            let contents = self.contents();
            if asked || contents != self.hash {
                self.hash = contents;
                return;
            }
        }
    }

    fn contents(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for file in &self.files {
            // One that can't be read is told from one that is empty.
            std::fs::read(file).map_err(|error| error.kind().to_string()).hash(&mut hasher);
        }
        hasher.finish()
    }
}
