#!/bin/sh
# deps.sh - installs what is missing on Debian and Ubuntu, and nothing else.
#
#   deps.sh build plot data cuda dev slurm   groups to look at; `make deps` names the first four
#
# Every package has a test for the thing that is needed from it.  A package is asked for when
# its test fails, so a machine that has everything is not touched and no network is used.
# DEPS=0 forbids installing; the report then still names what is missing.  Only a missing
# package of the group build is an error: without gnuplot tables are made but no pictures, and
# without a data package the matrices that come from it are skipped.
set -u
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-gcc}
log=build/deps.log
unpacked=build/packages
export DEBIAN_FRONTEND=noninteractive

has() { command -v "$1" > /dev/null 2>&1; }

# A header and a library are there when a program that includes and links them builds.
links() { # header [library [folder]]
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" |
        $CC -x c - -o /dev/null ${3:+-L"$3"} ${2:+-l"$2"} > /dev/null 2>&1
}

# Where a package or `unpack` below has put a file.
file_of() { [ -e "$2" ] || [ -e "$unpacked/$1$2" ]; }

present() {
    case $1 in
    gcc) has "$CC" ;;
    g++) has g++ ;;
    make) has make ;;
    git) has git ;;
    libc6-dev) links stdio.h ;;
    libjansson-dev) links jansson.h jansson ;;
    libhwloc-dev) links hwloc.h hwloc ;;
    libopenblas-dev) links cblas.h openblas ;;
    zlib1g-dev) links zlib.h z ;;
    libssl-dev) links openssl/evp.h crypto ;;
    gnuplot-nox) has gnuplot ;;
    libmetis-doc) file_of "$1" /usr/share/doc/libmetis-dev/examples/graphs/mdual.graph ;;
    wordnet-base) file_of "$1" /usr/share/wordnet/data.noun ;;
    dict-gcide) file_of "$1" /usr/share/dictd/gcide.dict.dz ;;
    metamath-databases) file_of "$1" /usr/share/metamath/databases/set.mm ;;
    valgrind) has valgrind ;;
    clang) has clang ;;
    slurm-wlm) has slurmctld || [ -x /usr/sbin/slurmctld ] ;;
    munge) has munged || [ -x /usr/sbin/munged ] ;;
    esac
}

packages_of() {
    case $1 in
    build) echo gcc libc6-dev make git libjansson-dev libhwloc-dev libopenblas-dev zlib1g-dev \
        libssl-dev ;;
    cuda) echo g++ ;;
    plot) echo gnuplot-nox ;;
    data) echo libmetis-doc wordnet-base dict-gcide metamath-databases ;;
    dev) echo valgrind clang ;;
    slurm) echo slurm-wlm munge ;;
    *) echo "deps.sh: no group '$1'" >&2; exit 2 ;;
    esac
}

missing() {
    absent=
    for package in "$@"; do
        present "$package" || absent="$absent $package"
    done
    echo "${absent# }"
}

wanted=
for group in "${@:-build}"; do
    wanted="$wanted $(packages_of "$group")" || exit 2
done

# The toolkit is the user's to install; what it lacks is named.
case " $* " in
*' cuda '*)
    lacks=
    for library in cudart cublas cublasLt cusparse; do
        links stdio.h "$library" "${CUDA_LIB-}" || lacks="$lacks $library"
    done
    [ -z "$lacks" ] || ! has "$CC" ||
        echo "deps: the CUDA toolkit lacks$lacks: install them, or build with CUDA=0" >&2
    ;;
esac

absent=$(missing $wanted)
[ -z "$absent" ] && exit 0

# Packages are installed as root, or through sudo where it can be asked.
as_root=none
if [ "$(id -u)" = 0 ]; then
    as_root=
elif has sudo && { sudo -n true 2> /dev/null || [ -t 0 ]; }; then
    as_root='sudo env DEBIAN_FRONTEND=noninteractive'
fi

apt() { # verb, arguments
    $as_root apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >> "$log" 2>&1 < /dev/null
}

install() {
    apt install --no-install-recommends "$@" && return
    # Old package lists name versions that are gone.
    apt update
    apt install --no-install-recommends "$@" && return
    # One package that does not exist here must not keep the others out.
    for package in "$@"; do
        apt install --no-install-recommends "$package"
    done
}

# A system may leave out documentation, where libmetis-doc has its graphs, and a user without
# root can unpack data that he cannot install.
unpack() {
    mkdir -p "$unpacked" && (
        cd "$unpacked" && rm -f "$1"_*.deb &&
            apt-get -q download "$1" && dpkg-deb -x "$1"_*.deb "$1" && rm -f "$1"_*.deb
    ) >> "$log" 2>&1 < /dev/null
}

if [ "${DEPS:-1}" != 0 ] && has apt-get; then
    mkdir -p build
    : > "$log"
    if [ "$as_root" != none ]; then
        echo "deps: installing $absent (log: $log)"
        install $absent
    fi
    for package in $(missing $(packages_of data)); do
        case " $absent " in *" $package "*) unpack "$package" ;; esac
    done
    absent=$(missing $absent)
fi
[ -z "$absent" ] && exit 0

echo "deps: missing and not installed: $absent" >&2
case " $* " in
*' build '* | '  ') [ -z "$(missing $(packages_of build))" ] ;;
esac
