# program.sh - sourced by the scripts of an artifact: finds or builds the program.
#
# With a GPU and the CUDA toolkit it is built for that GPU, else without CUDA, in src/build.
# CLAIMBENCH names a program that is there already.  Nothing is installed and nothing fetched.
set -u
paper=$(cat paper)
export CLAIMBENCH_HOME=$PWD/src
if nvidia-smi -L 2> /dev/null | grep -q '^GPU' &&
    { command -v nvcc > /dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; }; then
    cuda=1 profile=reproduce devices=auto
else
    cuda=0 profile=smoke devices=host
fi
if [ -z "${CLAIMBENCH:-}" ]; then
    make -C src DEPS=0 CUDA="$cuda" > build.log 2>&1 || {
        tail -n 20 build.log >&2
        echo 'the program does not build; env/packages.txt lists what it needs' >&2
        exit 1
    }
    CLAIMBENCH=$PWD/src/build/claimbench
fi
