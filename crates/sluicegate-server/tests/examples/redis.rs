//! A real Redis, which a test ends.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use sluicegate_redis::Settings;
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::wait::{PATIENCE, eventually};
use tokio::net::TcpStream;

/// A `redis-server` that keeps nothing.
#[derive(Debug)]
pub(crate) struct Redis {
    /// A shell that ends the server once its own input ends: so the server does not outlive this process, whatever ends that.
    shell: Option<Child>,
    folder: PathBuf,
    /// Holds the port while nobody listens.
    port: Reserved,
}

impl Redis {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("sluicegate-examples-redis-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let mut redis = Self { shell: None, folder, port: Reserved::new() };
        redis.restart().await;
        redis
    }

    /// Starts it again, as if it had never been there.
    pub(crate) async fn restart(&mut self) {
        let (port, folder) = (self.port.addr().port(), self.folder.display());
        let script = format!(
            "redis-server --port {port} --bind 127.0.0.1 --save '' --dir '{folder}' --logfile log </dev/null >/dev/null &
             read line; kill -9 $!; wait"
        );
        let mut command = Command::new("sh");
        let command = command.args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::null());
        self.shell = Some(command.spawn().expect("a shell"));
        let addr = self.port.addr();
        eventually("redis-server to listen: scripts/test installs it", async || {
            TcpStream::connect(addr).await.ok()
        })
        .await;
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            // Waiting closes its input first.
            shell.wait().expect("a child can be waited for");
        }
    }

    /// What a store of it is told; patient as tests are.
    pub(crate) fn settings(&self) -> Settings {
        let settings = Settings::new(&format!("redis://{}", self.port.addr())).expect("an address");
        settings.timeout(PATIENCE).connect_timeout(PATIENCE)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        // Left behind, it is in the system's folder for such things.
        drop(fs::remove_dir_all(&self.folder));
    }
}
