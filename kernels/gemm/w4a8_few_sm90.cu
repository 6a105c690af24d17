/* w4a8_few_sm90.cu - the kernel of w4a8_portable.cuh, overlapping the launch before, up to 32 tokens. */
#include "w4a8_portable.cuh"

OP_BEGIN
W4A8_PORTABLE_LAUNCHERS(few, true)
OP_END
