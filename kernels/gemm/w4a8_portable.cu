/* w4a8_portable.cu - W4A8 for any number of tokens without what 9.0 adds. */
#include "w4a8_portable.cuh"

OP_BEGIN
W4A8_PORTABLE_LAUNCHERS(portable, false)
OP_END
