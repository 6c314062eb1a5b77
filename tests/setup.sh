#!/usr/bin/env bash
# Installs what the tests need and is missing: on Debian and Ubuntu by itself, elsewhere it says what to install.
#
# It starts no service and touches no running one: the tests start servers of their own, in temporary directories.
# Exit codes: 0 everything is there; 1 something is missing and could not be installed.
set -euo pipefail

# One line a need: the Debian package, then what shows that it is there (a program, or a pattern of paths), then what for.
needs() {
    cat <<'NEEDS'
gcc cc compiles SQLite and the TLS library
libc6-dev /usr/include/stdlib.h compiles SQLite and the TLS library
make make runs the targets
curl curl asks the program as its users do
postgresql /usr/lib/postgresql/*/bin/initdb the database under test (13 or later)
rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server the broker under test (3.10 or later)
util-linux setpriv runs PostgreSQL as another user when the tests run as root
faketime /usr/lib/*/faketime/libfaketimeMT.so.1 sets a process' clock back
asterisk-core-sounds-en-wav /usr/share/asterisk/sounds/en_US_f_Allison/activated.wav real telephony recordings
sox sox makes recordings in telephony formats
libsox-fmt-all /usr/lib/*/sox/libsox_fmt_mp3.so lets sox write MP3
ffmpeg ffmpeg makes and measures recordings independently
valgrind valgrind counts the instructions of a call
wrk wrk puts the benchmark's servers under load
nginx-light nginx serves the recordings of the benchmark, and what PHP answers
php-fpm /usr/sbin/php-fpm* runs the benchmark's webhook in PHP
php-pgsql /usr/lib/php/*/pdo_pgsql.so takes that to PostgreSQL
php-amqp /usr/lib/php/*/amqp.so takes its events to RabbitMQ
python3-venv /usr/lib/python3*/ensurepip/__main__.py keeps the S3 store under test and schemathesis to themselves
docker-compose docker-compose checks docker-compose.yml
NEEDS
}

# Programs of these packages may be outside an ordinary user's search path.
PATH=$PATH:/usr/sbin:/sbin

is_there() { # PROGRAM-OR-PATTERN
    case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

missing() { # the packages, one a line
    local package evidence purpose
    while read -r package evidence purpose; do
        is_there "$evidence" || echo "$package"
    done < <(needs)
}

explain() { # PACKAGE...: what each is for, on standard error
    local package evidence purpose
    while read -r package evidence purpose; do
        case " $* " in *" $package "*) echo "  $package ($evidence): $purpose" >&2 ;; esac
    done < <(needs)
}

fail() { # MESSAGE PACKAGE...
    echo "tests/setup.sh: $1; to be installed:" >&2
    shift
    explain "$@"
    echo "on Debian and Ubuntu: apt-get install --no-install-recommends $*" >&2
    exit 1
}

if ! command -v cargo >/dev/null; then
    echo "tests/setup.sh: cargo is missing: install rustup (https://rustup.rs); rust-toolchain.toml names the version" >&2
    exit 1
fi

# The S3-compatible store under test. Debian has no package of it, and its Python libraries are nobody else's business.
moto=${XDG_CACHE_HOME:-$HOME/.cache}/callvine-tests/moto
moto_version=5.2.1
install_moto() {
    [ -x "$moto/bin/moto_server" ] && return
    # Somebody else's will do.
    command -v moto_server >/dev/null && return
    echo "tests/setup.sh: installing moto $moto_version in $moto" >&2
    rm -rf "$moto"
    python3 -m venv "$moto" >&2
    "$moto/bin/pip" --quiet install "moto[s3,server]==$moto_version" >&2
}

# Holds the program to docs/openapi.yaml. Each package has its version and its hash in the list beside the test.
schemathesis=${XDG_CACHE_HOME:-$HOME/.cache}/callvine-tests/schemathesis
requirements=$(dirname "$0")/openapi/requirements.txt
install_schemathesis() {
    cmp -s "$requirements" "$schemathesis/requirements.txt" && return
    echo "tests/setup.sh: installing schemathesis in $schemathesis" >&2
    rm -rf "$schemathesis"
    /usr/bin/python3 -m venv "$schemathesis" >&2
    "$schemathesis/bin/pip" --quiet install --require-hashes --requirement "$requirements" >&2
    # Last, so that an installation that was interrupted is begun anew.
    cp "$requirements" "$schemathesis/requirements.txt"
}

mapfile -t packages < <(missing)
if [ ${#packages[@]} -eq 0 ]; then
    install_moto
    install_schemathesis
    exit 0
fi

command -v apt-get >/dev/null || fail "this is neither Debian nor Ubuntu" "${packages[@]}"
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif command -v sudo >/dev/null; then
    as_root=(sudo env)
else
    fail "there is neither root nor sudo to install with" "${packages[@]}"
fi

# Debian starts a service as soon as its package is there, unless this file forbids it. One that exists is its owner's.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

echo "tests/setup.sh: installing ${packages[*]}" >&2
# Another installation may hold the lock for a while: on a fresh machine the automatic updates do.
apt=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
"${apt[@]}" update >&2
"${apt[@]}" install --no-install-recommends "${packages[@]}" >&2

mapfile -t packages < <(missing)
[ ${#packages[@]} -eq 0 ] || fail "still missing after the installation" "${packages[@]}"
install_moto
install_schemathesis
