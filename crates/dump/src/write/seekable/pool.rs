//! Threads that compress frames, each frame for itself.
//!
//! *What it is not*: it keeps no order. Frames come back as they are done, by number. For example `submit` of the frames 0
//! and 1 to two threads may be followed by a `wait` that gives frame 1.
//!
//! *Trap*: where no thread can be started (a limit of processes, a dying system), the caller's thread compresses. A dump
//! that is written slowly is better than none.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use zstd::zstd_safe::{CParameter, compress_bound};

/// Level for zeros: all make the same blocks of them, and a low one has a small window.
const ZERO_LEVEL: i32 = 1;
/// Time between two looks whether a thread has died.
const PATIENCE: Duration = Duration::from_secs(1);

/// A frame before and after compression. Both buffers are used again.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) raw: Vec<u8>,
    pub(super) packed: Vec<u8>,
}

/// One thread's compressor.
struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    fn new(level: i32) -> io::Result<Self> {
        let mut packer = zstd::bulk::Compressor::new(level)?;
        packer.set_parameter(CParameter::ChecksumFlag(true))?;
        packer.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self(packer))
    }

    fn pack(&mut self, frame: &mut Frame) -> io::Result<()> {
        frame.packed.clear();
        frame.packed.reserve(compress_bound(frame.raw.len()));
        self.0.compress_to_buffer(&frame.raw, &mut frame.packed).map(drop)
    }
}

/// The packed frame of so many zeros. It is made as a stream: compressed at once, a frame's window would be as large as
/// the frame, and every decoder would have to have memory for it.
pub(super) fn zeros(len: usize) -> io::Result<Vec<u8>> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), ZERO_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.include_contentsize(true)?;
    encoder.set_pledged_src_size(Some(len as u64))?;
    let mut left = len;
    while left > 0 {
        let piece = ZEROS.get(..left.min(ZEROS.len())).unwrap_or_default();
        io::Write::write_all(&mut encoder, piece)?;
        left -= piece.len();
    }
    encoder.finish()
}

type Done = (Frame, io::Result<()>);

/// The threads, and the frames on their way there and back.
pub(super) struct Pool {
    level: i32,
    threads: usize,
    workers: Vec<JoinHandle<()>>,
    /// `None` once the threads are told to end.
    todo: Option<Sender<Frame>>,
    todo_end: Arc<Mutex<Receiver<Frame>>>,
    done: Receiver<Done>,
    done_start: Sender<Done>,
    own: Option<Packer>,
}

impl Pool {
    /// A pool of at most so many threads, of which none is started yet.
    pub(super) fn new(level: i32, threads: usize) -> Self {
        let (todo, todo_end) = channel();
        let (done_start, done) = channel();
        let todo_end = Arc::new(Mutex::new(todo_end));
        Self { level, threads, workers: Vec::new(), todo: Some(todo), todo_end, done, done_start, own: None }
    }

    /// Frames that may be under way at once: two for each thread, so that none waits for work, and two more for the
    /// caller. It bounds the memory of it all.
    pub(super) fn in_flight(&self) -> usize {
        2 * self.workers.len() + 2
    }

    /// Has a frame compressed. It comes back at once where the caller's own thread must do it.
    pub(super) fn submit(&mut self, mut frame: Frame, last: bool) -> io::Result<Option<Frame>> {
        if !last && self.threads > 1 && self.workers.len() < self.threads {
            self.start_worker();
        }
        if let Some(todo) = self.todo.as_ref().filter(|_| !self.workers.is_empty()) {
            return todo.send(frame).map(|()| None).map_err(|_| dead());
        }
        if self.own.is_none() {
            self.own = Some(Packer::new(self.level)?);
        }
        if let Some(packer) = &mut self.own {
            packer.pack(&mut frame)?;
        }
        Ok(Some(frame))
    }

    fn start_worker(&mut self) {
        let (todo, done, level) = (self.todo_end.clone(), self.done_start.clone(), self.level);
        match std::thread::Builder::new().name("pack".into()).spawn(move || work(&todo, &done, level)) {
            Ok(worker) => self.workers.push(worker),
            // Those that there are must do, and are not asked for more.
            Err(_) => self.threads = self.workers.len(),
        }
    }

    /// A frame that is done, if there is one.
    pub(super) fn ready(&self) -> io::Result<Option<Frame>> {
        match self.done.try_recv() {
            Ok((frame, result)) => result.map(|()| Some(frame)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(dead()),
        }
    }

    /// Waits for a frame that is done. One must be under way.
    pub(super) fn wait(&self) -> io::Result<Frame> {
        loop {
            match self.done.recv_timeout(PATIENCE) {
                Ok((frame, result)) => return result.map(|()| frame),
                // A thread ends only when it is told to, or by a panic that took its frame along.
                Err(RecvTimeoutError::Timeout) if self.workers.iter().all(|worker| !worker.is_finished()) => {}
                Err(_) => return Err(dead()),
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.todo = None;
        // What no thread has begun is not worth compressing any more.
        while let Ok(todo) = self.todo_end.try_lock() {
            if todo.try_recv().is_err() {
                break;
            }
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("a compressing thread has died")
}

fn work(todo: &Mutex<Receiver<Frame>>, done: &Sender<Done>, level: i32) {
    let mut packer = Packer::new(level);
    loop {
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut frame) = next else { return };
        let result = match &mut packer {
            Ok(packer) => packer.pack(&mut frame),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        if done.send((frame, result)).is_err() {
            return;
        }
    }
}
