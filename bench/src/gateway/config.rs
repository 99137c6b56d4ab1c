//! The configurations of the peers: each as its operator would write it for this load, none with a log.
//!
//! Both peers add X-Forwarded-For, as ours does; bare hyper adds nothing.

use std::path::Path;

/// What the upstream answers with, 1 KiB of it.
pub(crate) fn body() -> String {
    "sluicegate-bench".repeat(64)
}

/// A static answer from memory, on one worker.
pub(crate) fn upstream(directory: &Path, port: u16) -> String {
    let body = body();
    let server = format!(
        "    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type text/plain; return 200 '{body}'; }}
    }}"
    );
    nginx_with(directory, "upstream", 1, &server)
}

/// nginx with a limit a client, and connections to the upstream kept.
pub(crate) fn nginx(directory: &Path, cores: usize, port: u16, upstream: u16) -> String {
    let http = "limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;";
    nginx_before(directory, cores, (port, upstream), http, "limit_req zone=clients burst=1000000 nodelay;")
}

/// nginx before one upstream, connections to it kept, with these lines at the head of `http` and of `location`.
pub(crate) fn nginx_before(
    directory: &Path,
    cores: usize,
    (port, upstream): (u16, u16),
    http: &str,
    location: &str,
) -> String {
    let server = format!(
        "    {http}
    upstream service {{
        server 127.0.0.1:{upstream};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        location / {{
            {location}
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}"
    );
    nginx_with(directory, "nginx", cores, &server)
}

/// What both nginx have in common: in the foreground, and no file outside `directory`.
fn nginx_with(directory: &Path, name: &str, workers: usize, http: &str) -> String {
    let place = directory.join(name);
    let place = place.display();
    format!(
        "daemon off;
worker_processes {workers};
pid '{place}.pid';
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path '{place}-body';
    proxy_temp_path '{place}-proxy';
    fastcgi_temp_path '{place}-fastcgi';
    uwsgi_temp_path '{place}-uwsgi';
    scgi_temp_path '{place}-scgi';
{http}
}}
"
    )
}

/// HAProxy with a rate a client in a stick table, and connections to the upstream kept and shared.
pub(crate) fn haproxy(cores: usize, port: u16, upstream: u16) -> String {
    let frontend = "stick-table type ip size 100k expire 10s store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000 }";
    haproxy_before(cores, (port, upstream), 4096, frontend, "")
}

/// HAProxy before one upstream for so many connections, those to it kept and shared, with these lines in its frontend and these words
/// behind its server.
pub(crate) fn haproxy_before(
    cores: usize,
    (port, upstream): (u16, u16),
    connections: u32,
    frontend: &str,
    server: &str,
) -> String {
    format!(
        "global
    nbthread {cores}
    maxconn {connections}

defaults
    mode http
    timeout connect 5s
    timeout queue 10s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h

frontend clients
    bind 127.0.0.1:{port}
    {frontend}
    option forwardfor
    default_backend service

backend service
    http-reuse always
    server upstream 127.0.0.1:{upstream}{server}
"
    )
}
