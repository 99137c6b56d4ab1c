//! How a file may change, and what becomes of one that is wrong.
use super::{Configured, config};
use crate::SLUICEGATE;
use crate::programs::Folder;
use http::StatusCode;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use std::fs;
use std::os::unix::fs::symlink;

/// Has `file` be served, and changed several times: each time what holds next must be what it then says, without a signal.
async fn assert_followed(folder: Folder, file: &str, mut change: impl FnMut(&Folder, u32, &str)) {
    let upstream = Upstream::start();
    change(&folder, 1, &config(&upstream, 1, ""));
    let file = folder.path(file);
    let gateway = Sluicegate::start(SLUICEGATE, &["serve", "--config", &file]).await;
    let served = Configured { folder, gateway };
    for generation in 2..=4 {
        change(&served.folder, generation, &config(&upstream, generation, ""));
        served.until_generation(generation).await;
    }
    assert_eq!(served.gateway.client().get("/").await.status, StatusCode::OK);
    assert_eq!(served.gateway.metrics().await.count("sluicegate_config_last_reload_ok", &[]), 1);
}

#[tokio::test]
async fn one_that_is_written_in_place_is_followed() {
    assert_followed(Folder::new(), "gateway.toml", |folder, _, text| {
        folder.write("gateway.toml", text);
    })
    .await;
}

#[tokio::test]
async fn one_that_another_is_renamed_over_is_followed() {
    assert_followed(Folder::new(), "gateway.toml", |folder, _, text| {
        let next = folder.write("next", text);
        fs::rename(next, folder.path("gateway.toml")).unwrap();
    })
    .await;
}

/// Turns the link `name` to `target`, in one step.
fn turn(folder: &Folder, name: &str, target: &str) {
    let next = folder.path("next-link");
    symlink(target, &next).unwrap();
    fs::rename(next, folder.path(name)).unwrap();
}

/// A link to a link to a folder that is never changed but replaced, as orchestrators mount what they keep.
#[tokio::test]
async fn one_behind_a_link_to_a_folder_is_followed() {
    let folder = Folder::new();
    symlink("..data/gateway.toml", folder.path("gateway.toml")).unwrap();
    assert_followed(folder, "gateway.toml", |folder, generation, text| {
        let name = format!("..{generation}");
        fs::create_dir(folder.path(&name)).unwrap();
        folder.write(&format!("{name}/gateway.toml"), text);
        turn(folder, "..data", &name);
        // The one before is removed, and with it the folder in which the file was.
        if generation > 1 {
            fs::remove_dir_all(folder.path(&format!("..{}", generation - 1))).unwrap();
        }
    })
    .await;
}

/// A file in a folder that is itself a link, as deployments turn from one release to the next.
#[tokio::test]
async fn one_in_a_folder_that_is_a_link_is_followed() {
    assert_followed(Folder::new(), "current/gateway.toml", |folder, generation, text| {
        let name = format!("release-{generation}");
        fs::create_dir(folder.path(&name)).unwrap();
        folder.write(&format!("{name}/gateway.toml"), text);
        turn(folder, "current", &name);
        if generation > 1 {
            fs::remove_dir_all(folder.path(&format!("release-{}", generation - 1))).unwrap();
        }
    })
    .await;
}

/// What it links to is elsewhere, and written there.
#[tokio::test]
async fn one_that_is_a_link_to_elsewhere_is_followed() {
    let folder = Folder::new();
    fs::create_dir(folder.path("elsewhere")).unwrap();
    symlink("elsewhere/real.toml", folder.path("gateway.toml")).unwrap();
    assert_followed(folder, "gateway.toml", |folder, _, text| {
        folder.write("elsewhere/real.toml", text);
    })
    .await;
}

/// Its folder is removed, and made again later, as some deployments do.
#[tokio::test]
async fn one_whose_folder_comes_back_is_followed() {
    let upstream = Upstream::start();
    let folder = Folder::new();
    fs::create_dir(folder.path("held")).unwrap();
    let file = folder.write("held/gateway.toml", config(&upstream, 1, ""));
    let gateway = Sluicegate::start(SLUICEGATE, &["serve", "--config", &file]).await;
    let served = Configured { folder, gateway };
    fs::remove_dir_all(served.folder.path("held")).unwrap();
    served.gateway.until_metric("sluicegate_config_reloads_total", &[("result", "failed")], 1).await;
    served.gateway.until_metric("sluicegate_config_last_reload_ok", &[], 0).await;
    fs::create_dir(served.folder.path("held")).unwrap();
    served.folder.write("held/gateway.toml", config(&upstream, 2, ""));
    served.until_generation(2).await;
    served.folder.write("held/gateway.toml", config(&upstream, 3, ""));
    served.until_generation(3).await;
}

#[tokio::test]
async fn one_that_is_wrong_changes_nothing_and_is_told_by_line() {
    let upstream = Upstream::start();
    let limited = "[limit.few]\nkey = \"client.ip\"\nquota = \"stock 3\"\n[[route]]\nlimits = [\"few\"]\n";
    let served = Configured::serve(&config(&upstream, 1, limited)).await;
    let (gateway, client) = (&served.gateway, served.gateway.client());
    assert_eq!(client.get("/").await.status, StatusCode::OK);
    let taken_on = served.taken_on().await;
    assert_eq!(gateway.metrics().await.count("sluicegate_config_last_reload_ok", &[]), 1);

    served.change(&config(&upstream, 2, "[limit.few]\nkey = \"client.ip\"\nquota = \"many\"\n")).await;
    // Where the quota is said.
    served.until_refused(1, &["gateway.toml:11:9", "many"]).await;
    served.change("listener = [").await;
    served.until_refused(2, &["gateway.toml:1:"]).await;
    fs::remove_file(served.folder.path("gateway.toml")).unwrap();
    gateway.signal("HUP").await;
    served.until_refused(3, &["gateway.toml", "can't be read"]).await;
    served.change(&format!("workers = 7\n{}", config(&upstream, 3, ""))).await;
    served.until_refused(4, &["workers", "restart"]).await;
    let unheard = ["generation-2", "generation-3"];
    let limits = gateway.metrics().await.label_values("sluicegate_limit_keys", "limit");
    assert!(!unheard.iter().any(|name| limits.contains(*name)), "{limits:?}");
    assert_eq!(served.taken_on().await, taken_on);
    for left in [1, 0] {
        assert_eq!(crate::fields::remaining(&client.get("/").await)["few"], left, "as before");
    }
    assert_eq!(client.get("/").await.status, StatusCode::TOO_MANY_REQUESTS);

    served.change_to(&config(&upstream, 5, ""), 5).await;
    gateway.until_metric("sluicegate_config_last_reload_ok", &[], 1).await;
    gateway.until_metric("sluicegate_config_reloads_total", &[("result", "failed")], 4).await;
    assert!(served.taken_on().await > taken_on);
    assert_eq!(client.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_file_a_signal_is_no_end() {
    let upstream = Upstream::start();
    let gateway = crate::serve(&upstream, &[]).await;
    gateway.signal("HUP").await;
    gateway.until_log(&["no configuration file"]).await;
    assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
}
