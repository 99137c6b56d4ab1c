//! The examples `backpressure`, with `backpressure_load` against it, and `leaky_buffer`, as processes.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test support: a failure here is a test's failure")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Nothing here takes nearly as long. It bounds a test that fails, and decides nothing in one that doesn't.
const PATIENCE: Duration = Duration::from_secs(60);
/// As the load has it.
const REQUESTS: u64 = 500;

fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(path.exists(), "build it with `cargo build --example {name}`");
    Command::new(path)
}

/// The server, killed at the latest with its test.
struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    addr: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Self {
        let mut command = example(name);
        command.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let mut server = Self { child, lines, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = server.line();
        server.addr = line.strip_prefix("listening on ").unwrap().parse().unwrap();
        server
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// A client that sends this, and has read nothing yet.
    fn sent(&self, bytes: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(bytes).unwrap();
        client
    }

    fn asks(&self) -> TcpStream {
        self.sent(b"GET /requests HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    }

    /// Told to end: what it says of that, and whether it is well.
    fn ends(mut self) -> (String, bool) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        (self.line(), self.child.wait().unwrap().success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: ChildStdout) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    told
}

/// The numbers in a line, in their order.
fn numbers(line: &str) -> Vec<u64> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// In 3 s 500 requests come, of which at the most one in 10 ms is done.
#[test]
fn under_more_load_than_it_can_take_the_server_answers_all_and_drains() {
    let server = Server::start("backpressure");
    let load = example("backpressure_load").arg(server.addr.to_string()).output().unwrap();
    let said = String::from_utf8(load.stdout).unwrap();
    assert!(load.status.success(), "{said}");
    let [done, _, _, _, refused, late, failed] = numbers(&said)[..] else { panic!("{said}") };
    assert_eq!((done + refused + late + failed, failed), (REQUESTS, 0), "each is answered: {said}");
    assert!(done > 0 && refused > 0, "it does what it can, and says no to the rest: {said}");

    let (said, is_well) = server.ends();
    let [did, turned_away, given_up] = numbers(&said)[..] else { panic!("{said}") };
    assert!(is_well && did >= done && turned_away <= refused + late && given_up == 0, "{said}");
}

/// A hundred wait, one is worked on, and who comes then is told when to come back.
#[test]
fn who_is_refused_is_told_when_to_come_back() {
    let server = Server::start("backpressure");
    let clients: Vec<_> = (0..300).map(|_| server.asks()).collect();
    let (mut done, mut refused) = (0, 0);
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        if answer.starts_with("HTTP/1.1 200 OK\r\n") {
            assert!(answer.ends_with('\u{221a}'), "{answer}");
            done += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            let wait = answer.split_once("\r\nretry-after: ").and_then(|(_, rest)| rest.split_once('\r'));
            let seconds = wait.map(|(wait, _)| wait.parse::<u64>().unwrap());
            // One that was begun was not refused: it took too long.
            assert!(
                seconds.is_some_and(|wait| wait > 0) || answer.ends_with("while the job ran"),
                "{answer}"
            );
            refused += 1;
        }
    }
    assert!(done > 0 && done + refused == 300, "{done} done, {refused} refused");
    let (said, is_well) = server.ends();
    assert!(is_well && numbers(&said)[0] == done, "{said}");
}

fn answer(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_request_with_a_body_is_answered_and_a_head_without_an_end_is_no_request() {
    let server = Server::start("backpressure");
    let body = b"POST /requests HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4\r\n\r\nbody";
    assert!(answer(server.sent(body)).starts_with("HTTP/1.1 200 OK\r\n"));
    let long = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'x'; 8192]].concat();
    // What was not read when it was answered may have its connection reset.
    let mut status = [0; 12];
    server.sent(&long[..8192]).read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    for head in [b"".as_slice(), b"GET / HTTP/1.1\r\n", b"GET / HT"] {
        let client = server.sent(head);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(answer(client), "", "who left is not answered, after {head:?}");
    }
    let (said, is_well) = server.ends();
    assert!(is_well && said == "1 done, 0 refused, 0 given up", "{said}");
}

/// A hundred, where 64 buffers may be out: more than that say nothing.
#[test]
fn clients_that_say_nothing_hold_no_buffer() {
    let server = Server::start("leaky_buffer");
    let silent: Vec<_> = (0..100).map(|_| server.sent(b"")).collect();
    let mut line = vec![b'x'; 999];
    line.push(b'\n');
    let talks = server.sent(&line);
    assert_eq!(server.line(), "1000 bytes so far");
    drop((silent, talks));
    let (said, is_well) = server.ends();
    assert!(is_well && said == "1 messages, 1 buffers made for them", "{said}");
}
