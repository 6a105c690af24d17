/* matrix.c - what a spec names, and what every matrix can do. */
#include "matrix.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "generate.h"
#include "packages.h"

void data_text(char *to, size_t size, const char *from)
{
    size_t n = strlen(from);
    n = n < size ? n : size - 1;
    memcpy(to, from, n);
    memset(to + n, 0, size - n);
}

void matrix_free(struct matrix *m)
{
    if (!m)
        return;
    data_free(m->row_ptr);
    data_free(m->col);
    data_free(m->val);
    *m = (struct matrix){ 0 };
}

struct matrix_rows matrix_rows(const struct matrix *m)
{
    struct matrix_rows r = { .mean = m->rows ? (double)m->nnz / m->rows : 0 };
    double squares = 0;
    for (int i = 0; i < m->rows; i++) {
        int n = m->row_ptr[i + 1] - m->row_ptr[i];
        squares += (n - r.mean) * (n - r.mean);
        r.max = n > r.max ? n : r.max;
        r.empty += n == 0;
    }
    r.sd = m->rows ? sqrt(squares / m->rows) : 0;
    return r;
}

/* ---- files ---- */

typedef int parse_fn(const char *name, const char *text, size_t size, struct matrix *out);

static int parse_csrb(const char *name, const char *text, size_t size, struct matrix *out)
{
    return matrix_csrb_parse(name, text, size, out);
}

static const struct {
    const char *suffix;
    parse_fn *parse;
} formats[] = {
    { ".mtx", matrix_market_parse },   { ".mtx.gz", matrix_market_parse },
    { ".graph", matrix_metis_parse },  { ".graph.gz", matrix_metis_parse },
    { ".csrb", parse_csrb },
};
enum { FORMATS = sizeof formats / sizeof *formats };

/* The format of a path by its suffix; -1: none. */
static int format_of(const char *path)
{
    size_t n = strlen(path);
    for (int i = 0; i < FORMATS; i++) {
        size_t s = strlen(formats[i].suffix);
        if (n > s && !strcmp(path + n - s, formats[i].suffix))
            return i;
    }
    return -1;
}

static int load_file(const char *path, int format, struct matrix *out)
{
    char *text;
    size_t size;
    if (data_read(path, &text, &size))
        return -1;
    int status = formats[format].parse(path, text, size, out);
    data_free(text);
    if (status)
        return -1;
    if (formats[format].parse == parse_csrb)
        return 0; /* carries its texts and its checksum */
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    data_text(out->gen, sizeof out->gen, base);
    data_text(out->name, sizeof out->name, base);
    size_t stem = strlen(base) - strlen(formats[format].suffix);
    if (stem < sizeof out->name)
        memset(out->name + stem, 0, sizeof out->name - stem);
    data_text(out->source, sizeof out->source, "user");
    if (data_seal(out)) {
        matrix_free(out);
        return -1;
    }
    return 0;
}

/* ---- specs ---- */

static int no_such(const char *spec)
{
    return cb_error("%s: no generated matrix of that name, and as a file its name would have to "
                    "end in .mtx, .mtx.gz, .graph, .graph.gz or .csrb", spec);
}

int matrix_load(const char *spec, struct matrix *out)
{
    const char *preset = generate_preset(spec);
    *out = (struct matrix){ 0 };
    if (preset)
        return generate(spec, preset, out);
    if (!strncmp(spec, "gen:", 4))
        return generate(spec, spec + 4, out);
    if (!strncmp(spec, "package:", 8))
        return package_load(spec + 8, out);
    int format = format_of(spec);
    return format < 0 ? no_such(spec) : load_file(spec, format, out);
}

const char *matrix_name(const char *set, int i, const char **help)
{
    if (!strcmp(set, "generated"))
        return generate_preset_name(i, help);
    if (!strcmp(set, "package"))
        return package_name(i, help);
    return NULL;
}

bool matrix_available(const char *spec, char *why, size_t size)
{
    int status = 0;
    if (size)
        *why = 0;
    if (generate_preset(spec))
        return true;
    if (!strncmp(spec, "gen:", 4))
        status = generate_check(spec + 4);
    else if (!strncmp(spec, "package:", 8))
        status = package_check(spec + 8);
    else if (format_of(spec) < 0)
        status = no_such(spec);
    else if (access(spec, R_OK))
        status = cb_error("%s: %s", spec, strerror(errno));
    if (status)
        snprintf(why, size, "%s", cb_error_text());
    return !status;
}
