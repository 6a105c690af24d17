/* alloc.c - the C library's allocator behind counters. */
#include "alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static atomic_long live, made, fail_in;

/* Counts an allocation; true if it is the one that has to fail. */
static bool denied(size_t count, size_t size)
{
    atomic_fetch_add(&made, 1);
    if (atomic_load(&fail_in) > 0 && atomic_fetch_sub(&fail_in, 1) == 1)
        return true;
    return size && count > PTRDIFF_MAX / size;
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&live, 1);
    return p;
}

void *data_malloc(size_t count, size_t size)
{
    if (denied(count, size))
        return NULL;
    return counted(malloc(count && size ? count * size : 1));
}

void *data_calloc(size_t count, size_t size)
{
    if (denied(count, size))
        return NULL;
    return counted(count && size ? calloc(count, size) : calloc(1, 1));
}

void *data_realloc(void *p, size_t count, size_t size)
{
    if (!p)
        return data_malloc(count, size);
    if (denied(count, size))
        return NULL;
    return realloc(p, count && size ? count * size : 1);
}

void data_free(void *p)
{
    if (p)
        atomic_fetch_sub(&live, 1);
    free(p);
}

long data_alloc_live(void)
{
    return atomic_load(&live);
}

long data_alloc_count(void)
{
    return atomic_load(&made);
}

void data_alloc_fail_at(long n)
{
    atomic_store(&fail_in, n);
}
