//! Programs that know nothing of the gateway, and folders for what they read and write.
use sluicegate_testkit::process::{Ended, Sluicegate, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A command of a Debian package; one that is missing fails the test with the package's name.
pub(crate) fn tool(command: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let mut found = folders.map(|folder| folder.join(command)).filter(|file| file.is_file());
    found.next().unwrap_or_else(|| panic!("{command} is not installed: apt-get install {package}"))
}

/// Runs a command of a Debian package, which must end well.
pub(crate) async fn program(command: &str, package: &str, args: &[&str]) -> Ended {
    let ended = run(tool(command, package), args).await;
    assert_eq!(ended.code, Some(0), "{command} {args:?}: {}\n{}", ended.stdout, ended.stderr);
    ended
}

/// Asks the gateway with curl, in whatever HTTP `args` say.
pub(crate) async fn curl(gateway: &Sluicegate, args: &[&str], target: &str) -> Ended {
    curl_url(args, &format!("http://{}{target}", gateway.addr())).await
}

/// Asks for any URL with curl.
pub(crate) async fn curl_url(args: &[&str], url: &str) -> Ended {
    let fixed = ["--silent", "--show-error", "--noproxy", "*", "--max-time", "50"];
    program("curl", "curl", &[&fixed, args, &[url]].concat()).await
}

/// How many requests h2load has answered with a status of success, of all it was told to send.
pub(crate) async fn h2load(args: &[&str]) -> (u64, u64) {
    let said = program("h2load", "nghttp2-client", args).await.stdout;
    let number = |line: &str, what: &str| {
        let line = said.lines().find_map(|text| text.strip_prefix(line));
        let mut parts = line.into_iter().flat_map(|rest| rest.split(','));
        let number = parts.find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok());
        number.unwrap_or_else(|| panic!("no {what} in {said}"))
    };
    (number("status codes:", "2xx"), number("requests:", "total"))
}

/// A folder of a test's own, which goes with it.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("e2e-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The path of what is called `name` in it, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path of letters").to_owned()
    }

    /// Writes a file, in place if it is there, and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Someone who certifies gateways, made by openssl; who trusts it, trusts them.
#[derive(Debug)]
pub(crate) struct Authority {
    /// Where its files are, and those of whom it certifies.
    pub(crate) folder: Folder,
}

impl Authority {
    pub(crate) async fn new() -> Self {
        let folder = Folder::new();
        let (key, certificate) = (folder.path("ca.key"), folder.path("ca.pem"));
        openssl(&[&NEW[..], &["-keyout", &key, "-out", &certificate, "-subj", "/CN=authority"]].concat())
            .await;
        Self { folder }
    }

    /// Its own certificate's file.
    pub(crate) fn file(&self) -> String {
        self.folder.path("ca.pem")
    }

    /// Its own certificate, in PEM.
    pub(crate) fn roots(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }

    /// Certifies this machine under a name, and returns the files of the certificate and the key.
    pub(crate) async fn certify(&self, name: &str) -> (String, String) {
        let certificate = self.folder.path(&format!("{name}.pem"));
        let key = self.folder.path(&format!("{name}.key"));
        let subject = format!("/CN={name}");
        let (ca, ca_key) = (self.file(), self.folder.path("ca.key"));
        let by = ["-CA", &ca, "-CAkey", &ca_key, "-addext", "basicConstraints=critical,CA:FALSE"];
        let who = ["-subj", &subject, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
        openssl(&[&NEW[..], &by, &who, &["-keyout", &key, "-out", &certificate]].concat()).await;
        (certificate, key)
    }
}

const NEW: [&str; 10] = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
    "-batch",
];

/// Runs openssl, which must end well.
pub(crate) async fn openssl(args: &[&str]) -> Ended {
    program("openssl", "openssl", args).await
}
