/*
 * home.h - where configs/, suites/ and plots/ are: $CLAIMBENCH_HOME, else the
 * folder of the program or the nearest one above it that holds suites/ and
 * configs/, else ".".
 */
#ifndef SUITES_HOME_H
#define SUITES_HOME_H

#include <stddef.h>

/* Finds it once and keeps it in $CLAIMBENCH_HOME, so that children agree. */
const char *home_folder(void);
/* HOME/relative into out; returns out. */
char *home_path(const char *relative, char *out, size_t size);
/* The folder and those above it, made where they are not there.  0 or -1 after cb_error. */
int home_make_folders(const char *path);

#endif
