/*
 * report.h - tables and figures of a recorded run, from its files alone.
 *
 * The same run and the same reported.json give the same bytes.  Narrow
 * experiments (up to VIEW_NARROW rows) have a line per case and a column per
 * row; wide ones have aggregates over cases and the cases of the chosen groups.
 * The complete numbers are in a .tsv beside every table.
 */
#ifndef SUITES_REPORT_H
#define SUITES_REPORT_H

#include <stdbool.h>

/* Writes EXPERIMENT.md (or .tex, .csv) and EXPERIMENT.tsv for every experiment of
 * the run, and claims.* and reported.* where there are any, into out_dir, which is
 * made if missing.  format: "md", "tex" or "csv".  0 or -1. */
int report_tables(const char *result_dir, const char *out_dir, const char *format);

/* Writes a .tsv and a .gp for every figure and, if gnuplot is found, runs it: .svg
 * and .png.  0 or -1. */
int report_plots(const char *result_dir, const char *out_dir);
bool report_can_draw(void); /* is gnuplot found? */

/* PAPER_gpus: speedups and fractions of the speed of light, a series for each run and a
 * hollow one for each GPU of the paper.  No file but the .tsv if the runs share no case.
 * 0 or -1. */
struct gpus;
int report_gpus(const struct gpus *g, const char *out_dir);

/* Makes a folder and those above it, where missing.  0 or -1. */
int report_folder(const char *path);

#endif
