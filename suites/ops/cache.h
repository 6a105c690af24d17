/*
 * cache.h - folders for what need not be computed again: $CLAIMBENCH_CACHE/NAME, else
 * $XDG_CACHE_HOME/claimbench/NAME, else ~/.cache/claimbench/NAME.
 */
#ifndef SUITES_OPS_CACHE_H
#define SUITES_OPS_CACHE_H

#include <stddef.h>

enum { CACHE_PATH = 3000 };

/* The folder, which need not exist (home_make_folders makes it).  0, or -1 after cb_error where none
 * of the three is set. */
int cache_folder(const char *name, char path[CACHE_PATH]);

#endif
