//! From pins to the store: many files at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result};

use crate::store::http::Client;
use crate::store::location::Location;
use crate::store::{Expected, Store};

/// Files that are fetched at the same time: enough to keep a line busy, few enough for a mirror.
const AT_ONCE: usize = 8;

/// A file that a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is, for messages.
    pub what: String,
    /// Size and SHA-256.
    pub expected: Expected,
    /// Where it may be, in order.
    pub places: Vec<Location>,
}

/// Those of `items` that the store lacks, each once. Does not read what is there.
pub fn missing<'a>(store: &Store, items: &'a [Item]) -> Vec<&'a Item> {
    let mut missing: Vec<_> = items.iter().filter(|item| !store.holds(&item.expected)).collect();
    missing.sort_by_key(|item| item.expected);
    missing.dedup_by_key(|item| item.expected);
    missing
}

/// Fetches all of `items` that the store lacks. `progress` hears how many bytes of all that was
/// missing are there.
///
/// # Errors
/// One cannot be had. What was fetched by then stays.
pub fn fetch(
    store: &Store,
    client: &Client,
    items: &[Item],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let missing = missing(store, items);
    let (next, done, failure) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(None));
    let work = || {
        while let Some(item) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = one(store, client, item, &done, progress) {
                next.store(missing.len(), Ordering::Relaxed); // the others need not begin more
                *lock(&failure) = Some(error);
                return;
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE.min(missing.len())).for_each(|_| drop(scope.spawn(work))));
    lock(&failure).take().map_or(Ok(()), Err)
}

fn one(
    store: &Store,
    client: &Client,
    item: &Item,
    done: &AtomicU64,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let so_far = AtomicU64::new(0);
    let report = |there: u64| {
        // A transfer that begins anew takes its bytes back; wrapping addition subtracts.
        let before = so_far.swap(there, Ordering::Relaxed);
        let delta = there.wrapping_sub(before);
        progress(done.fetch_add(delta, Ordering::Relaxed).wrapping_add(delta));
    };
    let fetched = client.fetch(store, item.expected, &item.places, &report);
    fetched.with_context(|| format!("cannot fetch {}", item.what))?;
    report(item.expected.size);
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
