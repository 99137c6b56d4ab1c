//! A configuration that changes while it serves: what is there goes on, and what is wrong changes nothing.
mod files;
mod listeners;
mod state;
mod storm;

use crate::SLUICEGATE;
use crate::programs::Folder;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;

/// A gateway and its file.
pub(crate) struct Configured {
    folder: Folder,
    pub(crate) gateway: Sluicegate,
}

impl Configured {
    /// Serves what `config` says.
    pub(crate) async fn serve(config: &str) -> Self {
        let folder = Folder::new();
        let file = folder.write("gateway.toml", config);
        let gateway = Sluicegate::start(SLUICEGATE, &["serve", "--config", &file]).await;
        Self { folder, gateway }
    }

    /// Has it say something else in one step, and be read.
    pub(crate) async fn change(&self, config: &str) {
        let next = self.folder.write("next.toml", config);
        std::fs::rename(next, self.folder.path("gateway.toml")).unwrap();
        self.gateway.signal("HUP").await;
    }

    /// The same, and waits until it holds. It must name a generation that was not there before.
    pub(crate) async fn change_to(&self, config: &str, generation: u32) {
        self.change(config).await;
        self.until_generation(generation).await;
    }

    /// Waits until the configuration of this generation holds.
    async fn until_generation(&self, generation: u32) {
        let name = format!("generation-{generation}");
        self.gateway.until_metric("sluicegate_limit_keys", &[("limit", &name)], 0).await;
    }

    /// Waits until a change was refused, the `n`th, and said where and what is wrong.
    pub(crate) async fn until_refused(&self, n: u64, said: &[&str]) {
        let failed = [("result", "failed")];
        self.gateway.until_metric("sluicegate_config_reloads_total", &failed, n).await;
        assert_eq!(self.gateway.metrics().await.count("sluicegate_config_last_reload_ok", &[]), 0);
        self.gateway.until_log(&[&["the configuration is not changed"], said].concat()).await;
    }

    /// How many changes were taken on.
    async fn taken_on(&self) -> u64 {
        let metrics = self.gateway.metrics().await;
        metrics.count("sluicegate_config_reloads_total", &[("result", "ok")])
    }
}

/// A file with a listener on a free port, one service, a mark by which it is known, and more.
pub(crate) fn config(upstream: &Upstream, generation: u32, more: &str) -> String {
    listening("127.0.0.1:0", upstream, generation, more)
}

/// The same for an address.
fn listening(address: &str, upstream: &Upstream, generation: u32, more: &str) -> String {
    format!(
        "admin = \"127.0.0.1:0\"\n[[listener]]\naddress = \"{address}\"\n[upstream.main]\nurl = \"{}\"\n\
         [limit.generation-{generation}]\nkey = \"path\"\nquota = \"unlimited\"\n{more}\n",
        upstream.url()
    )
}

/// Waits until nobody accepts there any more.
async fn until_closed(addr: std::net::SocketAddr) {
    let client = sluicegate_testkit::client::Client::new(addr);
    eventually("connections to be refused", async || client.connect().await.err()).await;
}
