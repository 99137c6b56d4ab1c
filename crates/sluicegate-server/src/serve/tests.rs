//! How the process ends when something that it can't do without is given up.

use std::sync::{Arc, Mutex};

use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::{eventually, within};
use std::sync::atomic::Ordering;

use super::*;
use crate::gateway::tasks::Task;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(upstream: &Upstream) -> Settings {
    let text = format!(
        "admin = '127.0.0.1:0'\n[[listener]]\naddress = '127.0.0.1:0'\n[upstream.default]\nurl = '{}'",
        upstream.url()
    );
    config::parse(Path::new("gateway.toml"), &text).unwrap().settings
}

/// Every restart is a record with an ID, the last one too; and the exit code is not that of success.
#[tokio::test]
async fn it_says_so_and_fails() {
    let log = Log::default();
    let theirs = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || theirs.clone()).finish();
    // As long as there is one subscriber only, a record that is first made on a thread without any, as in a test beside this one, is
    // taken for one that nobody wants, wherever it is made later. With two, both are asked.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _here = tracing::subscriber::set_default(subscriber);
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(settings(&upstream)).unwrap();
    gateway.tasks().faults[Task::Accept as usize].store(u64::MAX, Ordering::Relaxed);
    let broken = within("the end", gateway.ended()).await;
    let code = leave(gateway, Duration::ZERO, Some(broken)).await;
    assert_eq!(code, ExitCode::FAILURE);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let records = log.lines().filter(|line| line.contains("a background task failed"));
    let records: Vec<_> = records.collect();
    assert_eq!(
        records.iter().filter(|line| line.contains("panicked: a test has it panic")).count(),
        6,
        "{log}"
    );
    assert_eq!(records.iter().filter(|line| line.contains(" WARN ")).count(), 5, "{log}");
    assert!(log.contains("the accept loop at 127.0.0.1:"), "{log}");
    let ids: std::collections::HashSet<_> =
        records.iter().filter_map(|line| line.split_once(" id=")?.1.split(' ').next()).collect();
    assert_eq!(ids.len(), records.len(), "an ID each: {log}");
}

#[tokio::test]
async fn changes_are_heard_after_a_panic_too() {
    let upstream = Upstream::start();
    let folder = std::env::temp_dir().join(format!("sluicegate-heard-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("gateway.toml");
    std::fs::write(&file, "one").unwrap();
    let settings = settings(&upstream);
    let gateway = Gateway::start(settings.clone()).unwrap();
    let mut changes = Watching::start(Changes::of(Some(&file), &settings).unwrap(), gateway.tasks());
    for (n, text) in ["two", "three"].into_iter().enumerate() {
        gateway.tasks().faults[Task::Watch as usize].store(1, Ordering::Relaxed);
        // Has it come to that place.
        changes.watch(&settings).await;
        eventually("it to be started again", async || {
            (gateway.tasks().restarts(Task::Watch) == n as u64 + 1).then_some(())
        })
        .await;
        std::fs::write(&file, text).unwrap();
        within("the change", changes.next()).await;
    }
    changes.end().await;
    gateway.drain(Duration::ZERO).await.unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}
