//! When the configuration may have changed: on SIGHUP, and when a file of it does.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use std::sync::Arc;

use futures_util::future::join;
use notify::event::{AccessKind, AccessMode, Event, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sluicegate::cancel::CancelToken;
use sluicegate::supervise::Chore;
use sluicegate::timer::{Timer, TokioTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify, mpsc};

use crate::config::Settings;
use crate::gateway::tasks::{Counts, HANG, Stewards, Task};

/// How long files must stay as they are before they are read, in nanoseconds: who writes one does so in several steps.
const QUIET: u64 = 100_000_000;

/// How often that is waited for anew, so that a file which is always written to is looked at all the same.
const PATIENCE: usize = 20;

/// How much of a file is looked at, in bytes: more is in no configuration, and in no certificate.
const LOOKED_AT: u64 = 1 << 21;

/// How many links a path may have. Longer chains are loops.
const MAX_LINKS: usize = 40;

/// Watches the configuration file, and the certificates and keys it names.
///
/// What is watched is folders: those that hold the files, and those that hold the links on the way to them. A file that is
/// replaced by a rename, or by turning a link elsewhere, as orchestrators do, is another file. Whether something has changed
/// is told by the contents.
#[derive(Debug)]
pub(super) struct Changes {
    hangup: Signal,
    /// Where the operating system gives no watcher, a signal still serves.
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    /// The configuration file first. Without one there are none.
    files: Vec<PathBuf>,
    /// What was in each of them when it was last looked at.
    seen: Vec<u64>,
    folders: BTreeSet<PathBuf>,
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
            notify::recommended_watcher(move |event| {
                if !is_a_look(&event) {
                    let _ = events_in.try_send(());
                }
            })
        });
        let watcher = watcher.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "files can't be watched: the configuration changes on SIGHUP only");
            None
        });
        let mut changes = Self {
            hangup,
            watcher,
            events,
            files: file.map(Path::to_owned).into_iter().collect(),
            seen: Vec::new(),
            folders: BTreeSet::new(),
            heard: false,
            time: TokioTime::new(),
        };
        changes.watch(settings);
        Ok(changes)
    }

    /// From now on watches the files that these settings name, and the configuration file as before. What has happened to
    /// one that was watched already is not forgotten.
    pub(super) fn watch(&mut self, settings: &Settings) {
        let Some(config) = self.files.first().cloned() else { return };
        let of_tls = settings.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let of_tls = of_tls.flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]);
        let files: Vec<PathBuf> = std::iter::once(config).chain(of_tls).collect();
        let before = std::mem::replace(&mut self.files, files);
        // Watched before they are looked at, so that nothing is missed between.
        self.follow();
        let known = |file: &PathBuf| {
            let at = before.iter().position(|had| had == file)?;
            self.seen.get(at).copied()
        };
        self.seen = self.files.iter().map(|file| known(file).unwrap_or_else(|| contents(file))).collect();
    }

    /// Watches the folders that hold the files now, and none else.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = self.files.iter().flat_map(|file| folders(file)).collect();
        for gone in self.folders.difference(&wanted) {
            // With a folder that is no more, its watch is gone already.
            let _ = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            // Those that are watched too: one may have been replaced by another of its name. Where it is no more, the nearest
            // above it that is there tells when it comes back.
            let mut failed = None;
            for at in folder.ancestors() {
                match watcher.watch(at, RecursiveMode::NonRecursive) {
                    Ok(()) => {
                        watched.insert(at.to_owned());
                        break;
                    }
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if let (Some(error), true) = (failed, self.folders.contains(&folder)) {
                tracing::warn!(%error, folder = %folder.display(), "a folder of the configuration is gone");
            }
        }
        self.folders = watched;
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
                    let before = all(&self.files);
                    self.time.sleep_for(QUIET).await;
                    // What was heard meanwhile is seen now.
                    let _ = self.events.try_recv();
                    if all(&self.files) == before {
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
            // A link may lead elsewhere now, and what is there changes next.
            self.follow();
            let seen = all(&self.files);
            if asked || seen != self.seen {
                self.seen = seen;
                return;
            }
        }
    }
}

/// A task that hears of changes, and its steward.
#[derive(Debug)]
pub(super) struct Watching {
    changes: Arc<Mutex<Changes>>,
    /// Has the task let go of what it works on.
    wanted: Arc<Notify>,
    heard: mpsc::Receiver<()>,
    stewards: Stewards,
}

