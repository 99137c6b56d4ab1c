//! When the configuration may have changed: on SIGHUP, and when a file of it does.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use sluicegate::timer::{Timer, TokioTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::Settings;

/// How long files must be quiet before they are read, in nanoseconds: who writes one does so in several steps.
const QUIET: u64 = 100_000_000;

/// How often that is waited for anew while they are not, so that a folder which is never quiet is looked at all the same.
const PATIENCE: usize = 20;

/// How much of a file is looked at, in bytes: more is in no configuration, and no certificate.
const LOOKED_AT: u64 = 1 << 21;

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
    /// The files, with what their contents were when they were last looked at; none for one that was not yet.
    files: Vec<(PathBuf, Option<u64>)>,
    folders: Vec<PathBuf>,
    /// Something was heard, and it was not yet looked whether it is a change.
    heard: bool,
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
            notify::recommended_watcher(move |event: notify::Result<Event>| {
                // Reading a file is an event, too, also when it is this that reads.
                let only_read = |kind: &EventKind| {
                    let written = AccessKind::Close(AccessMode::Write);
                    matches!(kind, EventKind::Access(access) if *access != written)
                };
                if !event.is_ok_and(|event| only_read(&event.kind)) {
                    let _ = events_in.try_send(());
                }
            })
        });
        let watcher = watcher.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "files can't be watched: the configuration changes on SIGHUP only");
            None
        });
        let files = file.map(|file| (file.to_owned(), None)).into_iter().collect();
        let mut changes = Self {
            hangup,
            watcher,
            events,
            files,
            folders: Vec::new(),
            heard: false,
            time: TokioTime::new(),
        };
        changes.watch(settings);
        changes.look();
        changes.heard = false;
        Ok(changes)
    }

    /// From now on watches the files that these settings name as well. Those that are new are read once more.
    pub(super) fn watch(&mut self, settings: &Settings) {
        if self.files.is_empty() {
            return;
        }
        let of_tls = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        for file in of_tls.flat_map(|tls| [&tls.certificate, &tls.key]) {
            if self.files.iter().all(|(known, _)| known != file) {
                self.files.push((file.clone(), None));
                // It may have changed between being read and this.
                self.heard = true;
            }
        }
        let Some(watcher) = &mut self.watcher else { return };
        for (file, _) in &self.files {
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
                for _ in 0..PATIENCE {
                    self.time.sleep_for(QUIET).await;
                    if self.events.try_recv().is_err() {
                        break;
                    }
                }
                self.heard = false;
            };
            let asked = tokio::select! {
                biased;
                hangup = self.hangup.recv() => hangup.is_some(),
                () = quiet => false,
            };
            // Before they are read by who is told: a change after this is heard, and is one.
            if self.look() || asked {
                return;
            }
        }
    }

    /// Looks at all files, and says whether one is not what it was.
    fn look(&mut self) -> bool {
        let mut changed = false;
        for (file, known) in &mut self.files {
            let contents = Some(contents(file));
            changed |= *known != contents;
            *known = contents;
        }
        changed
    }
}

/// What a file holds, in short; one that can't be read holds what the operating system says of it.
fn contents(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| error.kind().to_string()).hash(&mut hasher);
    hasher.finish()
}
