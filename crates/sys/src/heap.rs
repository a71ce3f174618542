//! The heap of this process: what was freed goes back to the kernel, also in a program with many threads.

/// Buffers from this size on are mappings of their own, and no more than this is kept at the end of a thread's heap.
#[cfg(target_env = "gnu")]
const KEPT: std::ffi::c_int = 4 << 20;

/// Bounds what is kept of freed memory. By itself the library lets both limits grow to tens of MiB for each heap, after the
/// largest buffer that was ever freed.
pub fn bound() {
    #[cfg(target_env = "gnu")]
    for limit in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: takes numbers and no pointers, and may be called at any time. What it answers is whether it knows the limit.
        let known = unsafe { libc::mallopt(limit, KEPT) };
        debug_assert_eq!(known, 1, "both are limits of glibc's");
    }
}

/// Gives memory that was freed back to the kernel, in whatever small pieces it is: for after work that took much.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number and no pointers, may be called by any thread at any time, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
