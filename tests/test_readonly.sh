#!/bin/sh
# test_readonly.sh - no source sets anything on a device: clocks, power limits,
# modes and partitions belong to the operator of the machine.  This file, which
# has to name what is forbidden, is the one that is not searched.
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0

# Extended regular expressions, one a line.
forbidden='nvml(Device|Gpu|Unit|GpuInstance|System)(Set|Reset|Clear|Create|Destroy|Modify|Remove|Discover)[A-Za-z]*
nvmlDevice(FreezeNvLink|PowerSmoothing|WorkloadPower)[A-Za-z]*
nvmlDeviceValidate[A-Za-z]*
nvidia-smi[^"]*[[:space:]](-pl|-lgc|-lmc|-rgc|-rmc|-ac|-rac|-pm|-c|-e|-p|-r|-mig|-cc|-gtt|-am|-caa)([[:space:]=]|$)
nvidia-smi[^"]*[[:space:]]--(power-limit|lock-gpu-clocks|lock-memory-clocks|reset-gpu-clocks|reset-memory-clocks|applications-clocks|reset-applications-clocks|persistence-mode|compute-mode|ecc-config|gpu-reset|multi-instance-gpu|reset-ecc-errors|auto-boost)
nvidia-smi[[:space:]]+(mig|boost-slider|power-profiles|clocks|compute-policy|drain|vgpu)
nvidia-settings
nvidia-persistenced
nvidia-cuda-mps-control
scaling_governor.*"w'

sources=$(find . -path ./.git -prune -o -path ./build -prune -o -path ./results -prune -o \
    -path ./runs -prune -o -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o \
    -name '*.sh' -o -name '*.sbatch' -o -name '*.py' -o -name Makefile -o -name '*.mk' -o \
    -name run \) ! -name test_readonly.sh -print)
[ -n "$sources" ] || { echo "test_readonly.sh: no sources"; exit 1; }

old=$IFS
IFS='
'
for pattern in $forbidden; do
    IFS=$old
    # shellcheck disable=SC2086
    found=$(grep -nE -e "$pattern" $sources)
    if [ -n "$found" ]; then
        echo "test_readonly.sh: failed: $pattern:"
        echo "$found"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
    IFS='
'
done
IFS=$old

# The patterns do find what they are there for.
for line in 'nvmlDeviceSetPowerManagementLimit(d, 1)' 'system("nvidia-smi -i 0 -pl 300")' \
    'nvidia-smi --lock-gpu-clocks=1500' 'nvidia-smi mig -cgi 9'; do
    hit=0
    IFS='
'
    for pattern in $forbidden; do
        printf '%s\n' "$line" | grep -qE -e "$pattern" && hit=1
    done
    IFS=$old
    if [ $hit -eq 1 ]; then
        passed=$((passed + 1))
    else
        echo "test_readonly.sh: failed: '$line' passes"
        failed=$((failed + 1))
    fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
