//! Between programs that know nothing of each other: nginx as the upstream, curl as the client.
use crate::programs::{self, Authority, curl_url, h2load, program, tool};
use crate::{serve_url, until_idle};
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::process::{Ended, Sluicegate};
use sluicegate_testkit::wait::eventually;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Large enough that neither nginx nor the gateway holds it whole.
const LARGE: usize = 5_000_000;

/// An nginx in the foreground, on a port and in a folder of its own; both go with it.
struct Nginx {
    child: Child,
    port: Reserved,
    folder: PathBuf,
}

impl Nginx {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// With these directives as well.
    async fn start_with(directives: &str) -> Self {
        let port = Reserved::new();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{}", port.addr().port()));
        fs::create_dir_all(folder.join("www")).unwrap();
        fs::write(folder.join("www/large"), large()).unwrap();
        fs::write(folder.join("www/index.html"), "hello\n").unwrap();
        let conf = CONF.replace("ADDR", &port.addr().to_string()).replace("FOLDER", folder.to_str().unwrap());
        let conf = conf.replace("DIRECTIVES", directives);
        fs::write(folder.join("nginx.conf"), conf).unwrap();
        let mut command = Command::new(tool("nginx", "nginx"));
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg("error.log");
        let child = command.stdin(Stdio::null()).spawn().expect("nginx can be run");
        let mut nginx = Self { child, port, folder };
        eventually("nginx to listen", async || {
            let ended = nginx.child.try_wait().unwrap();
            let log = || fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default();
            assert!(ended.is_none(), "nginx ended: {}", log());
            TcpStream::connect(nginx.port.addr()).ok()
        })
        .await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One process, no master: nothing is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs as anybody: everything it writes is in its folder.
const CONF: &str = "
daemon off;
master_process off;
pid FOLDER/pid;
events {}
http {
    access_log off;
    DIRECTIVES
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    client_max_body_size 0;
    gzip on;
    gzip_types *;
    gzip_proxied any;
    gzip_http_version 1.0;
    server {
        listen ADDR;
        root FOLDER/www;
        location /up/ { root FOLDER; dav_methods PUT; create_full_put_path on; }
        location /headers { return 200 \"$http_x_forwarded_for|$http_x_forwarded_proto|$http_host|$http_via\\n\"; }
        location /gone { return 410; }
    }
}
";

/// Text that compresses, but isn't the same everywhere.
fn large() -> Vec<u8> {
    (0..).flat_map(|n: u32| format!("{n:x}\n").into_bytes()).take(LARGE).collect()
}

async fn curl(gateway: &Sluicegate, args: &[&str], target: &str) -> Ended {
    programs::curl(gateway, &[&["--http1.1"], args].concat(), target).await
}

/// It closes a kept connection while the next request is on its way there: what was not sent, or may be sent twice, goes
/// over another one. A gateway that misses the close answers 502, or hangs until its deadline and answers 504.
#[tokio::test]
async fn an_upstream_that_closes_idle_connections_at_once_loses_no_request() {
    let nginx = Nginx::start_with("keepalive_timeout 1ms;").await;
    let gateway = serve_url(&format!("http://{}", nginx.port.addr()), &["--deadline", "5s"]).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = Raw::connect(gateway.addr()).await;
        clients.spawn(async move {
            for _ in 0..400 {
                client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
                let head = client.read_head().await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                assert_eq!(client.read_exact(6).await, "hello\n");
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client got all its answers");
    }
}

/// nginx refuses an HTTP/1.1 request without a Host, as it must: a gateway that makes one of an older client's request
/// has to say one.
#[tokio::test]
async fn a_client_too_old_for_a_host_is_served_by_nginx() {
    let nginx = Nginx::start().await;
    let gateway = serve_url(&format!("http://{}", nginx.port.addr()), &[]).await;
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nhost: example.test\r\n\r\n"] {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(request).await;
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.contains(" 200 "), "{request:?}: {answer}");
        assert!(body.contains("hello\n"), "{request:?}: {answer}");
    }
    until_idle(&gateway).await;
}

#[tokio::test]
async fn curl_talks_to_nginx_through_the_gateway() {
    let nginx = Nginx::start().await;
    let url = format!("http://{}", nginx.port.addr());
    let gateway = serve_url(&url, &["--limit", "header:x-user stock 3", "--concurrency", "4"]).await;
    let folder = nginx.folder.to_str().unwrap();

    assert_eq!(curl(&gateway, &[], "/").await.stdout, "hello\n");
    let down = format!("{folder}/down");
    for how in [&["--output", &down][..], &["--compressed", "--output", &down]] {
        curl(&gateway, how, "/large").await;
        assert!(fs::read(&down).unwrap() == large(), "{how:?}: every byte came down");
    }
    let head = curl(&gateway, &["--head", "-H", "x-user: head"], "/large").await.stdout.to_lowercase();
    assert!(head.contains(&format!("content-length: {LARGE}")), "{head}");
    let range = curl(&gateway, &["--range", "10-19", "-H", "x-user: range"], "/large").await.stdout;
    assert_eq!(range.as_bytes(), &large()[10..20]);
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("nginx sets an ETag").trim();
    let same = format!("if-none-match: {etag}");
    let code = ["--write-out", "%{http_code}", "--output", "/dev/null"];
    let cached = curl(&gateway, &[&code[..], &["-H", &same, "-H", "x-user: 304"]].concat(), "/large").await;
    assert_eq!(cached.stdout, "304");
    let gone = curl(&gateway, &[&code[..], &["-H", "x-user: gone"]].concat(), "/gone").await;
    assert_eq!(gone.stdout, "410");

    // curl asks for 100-continue before it sends as much.
    let put = ["--upload-file", &format!("{folder}/www/large"), "-H", "x-user: put"];
    curl(&gateway, &put, "/up/file").await;
    assert!(fs::read(nginx.folder.join("up/file")).unwrap() == large(), "every byte went up");
    let chunked = [&put[..], &["-H", "transfer-encoding: chunked"]].concat();
    curl(&gateway, &chunked, "/up/chunked").await;
    assert!(fs::read(nginx.folder.join("up/chunked")).unwrap() == large(), "every byte went up in chunks");

    let says = curl(&gateway, &["-H", "x-user: says", "-H", "host: example.test"], "/headers").await.stdout;
    assert!(says.starts_with("127.0.0.1|http|example.test|1.1 "), "{says}");

    // Five over one connection, the last two over the quota.
    let range =
        [&code[..], &["--write-out", "%{http_code} %{num_connects}\n", "-H", "x-user: five"]].concat();
    let five = curl(&gateway, &range, "/index.html?[1-5]").await.stdout;
    assert_eq!(five, "200 1\n200 0\n200 0\n429 0\n429 0\n");
    until_idle(&gateway).await;
}

#[tokio::test]
async fn curl_talks_to_nginx_in_http_2_over_tls() {
    let nginx = Nginx::start().await;
    let authority = Authority::new().await;
    let (certificate, key) = authority.certify("gateway").await;
    let url = format!("http://{}", nginx.port.addr());
    let args = ["--tls-certificate", &certificate, "--tls-key", &key, "--limit", "header:x-user stock 3"];
    let gateway = serve_url(&url, &args).await;
    let (folder, roots) = (nginx.folder.to_str().unwrap(), authority.file());
    let base = format!("https://{}", gateway.addr());
    let curl = async |args: &[&str], target: &str| {
        let fixed = ["--http2", "--cacert", &roots, "--write-out", "%{http_version}:%{http_code} "];
        curl_url(&[&fixed, args].concat(), &format!("{base}{target}")).await.stdout
    };
    assert_eq!(curl(&["-H", "x-user: small"], "/").await, "hello\n2:200 ");
    let down = format!("{folder}/down");
    for how in [&["--output", &down][..], &["--compressed", "--output", &down]] {
        assert_eq!(curl(how, "/large").await, "2:200 ");
        assert!(fs::read(&down).unwrap() == large(), "{how:?}: every byte came down");
    }
    let put = ["--upload-file", &format!("{folder}/www/large"), "-H", "x-user: put"];
    assert!(curl(&put, "/up/file").await.ends_with("2:201 "));
    assert!(fs::read(nginx.folder.join("up/file")).unwrap() == large(), "every byte went up");
    let said = curl(&["-H", "x-user: says", "-H", "host: example.test"], "/headers").await;
    assert!(said.starts_with("127.0.0.1|https|example.test|2 sluicegate"), "{said}");
    // Five at once over one connection, two of them over the quota.
    let five = curl(&["-Z", "-H", "x-user: five", "--output", "/dev/null"], "/index.html?[1-5]").await;
    let count = |status: &str| five.matches(status).count();
    assert_eq!((count("2:200 "), count("2:429 ")), (3, 2), "{five}");
    let load = ["-n", "500", "-c", "2", "-m", "20", "-H", "x-user: h2load"];
    let (good, all) = h2load(&[&load[..], &[&format!("{base}/")]].concat()).await;
    assert_eq!((good, all), (3, 500), "the quota, whatever the load");
    until_idle(&gateway).await;
}

#[tokio::test]
async fn wrk_finds_no_answer_that_is_not_one() {
    let nginx = Nginx::start().await;
    let url = format!("http://{}", nginx.port.addr());
    let args =
        ["--limit", "client.ip 1000000/s", "--concurrency", "8", "--queue", "100", "--deadline", "60s"];
    let gateway = serve_url(&url, &args).await;
    let target = format!("http://{}/", gateway.addr());
    let timeout = ["--timeout", "50s"];
    let said =
        program("wrk", "wrk", &[&["-t1", "-c16", "-d1s"], &timeout[..], &[&target]].concat()).await.stdout;
    // Either line is there only if there is something to say.
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let of = |line: &str| line.trim().split_once(" requests in ")?.0.parse::<u64>().ok();
    let requests = said.lines().find_map(of).unwrap_or_else(|| panic!("no number of requests in {said}"));
    let metrics = gateway.metrics().await;
    let good = metrics.count("sluicegate_requests_total", &[("status", "200")]);
    // What was under way when the time was over, wrk does not count.
    assert!((requests.max(1)..=requests + 16).contains(&good), "{good} were served, and wrk saw {said}");
    assert_eq!(metrics.count("sluicegate_requests_total", &[]), good);
    until_idle(&gateway).await;
}
