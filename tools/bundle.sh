#!/bin/sh
# bundle.sh - one folder with the program, the libraries it needs and its data.
#
#   bundle.sh PROGRAM FOLDER STRIP DATA...
#
# Left out are glibc and the runtime of gcc, which every system has, and NVIDIA's driver and
# CUDA libraries, which belong to the machine.  The folder must run on a system whose glibc is
# at least that of the machine it was made on.
set -eu
cd "$(dirname "$0")/.."
program=$1 folder=$2 strip=$3
shift 3

rm -rf "$folder"
mkdir -p "$folder/lib"
install "$program" "$folder/claimbench"
cp -r --parents "$@" "$folder"
# Matrices of Debian packages, packed for machines that do not have them.
[ -d build/packed ] && mkdir -p "$folder/data" && cp -r build/packed "$folder/data/"
tools/stamp.sh keep "$folder/.stamp"

ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | while read -r library; do
    case ${library##*/} in
    libc.so.* | libm.so.* | libmvec.so.* | libdl.so.* | libpthread.so.* | librt.so.* | \
        libresolv.so.* | libgcc_s.so.* | libstdc++.so.* | \
        libcu* | libnv*) ;;
    *) cp -L "$library" "$folder/lib/" ;;
    esac
done
if [ "$strip" = 1 ]; then
    strip "$folder/claimbench"
fi

absent=$(ldd "$program" | awk '/not found/ { printf " %s", $1 }')
[ -z "$absent" ] || echo "bundle: not found on this machine and not in the bundle:$absent" >&2
# Most of it is weights and machine code, packed already: gzip would leave 62 MB, xz 56.
rm -f "$folder".tar.*
if command -v xz > /dev/null; then
    archive=$folder.tar.xz pack='xz -T0 -3'
else
    archive=$folder.tar.gz pack='gzip -n'
fi
tar -C "$(dirname "$folder")" -c "$(basename "$folder")" | $pack > "$archive"
du -sb "$folder" "$archive" | awk '{ printf "%s: %.1f MB\n", $2, $1 / 1e6 }'
