/*
 * text.h - lines and numbers out of a text in memory, for the matrix readers.
 *
 * By hand, because a matrix of a hundred million entries is read at the speed
 * of this code, and because text in memory can be fuzzed.
 */
#ifndef SUITES_DATA_TEXT_H
#define SUITES_DATA_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    const char *name;      /* for messages */
    const char *next, *end;
    const char *at, *stop; /* what is left of the current line, without its end */
    long line;             /* number of the current line, from 1 */
};

/* Refuses text with a NUL in it. */
int text_open(struct text *t, const char *name, const char *text, size_t size);
/* Goes to the next line; false at the end of the text. */
bool text_line(struct text *t);
/* Goes to the next line that is neither blank nor a comment (%). */
bool text_line_of_data(struct text *t);
/* Nothing but blanks left in the line. */
bool text_at_end(struct text *t);
/* The next word of the line; length 0 at its end. */
size_t text_word(struct text *t, const char **word);
/* The next word as a decimal integer; what does not fit saturates.  false and
 * nothing taken if it is not one. */
bool text_long(struct text *t, long *out);
/* The next word as a decimal number, correctly rounded to double; NaN and Inf
 * are not numbers. */
bool text_real(struct text *t, double *out);
/* cb_error("NAME:LINE: ..."); returns -1. */
int text_error(const struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "'word'" for a message: the next word, cut to something printable. */
const char *text_quote(struct text *t, char out[40]);

#endif
