# Shared by start.sh and test.sh: finds a Python and keeps .venv in step with a requirements file.
# Everything runs in the folder of start.sh. A failure is one line that says what to type, and exit code 1.

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Prints the first Python that is new enough.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v -- "$candidate"
            return
        elif [ "$candidate" = "${PYTHON:-}" ]; then
            break
        fi
    done
    if [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is not Python 3.11 or newer. Unset it, or name a newer one."
    fi
    fail "chatapp needs Python 3.11 or newer. Install it, or name it: PYTHON=/path/to/python3.12 ./start.sh"
}

# Makes sure that this Python can make virtual environments; Debian keeps that in a package of its own.
need_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    local package
    package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    command -v apt-get >/dev/null || fail "This Python cannot make virtual environments: install its venv package."
    [ "$(id -u)" = 0 ] || fail "One package is missing. Type: sudo apt-get install -y $package"
    echo "Installing $package ..."
    apt_install "$package" || apt_install python3-venv || fail "Cannot be installed: $package. Install it, then start again."
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1 && return
    apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

# Makes .venv, unless a working one is there.
make_environment() {
    .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    local python
    python="$(find_python)" || exit 1
    need_venv "$python"
    echo "Making .venv with $("$python" --version) ..."
    "$python" -m venv --clear .venv || fail "No virtual environment could be made in $PWD/.venv."
}

# Installs a requirements file, unless it, and what it includes, is the same as last time.
install_if_changed() {
    local stamp=".venv/.installed-${1%.txt}" now
    # shellcheck disable=SC2046 - several file names are meant
    now="$(cksum "$1" $(sed -n 's/^-r //p' "$1") && .venv/bin/python --version)"
    if [ -f "$stamp" ] && [ "$now" = "$(cat "$stamp")" ]; then
        return
    fi
    rm -f "$stamp"
    echo "Installing the packages of $1 ..."
    need_pip
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input -r "$1" ||
        fail "The packages of $1 could not be installed; the lines above say why. Then start again."
    printf '%s\n' "$now" >"$stamp"
}

# The engine downloads its small model with pip, and only pip 24.1 or newer tells how far it is.
need_pip() {
    .venv/bin/python -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (24, 1))' 2>/dev/null ||
        .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --upgrade 'pip>=24.1' ||
        fail "pip could not be brought up to date; the lines above say why. Then start again."
}
