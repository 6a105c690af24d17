/*
 * man.h - what the command line takes, as tables, and what is written from them:
 * help, the manual page, completion.
 */
#ifndef SUITES_MAN_H
#define SUITES_MAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct options;

enum cli_kind { FLAG, TEXT, NUMBER, COUNT };
struct cli_option {
    const char *name, *verbs; /* verbs: those that take it, between spaces; " ": all */
    const char *value, *help; /* value: what stands for it in help; NULL: takes none */
    enum cli_kind kind;
    size_t offset; /* in struct options */
};
struct cli_verb {
    const char *name, *arguments, *help;
    int (*run)(const struct options *o);
};
struct cli_exit {
    int code;
    const char *help;
};

struct cli {
    const char *version;
    const struct cli_verb *verb; /* each ended by an entry whose name or help is NULL */
    const struct cli_option *option;
    const struct cli_exit *exit;
};

bool cli_takes(const struct cli_option *o, const char *verb);

void man_help(const struct cli *c, FILE *out);           /* claimbench --help */
void man_verb_help(const struct cli *c, const struct cli_verb *v, FILE *out); /* VERB --help */
void man_page(const struct cli *c, FILE *out);           /* claimbench(1), for man -l */
void man_completion(const struct cli *c, FILE *out);     /* for bash */

#endif
