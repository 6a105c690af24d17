/*
 * tool.h - programs of the CUDA toolkit that are used where they are found.
 */
#ifndef HARNESS_TOOL_H
#define HARNESS_TOOL_H

/* Path of a program: $variable, PATH, $CUDA_HOME/bin, $CUDA_PATH/bin, /usr/local/cuda/bin.
 * 0, or -1 if there is none, or what the variable names cannot be run. */
int cb_tool_find(const char *variable, const char *file, char *path, int size);

/* Runs argv, ended by NULL, argv[0] a path; its errors are dropped.  *text is what it prints,
 * ended by 0, freed by the caller.  -1, and *text NULL, if it cannot run or does not exit with 0. */
int cb_tool_run(char *const *argv, char **text);

#endif
