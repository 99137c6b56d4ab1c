//! One request before the load: whether a program is there yet, and answers as the upstream would.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::process::Process;
use crate::error::Error;
use crate::stop::Stop;

/// How often a program that was just started is asked, and how many times: 10 s and more.
const PATIENCE: (u32, Duration) = (200, Duration::from_millis(50));
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Waits until `process` answers on `port` with status 200 and `body`.
///
/// # Errors
/// It ended, or did not answer so in time; with what it said.
pub(crate) fn until_ready(process: &mut Process, port: u16, body: &str, stop: &Stop) -> Result<(), Error> {
    let mut why = String::new();
    let ready = stop.poll(PATIENCE.0, PATIENCE.1, || {
        process.check()?;
        why = match ask(port) {
            Err(e) => e.to_string(),
            Ok(answer) => match judge(&answer, body) {
                Ok(()) => return Ok(Some(())),
                Err(e) => e,
            },
        };
        Ok(None)
    })?;
    ready.ok_or_else(|| Error::NotReady { name: process.name().into(), port, why, said: process.said() })
}

fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(answer: &str, body: &str) -> Result<(), String> {
    let (head, rest) = answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        Err(format!("it answered `{status}`"))
    } else if rest != body {
        Err(format!("its body is {} bytes of something else", rest.len()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_upstreams_answer_is_good() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", "body"), Ok(()));
        assert!(judge("HTTP/1.1 200 OK\r\n\r\nother", "body").is_err());
        assert!(judge("HTTP/1.1 502 Bad Gateway\r\n\r\nbody", "body").unwrap_err().contains("502"));
        assert!(judge("", "body").is_err());
    }
}
