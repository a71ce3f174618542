//! End-to-end tests: each folder beside this one is a test program of its own.
