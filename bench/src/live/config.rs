//! What the peers are told: each limits what is at the upstream at once, with the numbers that were found best by hand.

use std::path::Path;

use crate::gateway::config::{haproxy_before, nginx_before};

/// How many requests nginx lets through at once; it has no queue.
pub(super) const NGINX: u32 = 4;
/// How many requests HAProxy lets through at once, and how many may wait in it.
pub(super) const HAPROXY: (u32, u32) = (1, 10);

/// nginx with a limit on the connections of all clients together.
pub(super) fn nginx(directory: &Path, cores: usize, port: u16, upstream: u16) -> String {
    // A key that is empty is not counted, and without a name the server's is.
    let http = "limit_conn_zone $server_port zone=all:1m;
    limit_conn_log_level info;";
    nginx_before(directory, cores, (port, upstream), http, &format!("limit_conn all {NGINX};"))
}

/// HAProxy with a queue in front of the server.
pub(super) fn haproxy(cores: usize, port: u16, upstream: u16) -> String {
    let (maxconn, queue) = HAPROXY;
    let frontend = format!("http-request deny deny_status 503 if {{ queue(service) ge {queue} }}");
    haproxy_before(cores, (port, upstream), 8192, &frontend, &format!(" maxconn {maxconn}"))
}
