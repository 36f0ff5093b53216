//! One plain HTTP/1.1 request, bounded in time and size: is there a status line, and is it below 500?
//!
//! *What it is not*: no HTTP client. It follows no redirection (a server that redirects is alive) and reads no body.

use super::super::HttpUrl;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// No status line is longer.
const LONGEST_LINE: usize = 4096;
/// Of the addresses of a name so many are tried.
const ADDRESSES: usize = 4;

/// Asks; `Err` says in words why the answer counts as a failure.
pub(super) fn get(url: &HttpUrl, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    let late = || format!("no answer within {}", crate::watch::time_words(timeout));
    let mut stream = connect(url, deadline, &late)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: afterimage/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority,
        env!("CARGO_PKG_VERSION")
    );
    let lost = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => late(),
        _ => format!("the connection was lost: {error}"),
    };
    stream.set_write_timeout(Some(left(deadline).ok_or_else(late)?)).map_err(lost)?;
    stream.write_all(request.as_bytes()).map_err(lost)?;
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < LONGEST_LINE {
        // Anew each time: a server that sends a byte a second must not hold us for ever.
        stream.set_read_timeout(Some(left(deadline).ok_or_else(late)?)).map_err(lost)?;
        let mut part = [0; 512];
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => line.extend_from_slice(part.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(lost(error)),
        }
    }
    match status(&line) {
        Some(status) if status < 500 => Ok(()),
        Some(status) => Err(format!("status {status}")),
        None if line.is_empty() => Err("the connection was closed without an answer".to_owned()),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

fn connect(url: &HttpUrl, deadline: Instant, late: &dyn Fn() -> String) -> Result<TcpStream, String> {
    let addresses = (url.host.as_str(), url.port).to_socket_addrs();
    let addresses = addresses.map_err(|error| format!("`{}` cannot be looked up: {error}", url.host))?;
    let mut last = format!("`{}` has no address", url.host);
    for address in addresses.take(ADDRESSES) {
        match TcpStream::connect_timeout(&address, left(deadline).ok_or_else(late)?) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => last = late(),
            Err(error) => last = format!("cannot connect: {error}"),
        }
    }
    Err(last)
}

/// `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Option<u16> {
    let line = line.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_whitespace();
    words.next().filter(|word| word.starts_with("HTTP/"))?;
    words.next()?.parse().ok().filter(|status| (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        assert_eq!(status(b"HTTP/1.1 503 Service Unavailable\r\nX: y\r\n"), Some(503));
        assert_eq!(status(b"HTTP/1.0 204\r\n"), Some(204));
        for wrong in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 abc\r\n", b"", b"\xff\xfe"] {
            assert_eq!(status(wrong), None);
        }
    }
}
