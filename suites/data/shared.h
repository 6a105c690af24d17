/* shared.h - files that come from outside of the project, by their name below a folder of data. */
#ifndef SUITES_DATA_SHARED_H
#define SUITES_DATA_SHARED_H

#include <stdbool.h>

enum { DATA_PATH = 600 };

/* Looks for folder/file, folder being pointcloud, relational, sparse, llm or text:
 *
 *     $CLAIMBENCH_DATA, the file itself or in its folder
 *     $CLAIMBENCH_SHARED, in its folder, also below a data/
 *     shared/data in the working folder and beside it
 *     shared/data in a folder that the program lies in, from the nearest up
 *
 * True and its path.  False: the last place that was tried. */
bool data_find(const char *folder, const char *file, char path[DATA_PATH]);
/* The same, "folder/file" in one; returns path, of a file or of nothing. */
const char *data_shared(const char *name, char path[DATA_PATH]);

#endif
