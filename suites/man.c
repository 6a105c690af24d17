/* man.c - help, manual page and completion from one set of tables. */
#include "man.h"

#include <string.h>

bool cli_takes(const struct cli_option *o, const char *verb)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", verb);
    return !strcmp(o->verbs, " ") || strstr(o->verbs, word);
}

/* ---- help ---- */

void man_verb_help(const struct cli *c, const struct cli_verb *v, FILE *out)
{
    fprintf(out, "claimbench %s %s\n    %s\n", v->name, v->arguments, v->help);
    for (const struct cli_option *o = c->option; o->name; o++)
        if (cli_takes(o, v->name)) {
            char left[48];
            snprintf(left, sizeof left, "%s %s", o->name, o->value ? o->value : "");
            fprintf(out, "    %-26s %s\n", left, o->help);
        }
}

void man_help(const struct cli *c, FILE *out)
{
    fprintf(out, "claimbench %s: re-measures what papers on efficient GPU kernels claim\n\n",
            c->version);
    for (const struct cli_verb *v = c->verb; v->name; v++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", v->name, v->arguments);
        fprintf(out, "  %-30s %s\n", left, v->help);
    }
    fputs("\nclaimbench VERB --help tells its options.\n", out);
    int column = fprintf(out, "Exit codes:");
    for (const struct cli_exit *e = c->exit; e->help; e++) {
        char part[128];
        int n = snprintf(part, sizeof part, "%d %s%s", e->code, e->help, e[1].help ? "," : ".");
        if (column + 1 + n > 90)
            column = fprintf(out, "\n%s", part) - 1;
        else
            column += fprintf(out, " %s", part);
    }
    fputc('\n', out);
}

/* ---- manual page ---- */

/* Text of roff: no escape, hyphens as typed, no request at the start of a line. */
static void roff(FILE *out, const char *s)
{
    if (*s == '.' || *s == '\'')
        fputs("\\&", out);
    for (; *s; s++)
        if (*s == '\\')
            fputs("\\e", out);
        else if (*s == '-')
            fputs("\\-", out);
        else
            fputc(*s, out);
}

static void section(FILE *out, const char *name)
{
    fprintf(out, ".SH %s\n", name);
}

static void option_entry(FILE *out, const struct cli_option *o)
{
    fputs(".TP\n\\fB", out);
    roff(out, o->name);
    fputs("\\fR", out);
    if (o->value) {
        fputs(" \\fI", out);
        roff(out, o->value);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    roff(out, o->help);
    fputc('\n', out);
    bool first = true;
    for (const char *s = o->verbs + 1; *s; s += strcspn(s, " ") + 1) {
        fprintf(out, "%s\\fB%.*s\\fR", first ? "(" : ",\n", (int)strcspn(s, " "), s);
        first = false;
    }
    fputs(first ? "(all)\n" : ")\n", out);
}

void man_page(const struct cli *c, FILE *out)
{
    fprintf(out, ".TH CLAIMBENCH 1 2026-11-23 \"claimbench %s\" \"User Commands\"\n", c->version);
    section(out, "NAME");
    fputs("claimbench \\- re\\-measures what papers on efficient GPU kernels claim\n", out);
    section(out, "SYNOPSIS");
    fputs("\\fBclaimbench\\fR \\fIverb\\fR [\\fIargument\\fR ...] [\\fIoption\\fR ...]\n"
          ".br\n\\fBclaimbench\\fR [\\fIverb\\fR] \\fB\\-\\-help\\fR\n"
          ".br\n\\fBclaimbench\\fR \\fB\\-\\-version\\fR\n", out);
    section(out, "DESCRIPTION");
    fputs("Measures the published kernels of a paper, the libraries they were\ncompared with and"
          "\na plain reference in turns, checks every result, and sets what was\n"
          "measured beside what the paper reports.\n"
          "A \\fIRESULT\\fR is a result.json, the folder of a run, or a folder of\n"
          "recorded runs.\n",
          out);
    section(out, "VERBS");
    for (const struct cli_verb *v = c->verb; v->name; v++) {
        fprintf(out, ".TP\n\\fB%s\\fR", v->name);
        if (*v->arguments) {
            fputc(' ', out);
            roff(out, v->arguments);
        }
        fputc('\n', out);
        roff(out, v->help);
        fputc('\n', out);
    }
    section(out, "OPTIONS");
    fputs("The verbs that take an option follow it in brackets.\n", out);
    for (const struct cli_option *o = c->option; o->name; o++)
        option_entry(out, o);
    section(out, "EXIT STATUS");
    for (const struct cli_exit *e = c->exit; e->help; e++) {
        fprintf(out, ".TP\n\\fB%d\\fR\n", e->code);
        roff(out, e->help);
        fputc('\n', out);
    }
    section(out, "ENVIRONMENT");
    fputs(".TP\n\\fBCLAIMBENCH_HOME\\fR\nThe folder that holds suites/ and configs/; by default "
          "that\nof the program or one above it.\n", out);
    section(out, "EXAMPLES");
    fputs(".nf\nclaimbench run \\-\\-paper daspmm \\-\\-profile smoke\n"
          "claimbench claims results/h200/daspmm\n"
          "claimbench html \\-o build/html\n.fi\n", out);
    section(out, "SEE ALSO");
    fputs("\\fBgnuplot\\fR(1)\n", out);
}

/* ---- completion ---- */

void man_completion(const struct cli *c, FILE *out)
{
    fputs("# bash completion of claimbench, written by `claimbench completion bash`\n"
          "_claimbench() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} options=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"", out);
    for (const struct cli_verb *v = c->verb; v->name; v++)
        fprintf(out, "%s ", v->name);
    fputs("--help --version\" -- \"$word\")\n        return\n    fi\n"
          "    case ${COMP_WORDS[1]} in\n", out);
    for (const struct cli_verb *v = c->verb; v->name; v++) {
        fprintf(out, "    %s) options=\"", v->name);
        bool first = true;
        for (const struct cli_option *o = c->option; o->name; o++)
            if (cli_takes(o, v->name)) {
                fprintf(out, "%s%s", first ? "" : " ", o->name);
                first = false;
            }
        fputs("\" ;;\n", out);
    }
    /* -o of complete falls back to names of files where nothing is offered */
    fputs("    esac\n"
          "    if [ \"${word#-}\" != \"$word\" ]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
          "    fi\n"
          "}\n"
          "complete -o default -F _claimbench claimbench\n", out);
}
