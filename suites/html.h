/*
 * html.h - recorded results as pages that a browser shows.
 *
 *   DIR/index.html        all results: what each GPU says to each claim
 *   DIR/GPU_PAPER.html    one result: claims, tables, figures, environment, commands
 *   DIR/GPU_PAPER/        tables/ and figures/ of it, as `tables` and `plots` write them
 *
 * A page asks for nothing outside itself; its figures are part of it.  It is readable
 * without its script, which sorts tables.  The same results and claims.json give the same
 * bytes.  Without gnuplot a figure is shown as the numbers behind it.
 */
#ifndef SUITES_HTML_H
#define SUITES_HTML_H

/* result: as result_load takes them; count 0: every recorded one, RECORDED/GPU/PAPER.
 * out is made if missing; files of other runs in its folders tables/ and figures/ that have
 * the endings of ours are removed.  0 or -1. */
int html_write(const char *const *result, int count, const char *recorded, const char *out);

#endif
