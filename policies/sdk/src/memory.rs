//! The allocator of a module: nothing is ever given back, since each decision runs in a fresh instance that the host drops
//! as a whole.
#![allow(unsafe_code)] // A global allocator is an unsafe trait; this one has a single thread and a single direction.

use core::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32,
    ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

const PAGE: usize = 65_536;

/// Hands out memory from the end of the module's data upwards.
struct Bump {
    /// The first free address; zero before the first request.
    next: AtomicUsize,
    /// The end of the memory that the module has.
    end: AtomicUsize,
}

#[global_allocator]
static BUMP: Bump = Bump { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

unsafe extern "C" {
    /// The end of the module's static data; the linker gives the address.
    static __heap_base: u8;
}

impl Bump {
    /// Takes `size` bytes from `start`; none when memory cannot grow that far.
    fn take(&self, start: usize, size: usize) -> Option<()> {
        let next = start.checked_add(size)?;
        let end = self.end.load(Relaxed);
        if next > end {
            let pages = (next - end).div_ceil(PAGE);
            if wasm32::memory_grow(0, pages) == usize::MAX {
                return None;
            }
            self.end.store(end + pages * PAGE, Relaxed);
        }
        self.next.store(next, Relaxed);
        Some(())
    }
}

// SAFETY: every block starts at a fresh, aligned address below the end of memory, so that no two overlap; a module
// has one thread.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut free = self.next.load(Relaxed);
        if free == 0 {
            free = &raw const __heap_base as usize;
            self.end.store(wasm32::memory_size(0) * PAGE, Relaxed);
        }
        let start = (free + layout.align() - 1) & !(layout.align() - 1);
        match self.take(start, layout.size()) {
            Some(()) => start as *mut u8,
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // A list that grows is mostly the newest block: it grows where it stands.
        let start = block as usize;
        if new_size <= layout.size() {
            return block;
        }
        if start + layout.size() == self.next.load(Relaxed) {
            return if self.take(start, new_size).is_some() { block } else { ptr::null_mut() };
        }
        // SAFETY: the new block is at least as long as the old one and does not overlap it.
        unsafe {
            let fresh = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !fresh.is_null() {
                ptr::copy_nonoverlapping(block, fresh, layout.size());
            }
            fresh
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on. Memory above the static data is zero until it is handed out, and it is handed out once.
        unsafe { self.alloc(layout) }
    }
}
