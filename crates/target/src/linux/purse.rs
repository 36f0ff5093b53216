//! What the walk through a kernel's structures may read for one question.
//!
//! *What it is*: lists, trees and tables have bounds of their own, but thousands of them may lead to the same long chain, and
//! each of a million records to the same long text. An honest machine cannot hold more structures than its memory has words,
//! and no question asks for most of them.
//!
//! *Trap*: what is not read looks like what is not in the dump. So a table says when the purse was empty.

use afterimage_dump::Machine;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the image for each word that may be read: a structure is larger, and few are read twice.
const BYTES_A_WORD: u64 = 64;
/// Words that any image may cost: all tables of a small machine together take a million, most of it the ORC of its code.
const LEAST: u64 = 6 << 20;

/// Words that a structure costs at least, once it is looked into.
const WORDS_EACH: u64 = 16;
/// Structures of one kind that any image may have, however large they are said to be.
const FEW: u64 = 1024;

/// Words that may be read, of all structures together.
pub(super) struct Purse {
    left: AtomicU64,
    all: u64,
    present: u64,
}

impl Purse {
    /// As much as an image of this size can honestly need.
    pub(super) fn new(machine: &Machine) -> Self {
        let present = machine.sizes().present;
        let all = (present / BYTES_A_WORD).max(LEAST);
        Self { left: AtomicU64::new(all), all, present }
    }

    /// How many structures of so many bytes there can be at most: they lie side by side in the memory that is there.
    pub(super) fn room(&self, bytes: u64) -> usize {
        let fit = (self.present / bytes.max(1)).max(FEW);
        usize::try_from(fit.min(self.all / WORDS_EACH)).unwrap_or(usize::MAX)
    }

    /// How many nodes one index by numbers may have: their words are a quarter of what there is for a question.
    pub(super) fn share(&self) -> usize {
        const WORDS: u64 = 65;
        usize::try_from(self.all / WORDS / 4).unwrap_or(usize::MAX)
    }

    /// Fills it for another question.
    pub(super) fn refill(&self) {
        self.left.store(self.all, Ordering::Relaxed);
    }

    /// Takes so many words; `false` when there are not as many left.
    pub(super) fn spend(&self, words: u64) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        // Two threads may take the last words together; it is a bound, no account.
        let rest = left.saturating_sub(words);
        self.left.store(rest, Ordering::Relaxed);
        left >= words
    }

    /// Takes the words of so many bytes.
    pub(super) fn spend_bytes(&self, bytes: usize) -> bool {
        self.spend(bytes as u64 / 8 + 1)
    }

    /// Whether nothing more is read.
    pub(super) fn is_empty(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// That more was wanted than there was, in words.
    pub(super) fn spent(&self) -> Option<String> {
        self.is_empty().then(|| {
            format!(
                "more than {} words of the kernel's structures were read, as no sound machine needs: the rest was left out",
                self.all
            )
        })
    }
}
