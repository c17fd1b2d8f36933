#!/usr/bin/env bash
# Makes .venv at the root of the repository agree with .ci/requirements.lock, and does nothing when it already does.
#
# Needs CPython 3.11 or 3.12 and, when something has to be installed, a package index. Safe to run several times at
# once: later runs wait for the first. AITBC_PYTHON names the interpreter to use where the search finds the wrong one.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
environment="$root/.venv"
python="$environment/bin/python"
stamp="$environment/aitbc-installed"
lock="$root/.ci/requirements.lock"
supported='import sys; raise SystemExit(sys.version_info[:2] not in ((3, 11), (3, 12)))'

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0

say() { printf '%s\n' "$*" >&2; }

# What an installation depends on: the lock, the project's own declaration, the interpreter, and the place, because
# scripts inside a virtual environment name it by absolute path.
fingerprint() {
    "$python" -I - "$root" <<'PYTHON'
import hashlib
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
for name in (".ci/requirements.lock", "pyproject.toml"):
    print(hashlib.sha256((root / name).read_bytes()).hexdigest(), name)
print(sys.implementation.name, ".".join(map(str, sys.version_info[:3])))
print(root)
PYTHON
}

current() {
    local now
    [[ -f $stamp && -x $python ]] && now="$(fingerprint 2>/dev/null)" && [[ $now == "$(<"$stamp")" ]]
}

# A name on the PATH may be a shim for a version that is not there, so each candidate has to run.
find_python() {
    local candidate version seen=() candidates=(python3.12 python3.11 python3 python)
    if [[ -n ${AITBC_PYTHON:-} ]]; then candidates=("$AITBC_PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c "$supported" >/dev/null 2>&1; then
            if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
                printf '%s\n' "$candidate"
                return
            fi
            seen+=("$candidate (has no venv module: install its -venv package)")
        elif version="$("$candidate" --version 2>&1)"; then
            seen+=("$candidate (${version%%$'\n'*})")
        elif command -v "$candidate" >/dev/null; then
            seen+=("$candidate (does not run)")
        fi
    done
    say "aitbc needs CPython 3.11 or 3.12 with its venv module; found: ${seen[*]:-nothing}."
    say "Install one of them, or name it: AITBC_PYTHON=/path/to/python3.12"
    return 1
}

# The lock belongs to the open file, so it outlives the process that asks for it and ends with this script.
wait_for_turn() {
    exec 9<"$lock"
    "$1" -I - <<'PYTHON'
import fcntl
import sys

try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("Waiting for another set-up of .venv to end ...", file=sys.stderr, flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
PYTHON
}

install() {
    local log="$environment/install.log"
    : >"$log"
    if ! { "$python" -m pip install -r "$lock" && "$python" -m pip install --no-deps --no-build-isolation -e "$root"; } \
        >>"$log" 2>&1 </dev/null; then
        say "The installation into .venv failed; the end of $log:"
        tail -n 20 -- "$log" >&2
        return 1
    fi
}

usable() {
    [[ -x $python ]] && "$python" -c "$supported" >/dev/null 2>&1 && "$python" -m pip --version >/dev/null 2>&1 &&
        [[ ! -f $stamp || $(tail -n 1 -- "$stamp") == "$root" ]]
}

main() {
    local base
    if current; then return; fi
    base="$(find_python)"
    wait_for_turn "$base"
    if current; then return; fi
    if ! usable; then
        say "Making .venv with $("$base" --version 2>&1) ..."
        "$base" -m venv --clear "$environment" >&2
    fi
    say "Installing the locked packages into .venv (a minute the first time) ..."
    rm -f -- "$stamp"
    install
    fingerprint >"$stamp.new"
    mv -- "$stamp.new" "$stamp"
}

main
