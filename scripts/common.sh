#!/bin/sh
# What the other scripts share: saying what happens, and getting what they need. To be sourced.

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need PROGRAM:PACKAGE ...: installs the Debian packages whose programs are missing.
need() {
    missing=
    for pair in "$@"; do
        # Debian keeps what only root uses in sbin.
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 || die "these programs are missing and there is no apt-get to install them:$missing"
    [ "$(id -u)" = 0 ] || die "run as root once, or install yourself: apt-get install$missing"
    say "installing:$missing"
    log=$(mktemp)
    # RUNLEVEL: installing nginx or docker.io must not start them as services.
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "apt-get could not install:$missing"
    fi
    rm -f "$log"
}

# toolchain: puts cargo into PATH, or says the one line that gets it.
toolchain() {
    command -v cargo >/dev/null 2>&1 || PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null 2>&1 || die "no Rust toolchain. This line gets it:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default"
}

# root_needed WHY: ends here where the caller is not root.
root_needed() { [ "$(id -u)" = 0 ] || die "must run as root: $*"; }
