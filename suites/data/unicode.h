/* unicode.h - classes of characters, for splitting text before it is tokenised, and UTF-8. */
#ifndef SUITES_DATA_UNICODE_H
#define SUITES_DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General category L..., N..., and White_Space; false for UNICODE_NONE. */
bool unicode_letter(uint32_t c);
bool unicode_number(uint32_t c);
bool unicode_space(uint32_t c);

/* A byte that starts no valid UTF-8 sequence. */
#define UNICODE_NONE UINT32_MAX

/* The character at text, size > 0 bytes long; returns its bytes, 1 for UNICODE_NONE. */
size_t utf8_next(const char *text, size_t size, uint32_t *out);

#endif
