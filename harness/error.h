/*
 * error.h - the text of the last failure, one per thread.
 *
 * Functions of harness/ and suites/ return 0, or -1 after cb_error.  Only
 * main prints.  A message says what, where and which:
 *     suites/awq/experiments.json: gemv: problem 0: gemm has no parameter 'mm'
 */
#ifndef HARNESS_ERROR_H
#define HARNESS_ERROR_H

/* Keeps the text (printf's format); returns -1, so that a failure is one line. */
int cb_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts "PREFIX: " before the kept text; returns -1. */
int cb_error_in(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The kept text; "" if nothing failed.  Valid until the next call of this thread. */
const char *cb_error_text(void);
void cb_error_clear(void);

#endif
