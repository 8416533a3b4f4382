//! A value that is swapped whole: readers go on with the version that they took until they take the next.
//!
//! Promises: taking a version and letting go of it costs a reader the same however big it is. What nobody reads any
//! more is taken apart by whoever stored the next version, or by [`Snapshot::release`]; a reader never does it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

/// A value of which readers keep the version that they took.
#[derive(Debug, Default)]
pub struct Snapshot<T> {
    current: ArcSwap<T>,
    /// Earlier versions that a reader may still have.
    retired: Mutex<Vec<Arc<T>>>,
}

impl<T> Snapshot<T> {
    /// The version now, to be looked at for a moment.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// The version now, to be kept.
    #[must_use]
    pub fn load_full(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Replaces the version, and takes those apart that nobody reads any more.
    pub fn store(&self, next: Arc<T>) {
        let before = self.current.swap(next);
        self.take_apart(Some(before));
    }

    /// Takes earlier versions apart that nobody reads any more. To be called now and then, so that the last one does not
    /// stay until the next is stored.
    pub fn release(&self) {
        self.take_apart(None);
    }

    fn take_apart(&self, before: Option<Arc<T>>) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.extend(before);
        // Readers only take the version now: one that nobody else has, nobody else can get.
        let unused = retired.extract_if(.., |version| Arc::strong_count(version) == 1);
        let unused: Vec<Arc<T>> = unused.collect();
        drop(retired);
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread;

    use super::*;

    thread_local! {
        static FREED: Cell<u32> = const { Cell::new(0) };
    }

    /// Counts with the thread that takes it apart.
    #[derive(Debug, Default)]
    struct Version;

    impl Drop for Version {
        fn drop(&mut self) {
            FREED.set(FREED.get() + 1);
        }
    }

    #[test]
    fn a_reader_takes_nothing_apart() {
        let snapshot = Snapshot::<Version>::default();
        let freed_by_reader = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                for _ in 0..10_000 {
                    drop(snapshot.load());
                    drop(snapshot.load_full());
                }
                FREED.get()
            });
            for _ in 0..10_000 {
                snapshot.store(Arc::default());
            }
            reader.join().unwrap()
        });
        snapshot.release();
        assert_eq!((freed_by_reader, FREED.get()), (0, 10_000));
    }

    #[test]
    fn a_version_lives_as_long_as_it_is_read() {
        let snapshot = Snapshot::<Version>::default();
        let kept = snapshot.load_full();
        snapshot.store(Arc::default());
        snapshot.store(Arc::default());
        assert_eq!(FREED.get(), 1);
        drop(kept);
        assert_eq!(FREED.get(), 1);
        snapshot.release();
        assert_eq!(FREED.get(), 2);
    }
}