impl Watching {
    /// Hears of these from now on. What becomes of the task is noted in `counts`.
    pub(super) fn start(changes: Changes, counts: &Arc<Counts>) -> Self {
        let time = changes.time;
        // One is enough: all is read anew then.
        let (tell, heard) = mpsc::channel(1);
        let (changes, wanted) = (Arc::new(Mutex::new(changes)), Arc::new(Notify::new()));
        let hearing = Hearing {
            changes: Arc::clone(&changes),
            wanted: Arc::clone(&wanted),
            tell,
            counts: Arc::clone(counts),
            end: CancelToken::new(time),
        };
        let mut steward = counts.steward(Task::Watch, "configuration", time);
        steward.keep_watched(Task::Watch.name(), HANG, hearing);
        let mut stewards = Stewards::default();
        stewards.run(steward);
        Self { changes, wanted, heard, stewards }
    }

    /// Resolves when the configuration should be read anew. Cancel-safe.
    pub(super) async fn next(&mut self) {
        if self.heard.recv().await.is_none() {
            // Its steward was stopped.
            std::future::pending().await
        }
    }

    /// As [`Changes::watch`].
    pub(super) async fn watch(&self, settings: &Settings) {
        // First in line, and only then has the task let go; that is kept for it if it does not listen yet.
        let (mut changes, ()) = join(self.changes.lock(), async { self.wanted.notify_one() }).await;
        changes.watch(settings);
    }

    /// Ends the task.
    pub(super) async fn end(&mut self) {
        self.stewards.shut_down().await;
    }
}

/// What hears of changes.
#[derive(Clone)]
struct Hearing {
    changes: Arc<Mutex<Changes>>,
    wanted: Arc<Notify>,
    tell: mpsc::Sender<()>,
    counts: Arc<Counts>,
    end: CancelToken,
}

impl Chore for Hearing {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        let Self { changes, wanted, tell, counts, end } = self.clone();
        async move {
            while end.cause().is_none() {
                // Whoever has waited for it longer has it first.
                let mut changes = changes.lock().await;
                counts.point(Task::Watch);
                tokio::select! {
                    // One that was told already and not heard yet is enough.
                    () = changes.next() => drop(tell.try_send(())),
                    () = wanted.notified() => {}
                    _ = end.stopped() => {}
                }
            }
        }
    }

    fn finish(&self) {
        self.end.cancel();
    }
}

/// Whether somebody only reads there, as is done here: it would never end.
fn is_a_look(event: &notify::Result<Event>) -> bool {
    let Ok(event) = event else { return false };
    matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

fn all(files: &[PathBuf]) -> Vec<u64> {
    files.iter().map(|file| contents(file)).collect()
}

/// What a file holds, in short. One that can't be read is told from one that is empty.
fn contents(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| error.kind().to_string()).hash(&mut hasher);
    hasher.finish()
}

/// The folders in which something changes when what `file` leads to becomes another: those of all links on the way, and of
/// the file at its end.
fn folders(file: &Path) -> Vec<PathBuf> {
    let mut path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut found = Vec::new();
    for _ in 0..MAX_LINKS {
        let mut way = PathBuf::new();
        let mut rest = path.components();
        let link = rest.by_ref().find_map(|part| {
            let folder = way.clone();
            way.push(part);
            Some((folder, std::fs::read_link(&way).ok()?))
        });
        let Some((folder, target)) = link else {
            found.extend(path.parent().map(Path::to_owned));
            break;
        };
        path = folder.join(target).join(rest.as_path());
        found.push(folder);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn folders_of_links_count_too() {
        let root = std::env::temp_dir().join(format!("sluicegate-watch-{}", std::process::id()));
        fs::create_dir_all(root.join("release-1")).unwrap();
        let root = root.canonicalize().unwrap();
        fs::write(root.join("release-1/real.toml"), "").unwrap();
        symlink("real.toml", root.join("release-1/gateway.toml")).unwrap();
        symlink("release-1", root.join("current")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let of = |file: &str| folders(&root.join(file)).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(of("plain.toml"), [root.clone()].into());
        assert_eq!(of("release-1/real.toml"), [root.join("release-1")].into());
        assert_eq!(of("current/gateway.toml"), [root.clone(), root.join("release-1")].into());
        assert_eq!(of("loop/gateway.toml"), [root.clone()].into());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn reading_a_file_is_no_change_of_it() {
        let of = |kind| is_a_look(&Ok(Event::new(EventKind::Access(kind))));
        assert!(of(AccessKind::Open(AccessMode::Any)) && of(AccessKind::Close(AccessMode::Read)));
        assert!(!of(AccessKind::Close(AccessMode::Write)));
        assert!(!is_a_look(&Ok(Event::new(EventKind::Any))));
    }
}
