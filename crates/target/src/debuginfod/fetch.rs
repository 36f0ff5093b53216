//! One round of downloads: every file from every server at once, the first good answer wins, the deadline is hard.
//!
//! *Trap*: an answer is only believed when it is an ELF file with the very build-id, whole by the server's own count.

use super::{Key, cache, lock, url};
use crate::files::{ElfFile, map};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Connections to one server at a time.
const PER_SERVER: usize = 24;
/// The largest file that is taken from a server.
const MAX_FILE: u64 = 8 << 30;

/// What is asked for, of whom, until when.
pub(super) struct Round<'a> {
    pub(super) urls: &'a [String],
    pub(super) cache: Option<&'a Path>,
    pub(super) dead: Arc<Mutex<HashSet<String>>>,
    pub(super) deadline: Instant,
}

/// Shared with the threads; outlives the round if they do.
struct Shared {
    cache: Option<PathBuf>,
    deadline: Instant,
    dead: Arc<Mutex<HashSet<String>>>,
    /// The caller has gone on: nothing may be published any more.
    over: AtomicBool,
    /// Files that have come already.
    done: Mutex<HashSet<Key>>,
    /// Unfinished files, for the caller to remove when it goes on.
    unfinished: Mutex<HashSet<PathBuf>>,
}

enum Answer {
    Came(Key, Arc<ElfFile>),
    Missing,
    Failed(String),
}

