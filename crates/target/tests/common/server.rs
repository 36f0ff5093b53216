//! Servers of files that behave well or badly, for debuginfod and symbol servers alike.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server does with a question.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Gives the file if it has it, else 404.
    Good,
    /// Accepts, and never says a word.
    Silent,
    /// Sends its answer at one byte a second.
    Trickle,
    /// Promises the whole file and closes half-way.
    Truncated,
    /// Sends half of the file, and says that that is all.
    Half,
    /// Fails.
    Broken,
}

/// A server on the loopback address that writes down what it was asked for.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves these files, by path, until the tests end.
    pub fn start(manner: Manner, files: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, files) = (asked.clone(), Arc::new(files));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, files) = (log.clone(), files.clone());
                std::thread::spawn(move || answer(stream, manner, &files, &log));
            }
        });
        Self { url, asked }
    }

    /// None: a port that was free a moment ago, and where nobody listens.
    pub fn dead() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { url: format!("http://{}", listener.local_addr().unwrap()), asked: Arc::default() }
    }

    /// The paths that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, manner: Manner, files: &HashMap<String, Vec<u8>>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(path.clone());
    let mut stream = stream;
    let file = files.get(&path);
    let head = |status: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    let _ = match (manner, file) {
        (Manner::Silent, _) => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        (Manner::Broken, _) => stream.write_all(head("500 Oops", 0).as_bytes()),
        (_, None) => stream.write_all(head("404 Not Found", 0).as_bytes()),
        (Manner::Good, Some(file)) => {
            stream.write_all(head("200 OK", file.len()).as_bytes()).and_then(|()| stream.write_all(file))
        }
        (Manner::Truncated, Some(file)) => stream
            .write_all(head("200 OK", file.len()).as_bytes())
            .and_then(|()| stream.write_all(&file[..file.len() / 2])),
        (Manner::Half, Some(file)) => {
            let head = format!("HTTP/1.1 200 OK\r\nX-DEBUGINFOD-SIZE: {}\r\nConnection: close\r\n\r\n", file.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&file[..file.len() / 2]))
        }
        (Manner::Trickle, Some(file)) => {
            let answer = [head("200 OK", file.len()).as_bytes(), file].concat();
            answer.iter().try_for_each(|byte| {
                std::thread::sleep(Duration::from_secs(1));
                stream.write_all(&[*byte])
            })
        }
    };
}
