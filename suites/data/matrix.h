/*
 * matrix.h - sparse matrices in host memory: generated, from packages, from files.
 *
 *     row_ptr  0   2       4  5          row i holds the entries row_ptr[i] ... row_ptr[i+1] - 1
 *     col      0 3 | 1 2 | 0 |           ascending inside a row, no column twice
 *     val      . . | . . | . |           explicit zeros are entries
 *
 * A matrix is named by a spec:
 *     uni_16k_d10                       a preset of the generators (generate.h)
 *     gen:FAMILY,name=value,...         a generator with its parameters
 *     package:NAME                      real data from an installed package (packages.h)
 *     a path ending in .mtx .graph (both also .gz) or .csrb
 *
 * Functions return 0, or -1 after cb_error.  A failed load leaves *out all zero.
 */
#ifndef SUITES_DATA_MATRIX_H
#define SUITES_DATA_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct matrix {
    char name[64];   /* the preset, the package matrix, or the file's base name */
    char source[16]; /* "generated", "package", "user" */
    char gen[96];    /* generator with parameters, or what was read: no folders in it */
    int rows, cols;
    long nnz;        /* < 2^31 */
    int *row_ptr;    /* [rows+1] */
    int *col;        /* [nnz] */
    float *val;      /* [nnz], never NULL */
    char sha256[65]; /* of rows, cols (int32 each), row_ptr, col, val, little-endian */
};

int matrix_load(const char *spec, struct matrix *out);
void matrix_free(struct matrix *m); /* accepts NULL and { 0 }; leaves { 0 } */

/* The i-th name of a set, "generated" or "package", as matrix_load takes it;
 * NULL past the end and for any other set.  *help, if help is not NULL, is one
 * line about it. */
const char *matrix_name(const char *set, int i, const char **help);

/* Whether spec can be loaded here, found without reading the data.  If not,
 * why[size] says what is missing. */
bool matrix_available(const char *spec, char *why, size_t size);

/* Row lengths: mean, population standard deviation, longest, number of empty rows. */
struct matrix_rows {
    double mean, sd;
    int max, empty;
};
struct matrix_rows matrix_rows(const struct matrix *m);

/* *out = transpose of m, with the texts of m; sums nothing, rounds nothing. */
int matrix_transpose(const struct matrix *m, struct matrix *out);

/*
 * Matrix Market, coordinate format, from memory (text need not end in NUL);
 * name stands in messages, "name:LINE: reason".
 *     field      real, integer, pattern (value 1); complex is refused
 *     symmetry   general, symmetric, skew-symmetric; the other triangle is
 *                filled in, the diagonal once; hermitian is refused, and so is
 *                a diagonal entry of a skew-symmetric matrix
 *     entries    1-based, in any order, one a line; explicit zeros are kept; an
 *                entry given twice, directly or through symmetry, is refused
 * Comments and blank lines may stand between lines.  Values that no float holds
 * are refused.  A header that promises more than the text can hold, or more
 * rows than 2^20 + 1024 times the entries, is refused before memory is taken.
 */
int matrix_market_parse(const char *name, const char *text, size_t size, struct matrix *out);

/*
 * METIS graph: "n m [fmt [weights]]", then line i = neighbours of node i, each
 * edge on both lines.  fmt 0, 1 (edge weights become values), 10 (node weights
 * are skipped), 11; without edge weights the values are 1.  Comments start
 * with %, an empty line is a node without neighbours, self loops are refused.
 */
int matrix_metis_parse(const char *name, const char *text, size_t size, struct matrix *out);

/* Packed form (csrb.c), for carrying matrices to machines without the packages. */
int matrix_csrb_parse(const char *name, const void *data, size_t size, struct matrix *out);
int matrix_save_csrb(const struct matrix *m, const char *path);

#endif