impl Round<'_> {
    /// Fetches what it can; gives the files that came, and one complaint for each server that failed.
    pub(super) fn run(&self, keys: Vec<Key>) -> (HashMap<Key, Arc<ElfFile>>, Vec<String>) {
        let shared = Arc::new(Shared {
            cache: self.cache.map(Path::to_owned),
            deadline: self.deadline,
            dead: self.dead.clone(),
            over: AtomicBool::new(false),
            done: Mutex::default(),
            unfinished: Mutex::default(),
        });
        let (send, receive) = mpsc::channel();
        let mut open: HashMap<&str, usize> = HashMap::new();
        for server in self.urls {
            let asks = |key: &&Key| !self.cache.is_some_and(|cache| cache::is_missing(cache, server, key));
            let queue: VecDeque<Key> = keys.iter().filter(asks).cloned().collect();
            if queue.is_empty() || lock(&self.dead).contains(server) || open.contains_key(server.as_str()) {
                continue;
            }
            open.insert(server, queue.len());
            let threads = queue.len().min(PER_SERVER);
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..threads {
                let (shared, queue, server, send) = (shared.clone(), queue.clone(), server.clone(), send.clone());
                let worker = std::thread::Builder::new().name("debuginfod".to_owned()).stack_size(512 << 10);
                // A system without threads to spare goes without debuginfod.
                let _ = worker.spawn(move || {
                    while let Some(key) = next(&queue) {
                        let answer = shared.ask(&server, key);
                        if send.send((server.clone(), answer)).is_err() {
                            return;
                        }
                    }
                });
            }
        }
        drop(send);
        let mut came = HashMap::new();
        let mut complaints = Vec::new();
        while came.len() < keys.len() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match receive.recv_timeout(left) {
                Ok((server, answer)) => {
                    if let Some(count) = open.get_mut(server.as_str()) {
                        *count = count.saturating_sub(1);
                    }
                    match answer {
                        Answer::Came(key, file) => {
                            came.entry(key).or_insert(file);
                        }
                        Answer::Missing => {}
                        Answer::Failed(why) => {
                            let text = complaint(&server, &why);
                            if !complaints.contains(&text) {
                                complaints.push(text);
                            }
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    for (server, _) in open.iter().filter(|(_, count)| **count > 0) {
                        lock(&self.dead).insert((*server).to_owned());
                        complaints.push(complaint(server, LATE));
                    }
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        shared.close();
        complaints.sort_unstable();
        (came, complaints)
    }
}

const LATE: &str = "it did not answer in time";

fn complaint(server: &str, why: &str) -> String {
    format!("debuginfod server {server} gave no usable answer: {why}")
}

fn next(queue: &Mutex<VecDeque<Key>>) -> Option<Key> {
    lock(queue).pop_front()
}

impl Shared {
    /// The caller goes on without the rest.
    fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
        for path in lock(&self.unfinished).drain() {
            let _ = std::fs::remove_file(path);
        }
    }

    fn is_over(&self, key: &Key) -> bool {
        self.over.load(Ordering::SeqCst) || Instant::now() >= self.deadline || lock(&self.done).contains(key)
    }

    fn ask(&self, server: &str, key: Key) -> Answer {
        if self.is_over(&key) || lock(&self.dead).contains(server) {
            return Answer::Missing;
        }
        match self.download(server, &key) {
            Ok(Some(file)) => {
                lock(&self.done).insert(key.clone());
                Answer::Came(key, Arc::new(file))
            }
            Ok(None) | Err(Failure::GivenUp) if Instant::now() >= self.deadline => {
                lock(&self.dead).insert(server.to_owned());
                Answer::Failed(LATE.to_owned())
            }
            // Given up, because another server was faster.
            Ok(None) | Err(Failure::GivenUp) => Answer::Missing,
            Err(failure) => {
                if let Some(cache) = self.cache.as_ref().filter(|_| failure.is_lasting()) {
                    cache::remember_missing(cache, server, &key);
                }
                match failure {
                    Failure::NotThere | Failure::GivenUp => Answer::Missing,
                    Failure::Unreachable(why) => {
                        lock(&self.dead).insert(server.to_owned());
                        Answer::Failed(why)
                    }
                    Failure::Bad(why) | Failure::Local(why) => Answer::Failed(why),
                }
            }
        }
    }

    /// Gets one file into the cache, or into a file without a name.
    fn download(&self, server: &str, key: &Key) -> Result<Option<ElfFile>, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(left))
            .http_status_as_error(false)
            .max_redirects(5)
            .user_agent(concat!("afterimage/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let address = url(server, key);
        let response = agent.get(&address).call().map_err(|error| self.judge(key, &error))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Err(Failure::NotThere),
            status => return Err(Failure::Bad(format!("it answered with status {status}"))),
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        // With gzip the length is that of the packed bytes; the server's own header counts the file.
        let packed = response.headers().contains_key("content-encoding");
        let size = header("x-debuginfod-size").or_else(|| header("content-length").filter(|_| !packed));
        let place = self.cache.as_ref().map(|cache| cache::place(cache, key));
        let folder = place.as_ref().and_then(|place| place.parent());
        let local = |error: std::io::Error| Failure::Local(format!("cannot write to the cache: {error}"));
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".afterimage-").suffix(".part");
        let mut file = match folder {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(local)?;
                builder.tempfile_in(folder).map_err(local)?
            }
            None => builder.tempfile().map_err(local)?,
        };
        lock(&self.unfinished).insert(file.path().to_owned());
        let forget = |path: &Path| lock(&self.unfinished).remove(path);
        let mut body = response.into_body().into_with_config().limit(MAX_FILE).reader();
        let mut block = vec![0u8; 64 << 10];
        let mut total = 0u64;
        loop {
            if self.is_over(key) {
                forget(file.path());
                return Ok(None);
            }
            let got = body.read(&mut block).map_err(|error| {
                forget(file.path());
                let in_time = Instant::now() < self.deadline;
                if in_time { Failure::Bad(format!("the file broke off: {error}")) } else { Failure::GivenUp }
            })?;
            if got == 0 {
                break;
            }
            total += got as u64;
            file.write_all(block.get(..got).unwrap_or_default()).map_err(local)?;
        }
        forget(file.path());
        if size.is_some_and(|size| size != total) {
            let size = size.unwrap_or_default();
            return Err(Failure::Bad(format!("the file broke off after {total} of {size} bytes")));
        }
        let blob = map::of_file(file.as_file()).ok_or_else(|| Failure::Bad("the file is empty".to_owned()))?;
        let shown = place.clone().unwrap_or_else(|| PathBuf::from(&address));
        let elf = ElfFile::new(shown, blob).ok_or_else(|| Failure::Bad("what it sent is no ELF file".to_owned()))?;
        if elf.object.build_id() != Some(key.0.as_slice()) {
            return Err(Failure::Bad("what it sent has another build-id".to_owned()));
        }
        if self.is_over(key) {
            return Ok(None);
        }
        if let Some(place) = place {
            // The rename is what publishes it: readers see the whole file or none.
            file.persist(place).map_err(|error| local(error.error))?;
        }
        Ok(Some(elf))
    }

    fn judge(&self, key: &Key, error: &ureq::Error) -> Failure {
        match error {
            _ if self.is_over(key) => Failure::GivenUp,
            ureq::Error::Timeout(_) => Failure::GivenUp,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => Failure::Unreachable(error.to_string()),
            ureq::Error::Io(io) => Failure::Unreachable(io.to_string()),
            other => Failure::Bad(other.to_string()),
        }
    }
}

/// Why a file did not come.
enum Failure {
    /// The server does not have it.
    NotThere,
    /// The time was over, or another server was faster.
    GivenUp,
    /// Nobody answers.
    Unreachable(String),
    /// The answer is of no use.
    Bad(String),
    /// This machine's own fault.
    Local(String),
}

impl Failure {
    /// Whether asking again within the hour is a waste.
    fn is_lasting(&self) -> bool {
        !matches!(self, Self::GivenUp | Self::Local(_))
    }
}
