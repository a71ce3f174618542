# Short names for what is done often. Logic lives in xtask and in cargo, not here.

# What to run before a commit.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo xtask tidy

# Every test of the workspace; as root also those that start containers.
test:
    cargo test --workspace

# Only the libraries' own tests: no root, no containers.
test-lib:
    cargo test --workspace --lib

# What CI runs.
ci: check test

# What a tool can repair.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# Third-party licences, advisories and bans; needs cargo-deny.
deny:
    cargo deny check
