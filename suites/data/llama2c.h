/* llama2c.h - checkpoints of the llama2.c project, from memory. */
#ifndef SUITES_DATA_LLAMA2C_H
#define SUITES_DATA_LLAMA2C_H

#include "checkpoint.h"

/* Tensors become views into data, which has to outlive *out; name stands in
 * messages.  Only the first version of the format, which has no magic number. */
int llama2c_parse(const char *name, const void *data, size_t size, struct checkpoint *out);

#endif
