/*
 * alloc.h - memory of suites/data, countable, and able to fail on demand.
 *
 * Readers of files that others wrote must survive running out of memory at any
 * point.  A test sets fail_at to n: the n-th allocation from then on fails.
 */
#ifndef SUITES_DATA_ALLOC_H
#define SUITES_DATA_ALLOC_H

#include <stddef.h>

/* As the C library's, but zero bytes are allowed and give a pointer. */
void *data_malloc(size_t count, size_t size); /* NULL too if count * size overflows */
void *data_calloc(size_t count, size_t size);
void *data_realloc(void *p, size_t count, size_t size);
void data_free(void *p); /* accepts NULL */

/* For tests.  Allocations not yet freed; allocations ever made; and the number
 * of further allocations after which one fails (0: never). */
long data_alloc_live(void);
long data_alloc_count(void);
void data_alloc_fail_at(long n);

#endif
