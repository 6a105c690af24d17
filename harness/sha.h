/* sha.h - SHA-256 of memory and of files, as 64 lower-case hexadecimal digits. */
#ifndef HARNESS_SHA_H
#define HARNESS_SHA_H

#include <stddef.h>

/* 0, or -1 with cb_error and out = "". */
int cb_sha256(const void *data, size_t bytes, char out[65]);
int cb_sha256_file(const char *path, char out[65]);

#endif
