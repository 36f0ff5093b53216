//! One round of downloads from symbol servers: several files at once, the servers of each in order, a hard deadline.
//!
//! *Trap*: threads that wait on a server cannot be stopped. They are left behind when the time is over, and can no longer
//! publish anything: a file gets its name in the cache by renaming, and only while the round lasts.

use super::path::Server;
use super::{PACKED, lock, packed_name};
use crate::files::{Finder, map};
use afterimage_symbols::{Pdb, PeImage};
use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Files that are asked for at a time.
const AT_ONCE: usize = 8;
/// The largest file that is taken; the PDB of a large browser has 4 GB.
const MAX_FILE: u64 = 8 << 30;
/// The longest `file.ptr`.
const MAX_POINTER: u64 = 64 << 10;

/// A file that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) module: usize,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) pdb: bool,
}

/// What a file turned out to be.
pub(super) enum What {
    Image(Arc<PeImage>),
    Pdb(Arc<Pdb>),
}

/// A file that came.
pub(super) struct Came {
    pub(super) module: usize,
    pub(super) path: PathBuf,
    pub(super) what: What,
}

/// Whom to ask until when.
pub(super) struct Round<'a> {
    pub(super) finder: &'a Finder,
    pub(super) dead: Arc<Mutex<HashSet<String>>>,
    pub(super) deadline: Instant,
}

/// Shared with the threads; outlives the round if they do.
struct Shared {
    servers: Vec<Server>,
    dead: Arc<Mutex<HashSet<String>>>,
    deadline: Instant,
    over: AtomicBool,
    queue: Mutex<VecDeque<Job>>,
    unfinished: Mutex<HashSet<PathBuf>>,
}

enum Answer {
    Came(Came),
    Missing,
    Complaint(String),
}

/// Why a file did not come.
enum Failure {
    NotThere,
    GivenUp,
    Unreachable(String),
    Bad(String),
}

