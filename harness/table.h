/*
 * table.h - tables of text, written in the formats that people and plots read.
 *
 * The same cells give the same bytes, on any machine and in any locale that
 * the program sets: numbers become text here, by cb_number.
 */
#ifndef HARNESS_TABLE_H
#define HARNESS_TABLE_H

#include <stdio.h>

enum cb_format { CB_MARKDOWN, CB_CSV, CB_LATEX, CB_TSV, CB_PLAIN };
/* "md", "csv", "tex", "tsv", "text".  0 or -1. */
int cb_format_parse(const char *name, enum cb_format *out);
const char *cb_format_extension(enum cb_format f); /* as above; "txt" for CB_PLAIN */

struct cb_table {
    char *caption;     /* written above; NULL: none.  CSV and TSV have none */
    char **cell;       /* [rows + 1][columns]: the head is row 0; "" where nothing was put */
    int columns, rows; /* rows: without the head */
    int capacity;
};

/* head: `columns` texts.  caption may be NULL.  0 or -1. */
int cb_table_init(struct cb_table *t, const char *caption, int columns, const char *const *head);
void cb_table_free(struct cb_table *t); /* accepts { 0 } */
/* A new empty row; its index in 1 .. rows, or -1. */
int cb_table_row(struct cb_table *t);
/* Replaces a cell of a row (0: the head).  0 or -1. */
int cb_table_set(struct cb_table *t, int row, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Tabs and line ends in cells become spaces in TSV; an empty cell is "-" there,
 * because gnuplot drops empty fields.  0 or -1. */
int cb_table_write(const struct cb_table *t, enum cb_format f, FILE *out);
/* Writes one file; 0 or -1. */
int cb_table_save(const struct cb_table *t, enum cb_format f, const char *path);

/* A text with what LaTeX would read as its own escaped. */
void cb_write_latex(const char *s, FILE *out);

/* x with that many significant digits and without exponent where that stays
 * readable ("1.26", "0.107", "4194304"); "-" for what is not finite.  Returns text. */
enum { CB_NUMBER_MAX = 40 };
const char *cb_number(double x, int digits, char text[CB_NUMBER_MAX]);
/* "1.26 [1.24, 1.27]", one digit more where the ends would read alike; the value
 * alone where there is no interval. */
const char *cb_bounded(double value, double low, double high, int digits, char *text, size_t size);

#endif
