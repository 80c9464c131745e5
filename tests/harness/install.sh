# Sourced by the suites' `run`: what they need besides Rust, installed once. Sets and exports LAKEBED_CLIENTS_CACHE,
# LAKEBED_BIN and $python.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LAKEBED_CLIENTS_CACHE=${LAKEBED_CLIENTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lakebed/clients}
mkdir -p "$LAKEBED_CLIENTS_CACHE"

say() { echo "$(basename "$(dirname "$0")"): $*" >&2; }

# command=package …: those that are missing, if this user may install packages. What stays missing is skipped by name.
install_packages() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "not installed, and this user cannot: ${missing[*]}"
        return 0
    fi
    say "installing ${missing[*]}"
    apt-get update -qq >/dev/null || true
    for pair in "${missing[@]}"; do
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$pair" >/dev/null 2>&1 ||
            say "apt-get could not install $pair"
    done
}

install_python() {
    local venv=$LAKEBED_CLIENTS_CACHE/venv wanted=$root/tests/harness/requirements.txt
    python=$venv/bin/python
    cmp -s "$wanted" "$venv/installed" && return 0
    command -v python3 >/dev/null && python3 -c 'import ensurepip' 2>/dev/null ||
        install_packages python3=python3 no-such-command=python3-venv
    say "installing Python clients into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$venv/installed"
}

build_binary() {
    if [ -z "${LAKEBED_BIN:-}" ]; then
        (cd "$root" && cargo build --quiet -p lakebed)
        LAKEBED_BIN=${CARGO_TARGET_DIR:-$root/target}/debug/lakebed
    fi
    export LAKEBED_BIN
}
