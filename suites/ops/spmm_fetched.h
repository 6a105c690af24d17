/*
 * spmm_fetched.h - figures of kernels/spmm/fetch.h, kept from one process to the next.
 *
 * They need a walk over the whole pattern for every n, and are the same in every process of a run:
 * lines of the file fetch-1.tsv in the folder `spmm` of cache.h, numbers in hexadecimal,
 *
 *     sha256 of the matrix   n   bytes of an element   l2   l1   sms   fetched.l2   fetched.dram
 */
#ifndef SUITES_OPS_SPMM_FETCHED_H
#define SUITES_OPS_SPMM_FETCHED_H

#include <stdbool.h>

#include "../../kernels/spmm/fetch.h"

/* spmm_fetch_of for the matrix of that checksum, from the file or computed and appended to it; a
 * file that cannot be read or written is as none.  false: no memory. */
bool spmm_fetched(const char *sha256, const struct spmm_problem *p, const struct spmm_matrix *host,
                  const struct spmm_caches *caches, struct spmm_fetch *out);

#endif
