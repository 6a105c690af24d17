/* llama_part.h - what the parts of llama share: llama_model.c has it. */
#ifndef SUITES_MODELS_LLAMA_PART_H
#define SUITES_MODELS_LLAMA_PART_H

#include <stddef.h>

/* malloc of count elements; NULL after cb_error. */
void *llama_take(size_t count, size_t size);
/* OpenBLAS in one thread; returns what openblas_set_num_threads has to bring back. */
int llama_one_blas_thread(void);

#endif