impl Round<'_> {
    /// Fetches what it can; gives the files that came, and complaints.
    pub(super) fn run(&self, jobs: Vec<Job>) -> (Vec<Came>, Vec<String>) {
        let shared = Arc::new(Shared {
            servers: self.finder.symbol_path.servers().cloned().collect(),
            dead: self.dead.clone(),
            deadline: self.deadline,
            over: AtomicBool::new(false),
            queue: Mutex::new(jobs.iter().cloned().collect()),
            unfinished: Mutex::default(),
        });
        let (send, receive) = mpsc::channel();
        for _ in 0..jobs.len().min(AT_ONCE) {
            let (shared, send) = (shared.clone(), send.clone());
            let worker = std::thread::Builder::new().name("symbols".to_owned()).stack_size(512 << 10);
            let _ = worker.spawn(move || {
                loop {
                    let job = lock(&shared.queue).pop_front();
                    let Some(job) = job else { return };
                    for answer in shared.fetch(&job) {
                        if send.send(answer).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        drop(send);
        let (mut came, mut complaints) = (Vec::new(), Vec::new());
        loop {
            match receive.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(Answer::Came(file)) => came.push(file),
                Ok(Answer::Missing) => {}
                Ok(Answer::Complaint(text)) => complaints.push(text),
                Err(RecvTimeoutError::Timeout) => {
                    complaints.push("the symbol servers did not answer in time: some symbols are missing".to_owned());
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        shared.over.store(true, Ordering::SeqCst);
        for path in lock(&shared.unfinished).drain() {
            let _ = std::fs::remove_file(path);
        }
        complaints.sort_unstable();
        complaints.dedup();
        (came, complaints)
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst) || Instant::now() >= self.deadline
    }

    /// Asks the servers in order; the first good answer wins.
    fn fetch(&self, job: &Job) -> Vec<Answer> {
        let mut answers = Vec::new();
        for server in &self.servers {
            if self.is_over() || lock(&self.dead).contains(&server.url) {
                continue;
            }
            let complaint = |why: String| {
                Answer::Complaint(format!("symbol server {} gave no usable {}: {why}", server.url, job.name))
            };
            match self.from(server, job) {
                Ok(file) => {
                    answers.push(Answer::Came(file));
                    return answers;
                }
                Err(Failure::NotThere | Failure::GivenUp) => {}
                Err(Failure::Unreachable(why)) => {
                    lock(&self.dead).insert(server.url.clone());
                    answers.push(complaint(why));
                }
                Err(Failure::Bad(why)) => answers.push(complaint(why)),
            }
        }
        if answers.is_empty() {
            answers.push(Answer::Missing);
        }
        answers
    }

    fn from(&self, server: &Server, job: &Job) -> Result<Came, Failure> {
        let folder = format!("{}/{}/{}", server.url, escaped(&job.name), escaped(&job.id));
        match self.download(&format!("{folder}/{}", escaped(&job.name)), server, job) {
            Err(Failure::NotThere) => {}
            other => return other,
        }
        if let Some(packed) = packed_name(&job.name)
            && self.open(&format!("{folder}/{}", escaped(&packed))).is_ok()
        {
            return Err(Failure::Bad(format!("it has only {packed}, {PACKED}")));
        }
        // Where the store keeps the file elsewhere, it says so in a text.
        let mut text = String::new();
        let response = self.open(&format!("{folder}/file.ptr"))?;
        let body = response.into_body().into_with_config().limit(MAX_POINTER).reader();
        body.take(MAX_POINTER).read_to_string(&mut text).map_err(|error| Failure::Bad(format!("file.ptr: {error}")))?;
        let target = text.trim().trim_start_matches("PATH:").trim().to_owned();
        if target.starts_with("http://") || target.starts_with("https://") {
            return self.download(&target, server, job);
        }
        let shown: String = target.chars().filter(|c| !c.is_control()).take(200).collect();
        Err(Failure::Bad(format!("its file.ptr leads to {shown}, which is no address of a server")))
    }

    fn open(&self, url: &str) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(left))
            .http_status_as_error(false)
            .max_redirects(5)
            // Microsoft's server answers only to what calls itself by the name of its own client.
            .user_agent(concat!(
                "Microsoft-Symbol-Server/10.0 (compatible; afterimage/",
                env!("CARGO_PKG_VERSION"),
                ")"
            ))
            .build()
            .into();
        let response = agent.get(url).call().map_err(|error| match error {
            _ if self.is_over() => Failure::GivenUp,
            ureq::Error::Timeout(_) => Failure::GivenUp,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => Failure::Unreachable(error.to_string()),
            ureq::Error::Io(io) => Failure::Unreachable(io.to_string()),
            other => Failure::Bad(other.to_string()),
        })?;
        match response.status().as_u16() {
            200 => Ok(response),
            404 | 410 => Err(Failure::NotThere),
            status => Err(Failure::Bad(format!("it answered with status {status}"))),
        }
    }

    /// Gets one file into the cache, or into a file without a name.
    fn download(&self, url: &str, server: &Server, job: &Job) -> Result<Came, Failure> {
        let response = self.open(url)?;
        let packed = response.headers().contains_key("content-encoding");
        let length =
            response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let length = length.filter(|_| !packed);
        let local = |error: std::io::Error| Failure::Bad(format!("cannot write to the cache: {error}"));
        let place = server.cache.as_ref().map(|cache| cache.join(&job.name).join(&job.id).join(&job.name));
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".afterimage-").suffix(".part");
        let mut file = match place.as_ref().and_then(|place| place.parent()) {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(local)?;
                builder.tempfile_in(folder).map_err(local)?
            }
            None => builder.tempfile().map_err(local)?,
        };
        lock(&self.unfinished).insert(file.path().to_owned());
        let copied = self.copy(response, file.as_file_mut());
        lock(&self.unfinished).remove(file.path());
        let total = copied?;
        if let Some(length) = length.filter(|&length| length != total) {
            return Err(Failure::Bad(format!("the file broke off after {total} of {length} bytes")));
        }
        let blob = map::of_file(file.as_file()).ok_or_else(|| Failure::Bad("the file is empty".to_owned()))?;
        let what = judge(job, blob)?;
        if self.is_over() {
            return Err(Failure::GivenUp);
        }
        let path = place.clone().unwrap_or_else(|| PathBuf::from(url));
        if let Some(place) = place {
            // The rename is what publishes it: readers see the whole file or none.
            file.persist(&place as &Path).map_err(|error| local(error.error))?;
        }
        Ok(Came { module: job.module, path, what })
    }

    fn copy(&self, response: ureq::http::Response<ureq::Body>, file: &mut std::fs::File) -> Result<u64, Failure> {
        let mut body = response.into_body().into_with_config().limit(MAX_FILE).reader();
        let mut block = vec![0u8; 64 << 10];
        let mut total = 0u64;
        loop {
            if self.is_over() {
                return Err(Failure::GivenUp);
            }
            let got = body.read(&mut block).map_err(|error| match self.is_over() {
                true => Failure::GivenUp,
                false => Failure::Bad(format!("the file broke off: {error}")),
            })?;
            if got == 0 {
                return Ok(total);
            }
            total += got as u64;
            let bytes = block.get(..got).unwrap_or_default();
            file.write_all(bytes).map_err(|error| Failure::Bad(format!("cannot write to the cache: {error}")))?;
        }
    }
}

/// What came, if it is what was asked for.
fn judge(job: &Job, blob: afterimage_symbols::Blob) -> Result<What, Failure> {
    let bad = |why: &str| Failure::Bad(why.to_owned());
    if job.pdb {
        let pdb = Pdb::parse(blob).map_err(|_| bad("what it sent is no PDB"))?;
        if !pdb.has_id(&job.id) {
            return Err(bad("what it sent has another identity"));
        }
        return Ok(What::Pdb(Arc::new(pdb)));
    }
    let image = PeImage::of_file(blob).map_err(|_| bad("what it sent is no PE file"))?;
    if !image.code_id().eq_ignore_ascii_case(&job.id) {
        return Err(bad("what it sent has another link time or size"));
    }
    Ok(What::Image(Arc::new(image)))
}

/// A part of a URL: all but plain letters, digits and a few signs as `%xx`.
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_addresses_are_escaped() {
        assert_eq!(escaped("my app.pdb"), "my%20app.pdb");
        assert_eq!(escaped("a/../b?c#d"), "a%2F..%2Fb%3Fc%23d");
        assert_eq!(packed_name("ntdll.pdb").as_deref(), Some("ntdll.pd_"));
    }
}
