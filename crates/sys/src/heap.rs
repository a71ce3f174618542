//! The heap of this process.

/// Gives memory that was freed back to the kernel. A program that has threads otherwise keeps it, in pieces that it may never
/// need again: for after work that took much.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number and no pointers, may be called by any thread at any time, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
