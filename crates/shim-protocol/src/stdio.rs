//! Docker's stream header.
