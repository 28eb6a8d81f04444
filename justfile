# The only gate: what must pass before a change lands.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo nextest run

# Tests by name: `just test admin`.
test *filter:
    cargo nextest run {{filter}}

# Rewrites golden files and generated tables; read the diff.
update:
    UPDATE=1 cargo nextest run

# A throw-away instance that shows the whole journey.
run:
    cargo run -- demo

# Licences, advisories and banned crates.
deny:
    cargo deny check

# Unit file: valid, and boxed in well enough (exposure at most 1.5).
unit:
    mkdir -p target && sed 's#/usr/bin/dropchute #/bin/true #' systemd/dropchute.service > target/dropchute.service
    systemd-analyze verify target/dropchute.service
    systemd-analyze security --offline=true --threshold=15 --no-pager systemd/dropchute.service

release:
    cargo build --release --locked
