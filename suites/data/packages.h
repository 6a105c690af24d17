/*
 * packages.h - sparse matrices made of real data in Debian packages.
 *
 * Looked for in this order, first hit wins:
 *     NAME.csrb    in $CLAIMBENCH_DATA/packed, $CLAIMBENCH_DATA, the folder data/packed beside
 *                  the program, data/packed, configs/data/packed
 *     the package's own files   under /, build/packages, $CLAIMBENCH_PACKAGES, each also
 *                  under a folder of the package's name (dpkg-deb -x PACKAGE.deb ROOT/PACKAGE)
 * Where an image leaves documentation out, the second form is how libmetis-doc is had.
 */
#ifndef SUITES_DATA_PACKAGES_H
#define SUITES_DATA_PACKAGES_H

#include "matrix.h"

/* name without "package:". */
int package_load(const char *name, struct matrix *out);

/* 0 if the files are there; -1 and cb_error saying which package is missing. */
int package_check(const char *name);

/* The i-th name, with "package:"; NULL past the end. */
const char *package_name(int i, const char **help);

/* Packs every package matrix that is there into folder/NAME.csrb, transposes left out
 * because they are made on loading.  Returns the number written, -1 on failure. */
int package_pack(const char *folder);

#endif
