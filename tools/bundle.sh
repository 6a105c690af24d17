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
tar -C "$(dirname "$folder")" -czf "$folder.tar.gz" "$(basename "$folder")"
du -sb "$folder" "$folder.tar.gz" | awk '{
    printf "%s: %.1f MB\n", $2, $1 / 1e6
    if ($2 ~ /gz$/ && $1 > 60e6) { print "bundle: archive over 60 MB" > "/dev/stderr"; exit 1 }
}'
