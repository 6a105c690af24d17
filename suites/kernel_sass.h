/*
 * kernel_sass.h - instructions of the GPU kernels in this very program, by pipe.
 *
 * Needs cuobjdump; where it is missing, or a row names no kernel, there are no
 * counts and the row carries the flag sass_unverified.
 */
#ifndef SUITES_KERNEL_SASS_H
#define SUITES_KERNEL_SASS_H

#include <jansson.h>

#include "../kernels/op.h"

struct kernel_sass;

/* Listing of the running program's function for each of count symbols.  NULL without a tool, or
 * where nothing can be read; the functions below accept it. */
struct kernel_sass *kernel_sass_open(const char *const *symbol, int count);
void kernel_sass_close(struct kernel_sass *k);

/* Adds "sass" (counts, or null) to an object of kernels[] for compute capability sm,
 * and the flag where there should be counts and are none. */
void kernel_sass_add(const struct kernel_sass *k, const struct op_impl *i, int sm, json_t *kernel);

#endif
