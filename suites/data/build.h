/*
 * build.h - what the makers of matrices in this folder share.
 */
#ifndef SUITES_DATA_BUILD_H
#define SUITES_DATA_BUILD_H

#include "matrix.h"

/* ---- hashing ---- */

/* 64 bits that depend on three numbers and nothing else: any element of any
 * stream can be made by any thread. */
static inline uint64_t data_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15; /* odd, from the golden ratio */
    x ^= x >> 29;
    x *= 0xd1342543de82ef95; /* odd, a multiplier of good spectral quality */
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15;
    return x ^ x >> 31;
}

static inline uint64_t data_hash(uint64_t seed, uint64_t a, uint64_t b)
{
    return data_mix(data_mix(data_mix(seed + 0x632be59bd9b4e019) + a) + b);
}

/* Values of matrices that come without: uniform on a grid of 2^-23 in [-1, 1),
 * by row and column, so that the transpose holds the same numbers. */
enum { DATA_VALUE_SEED = 1 };
static inline float data_value(uint64_t seed, int row, int col)
{
    return (float)(data_hash(seed, (uint32_t)row, (uint32_t)col) >> 40) * 0x1p-23f - 1.0f;
}

/* ---- entries to CSR ---- */

/* An entry within its row: sorting keys sorts columns. */
static inline uint64_t data_key(int col, float val)
{
    union { float f; uint32_t u; } bits = { .f = val };
    return (uint64_t)(uint32_t)col << 32 | bits.u;
}

/* Unordered entries by row: those of row i are key[start[i]] ... key[start[i] + count[i] - 1];
 * count NULL: up to start[i+1].  A repeated column counts once if merge is set
 * (the value of any one of them: for values to be hashed), else it is an error
 * and *twice, if not NULL, names one.  Fills rows, cols, nnz, row_ptr, col, val
 * of out.  The keys are used up; start, count and key stay the caller's. */
struct data_twice {
    bool found;
    int row, col;
};
int data_csr(const char *name, int rows, int cols, const long *start, const int *count,
             uint64_t *key, bool merge, struct data_twice *twice, struct matrix *out);

/* The same from triples in any order; val NULL: 1. */
int data_csr_triples(const char *name, int rows, int cols, long n, const int *row, const int *col,
                     const float *val, bool merge, struct data_twice *twice, struct matrix *out);

/* An undirected graph with log-normal degrees (social.c): pattern without loops, each edge in both
 * rows, the same for any number of threads.  A pair drawn twice counts once. */
struct data_social {
    uint64_t key; /* of all hashes */
    int nodes;
    double mean, sigma; /* of the degree; of its logarithm, a standard deviation */
    double cap;         /* degree that no node wants more than */
};
int data_social(const char *name, const struct data_social *p, struct matrix *out);

/* Replaces the values by data_value(seed, row, col). */
void data_hash_values(struct matrix *m, uint64_t seed);

/* Fills sha256. */
int data_seal(struct matrix *m);

/* A name that is cut rather than overflows. */
void data_text(char *to, size_t size, const char *from);

/* ---- files ---- */

/* All of a file, decompressed if it starts like gzip (several members are
 * read in turn; a truncated or damaged one is refused).  *out is followed by a NUL
 * that *size does not count; release with data_free. */
int data_read(const char *path, char **out, size_t *size);

/* zlib's allocations through alloc.h. */
void *data_zalloc(void *unused, unsigned count, unsigned size);
void data_zfree(void *unused, void *p);

#endif
