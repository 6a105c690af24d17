/*
 * html_part.h - pieces of a page: text, tables, and what other files hold.
 *
 * Nothing that comes from a file reaches the page as markup: texts are escaped,
 * Markdown is the little that reports are made of, and of an SVG only known
 * elements and attributes are kept.
 */
#ifndef SUITES_HTML_PART_H
#define SUITES_HTML_PART_H

#include <stdio.h>

#include "../harness/table.h"

/* The bytes of a file and a zero after them; malloc, NULL with cb_error set. */
char *html_read(const char *path);

/* Text, also inside double quotes of an attribute.  What is no UTF-8 becomes U+FFFD. */
void html_text(FILE *out, const char *text);
/* printf, escaped.  No more than 4000 bytes. */
void html_put(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A verdict with a sign before it, so that colour says nothing alone; other texts as they are. */
void html_verdict(FILE *out, const char *text);

/* A table in a box of its own that scrolls; folded away above HTML_FOLD rows.  name: for
 * screen readers where there is no caption. */
enum { HTML_FOLD = 24 };
void html_table(FILE *out, const struct cb_table *t, const char *name);
/* A .tsv as a table without lines of '#'.  0 or -1. */
int html_tsv(const char *tsv, struct cb_table *out);

/* Part of a report in Markdown: 0 is what stands before the first "## ", n the n-th
 * such section.  Headings are left out.  0 or -1. */
int html_markdown(FILE *out, const char *markdown, int part);

/* A picture as part of the page.  prefix: unique in the page, put before its ids.
 * 0 or -1 if it is no SVG. */
int html_svg(FILE *out, const char *svg, const char *prefix, const char *title,
             const char *description);

#endif
