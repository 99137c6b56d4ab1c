//! A server that says no when its workers are behind: a well-known example of backpressure in Go, put right.
//!
//! `cargo run -p sluicegate --example backpressure`, then in another terminal
//! `cargo run -p sluicegate --example backpressure_load`, or `curl -i http://127.0.0.1:9000/requests`. Both take another address as their
//! argument.
//!
//! As there, one worker takes 10 ms for each request and a hundred may wait. What was wrong there:
//! * It looks whether the channel is full, and sends then: in between others may fill it, and the handler blocks. Here submitting *is* asking.
//! * A worker that panics is gone, and every later request waits for ever. Here a panic costs its own request.
//! * A client that has left leaves nobody at its channel: the worker blocks there. Here dropping the handler takes its job out of the line,
//!   or stops it.
//! * A hundred that wait are a second of waiting, however long the overload lasts, and who waits longer than its client does is worked on
//!   all the same. Here a job has a deadline, and a line that stands is cut short.
//! * Who is refused is not told when to come back, nor by a status that says so. Here it is 503, with `Retry-After` by how fast the line
//!   drains.
//! * Clients and the time that a head takes are unbounded. Here they are not, and who leaves before its head is whole costs no worker.
//! * It never ends. Here it drains on Ctrl-C: what was admitted is done, and the answers are sent.
#![expect(clippy::print_stdout, reason = "a program that says where it listens, and what came of its jobs")]

use std::io;
use std::pin::pin;
use std::time::Duration;

use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::failure::Failure;
use sluicegate::queue::{self, Codel, Entry};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate::workers::{JobError, Settings, Workers};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What one request takes, in nanoseconds.
const WORK: u64 = 10_000_000;
/// No head of a request is longer.
const HEAD: u64 = 8192;
/// No more are heard at once; others wait to be accepted.
const CLIENTS: usize = 10_000;
/// A client waits for so long, and no longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long answers may take to be sent at the end, in nanoseconds.
const LAST: u64 = 1_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ms = Duration::from_millis;
    // A target of twice what one takes: there is one worker.
    let line = queue::Settings::new(100).with_codel(Codel::new(ms(20), ms(40), ms(200))?);
    let time = TokioTime::new();
    let workers = Workers::start(Settings::new(1, line)?.with_longest(PATIENCE)?, time);
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let mut ctrl_c = pin!(tokio::signal::ctrl_c());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < CLIENTS => {
                let (client, _) = accepted?;
                clients.spawn(answer(workers.clone(), client));
            }
            // Nobody keeps those who are done.
            Some(_) = clients.join_next() => {}
            _ = &mut ctrl_c => break,
        }
    }
    // What was admitted is still done, as far as there is time, and told to whoever waits for it.
    let drained = workers.drain(Duration::from_secs(5)).await;
    let sent = async { while clients.join_next().await.is_some() {} };
    let _ = CancelToken::expiring(time, time.now() + LAST).run(sent).await;
    let standing = workers.standing();
    println!("{} done, {} refused, {} given up", standing.done, standing.refused, drained.given_up);
    Ok(())
}

/// Reads a request, and answers when it is done or turned away.
async fn answer(workers: Workers, client: TcpStream) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let time = TokioTime::new();
    let head = match CancelToken::expiring(time, time.now() + nanos(PATIENCE)).run(head(&mut client)).await {
        Ok(head) => head?,
        Err(_) => Head::Late,
    };
    let turned_away = match head {
        Head::Whole => None,
        Head::TooLong => Some("431 Request Header Fields Too Large"),
        Head::Late => Some("408 Request Timeout"),
        Head::Gone => return Ok(()),
    };
    if let Some(status) = turned_away {
        return client.write_all(render(status, "", "").as_bytes()).await;
    }
    let job = workers.submit_as(Entry::new(move |_| async move {
        time.sleep_for(WORK).await;
        Ok::<_, Failure>("\u{221a}")
    }));
    let answer = match job {
        Ok(job) => {
            tokio::select! {
                done = job => done.map_or_else(|error| refusal(&error), |made| render("200 OK", "", made)),
                // A client that has left is not worked for.
                () = gone(&mut client) => return Ok(()),
            }
        }
        Err(why) => refusal(&JobError::Shed(why)),
    };
    client.write_all(answer.as_bytes()).await
}

/// How a request's head ended.
enum Head {
    Whole,
    TooLong,
    Late,
    Gone,
}

async fn head(client: &mut BufReader<TcpStream>) -> io::Result<Head> {
    let mut head = client.take(HEAD);
    let mut line = Vec::new();
    loop {
        line.clear();
        head.read_until(b'\n', &mut line).await?;
        match line.as_slice() {
            b"\r\n" | b"\n" => return Ok(Head::Whole),
            [.., b'\n'] => {}
            _ if head.limit() == 0 => return Ok(Head::TooLong),
            _ => return Ok(Head::Gone),
        }
    }
}

/// Until the client sends nothing any more. A body is read and not looked at; who only shuts its own half down has left too, as
/// for most servers.
async fn gone(client: &mut BufReader<TcpStream>) {
    while let Ok(bytes) = client.fill_buf().await
        && !bytes.is_empty()
    {
        let read = bytes.len();
        client.consume(read);
    }
}

/// Why not, and when to come back.
fn refusal(error: &JobError) -> String {
    let wait = match error {
        JobError::Shed(why) => why.retry_after(),
        _ => None,
    };
    // Whole seconds, none too early.
    let seconds = wait.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
    let field = seconds.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
    render("503 Service Unavailable", &field, &error.to_string())
}

fn render(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
