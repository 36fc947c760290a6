#!/usr/bin/env bash
# Makes .venv with the pinned packages and sees to the system libraries that rendering without a screen needs.
# Promises: a second call with nothing changed takes well under a second; a step that can't be done ends with one line that says what to
# do and a non-zero exit; system packages are installed only where that needs no password.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python3}
stamp=.venv/.installed
log=build/install.log
gl_packages=(libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0)

say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a command with its output in the log; a line every 15 s says that it is alive; its last lines are shown if it fails.
quietly() {
    local what=$1 start=$SECONDS next=15 before pid
    shift
    say "$what"
    before=$(wc -l <"$log")
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - start >= next)); then
            printf '   still at it, %d s, .venv holds %s\n' "$((SECONDS - start))" "$(du -sh .venv 2>/dev/null | cut -f1)"
            next=$((next + 15))
        fi
    done
    trap - INT TERM
    if ! wait "$pid"; then
        tail -n "+$((before + 1))" "$log" | tail -n 25 >&2
        die "$what: failed; the whole log is in $log"
    fi
}

# Installs Debian packages where no password is needed, otherwise says the one line that would.
need_packages() {
    local why=$1 as_root=()
    shift
    if ! command -v apt-get >/dev/null; then
        die "$why; install what your system calls: $*"
    fi
    if ((EUID != 0)); then
        sudo -n true 2>/dev/null || die "$why; run: sudo apt-get install -y $*"
        as_root=(sudo -n)
    fi
    quietly "$why: installing $*" "${as_root[@]}" sh -c \
        "export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get install -y --no-install-recommends $*"
}

command -v "$python" >/dev/null || die "no $python here; install Python 3.10 or newer (apt: python3 python3-venv)"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$python is Python $version; 3.10 or newer is needed (make PYTHON=/path/to/python3.11 ...)"

# What an installation depends on. The path is part of it: a virtual environment does not survive being moved.
wanted="$root $version $(cat setup.py constraints.txt tools/install.sh | cksum)"
installed() { [[ -f $stamp && $(cat "$stamp") == "$wanted" ]] && .venv/bin/python -c '' &>/dev/null; }
if installed && [[ -f .venv/.renders ]]; then
    exit 0
fi
mkdir -p build
: >"$log"

# Before the long download, and all at once, so that nobody waits a minute to read it or reads it twice.
missing=() packages=()
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    missing+=("ensurepip for $python") packages+=("python$version-venv")
fi
if ! "$python" -c 'import ctypes; ctypes.CDLL("libEGL.so.1")' 2>/dev/null; then
    missing+=("libEGL") packages+=("${gl_packages[@]}")
fi
if ((${#missing[@]})); then
    need_packages "missing: $(IFS=, && printf '%s' "${missing[*]}")" "${packages[@]}"
fi

if ! installed; then
    if [[ $(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.prefix)' 2>/dev/null) != "$version $root/.venv" ]]; then
        say "making .venv with Python $version"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    # The environment variables pin what setup.py itself is built with, too.
    PIP_CONSTRAINT=$root/constraints.txt PIP_BUILD_CONSTRAINT=$root/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
        quietly "installing the pinned packages (1 to 3 minutes the first time)" .venv/bin/python -m pip install -e '.[ros,sim,train,export,dev]'
    printf '%s' "$wanted" >"$stamp"
fi

# The proof is a picture: Mesa's drivers may be missing though libEGL is there.
renders() {
    .venv/bin/python -c 'import sys; from vla_bt.cli import doctor as d; f = d.check_rendering(); print(f.text); sys.exit(f.level != d.OK)'
}
if ! renders >>"$log" 2>&1; then
    need_packages "MuJoCo can't render without a screen" "${gl_packages[@]}"
    renders || die "still no picture from MuJoCo; the line above says why"
fi
touch .venv/.renders
say "installed"
