/*
 * pcd.c - PCD v0.7: a text header, then records, as text or as bytes.
 *
 *     FIELDS x y z intensity     names, in the order of the record
 *     SIZE 4 4 4 4               bytes of one number
 *     TYPE F F F F               F float, I signed, U unsigned
 *     COUNT 1 1 1 1              numbers in a field; may be left out
 *     WIDTH 640  HEIGHT 480  POINTS 307200
 *     DATA ascii | binary        binary_compressed is refused
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "points.h"
#include "text.h"

enum { FIELDS_MAX = 64, KEPT = 4 };

struct pcd {
    struct text t;
    int fields, size[FIELDS_MAX], count[FIELDS_MAX];
    char type[FIELDS_MAX];
    int kept[KEPT];       /* field of x, y, z, intensity; -1: none */
    size_t at[KEPT];      /* byte in a binary record, number in a text record */
    size_t record;        /* bytes, or numbers */
    long width, height, points;
    bool sizes, types, binary;
};

static bool is(const char *word, size_t n, const char *text)
{
    return n == strlen(text) && !memcmp(word, text, n);
}

static int read_names(struct pcd *p)
{
    static const char *const names[KEPT] = { "x", "y", "z", "intensity" };
    const char *word;
    size_t n;
    if (p->fields)
        return text_error(&p->t, "FIELDS twice");
    while ((n = text_word(&p->t, &word)) != 0) {
        if (p->fields == FIELDS_MAX)
            return text_error(&p->t, "more than %d fields", FIELDS_MAX);
        for (int k = 0; k < KEPT; k++)
            if (is(word, n, names[k])) {
                if (p->kept[k] >= 0)
                    return text_error(&p->t, "field '%s' twice", names[k]);
                p->kept[k] = p->fields;
            }
        p->count[p->fields++] = 1;
    }
    for (int k = 0; k < 3; k++)
        if (p->kept[k] < 0)
            return text_error(&p->t, "no field '%s'", names[k]);
    return 0;
}

/* One number a field into to[], within low .. high. */
static int read_numbers(struct pcd *p, const char *what, int *to, long low, long high)
{
    char word[40];
    for (int f = 0; f < p->fields; f++) {
        long v;
        if (!text_long(&p->t, &v))
            return text_error(&p->t, "%s: %s is not a number (field %d of %d)", what,
                              text_quote(&p->t, word), f + 1, p->fields);
        if (v < low || v > high)
            return text_error(&p->t, "%s: %ld is not in %ld .. %ld", what, v, low, high);
        to[f] = (int)v;
    }
    return p->fields && text_at_end(&p->t) ? 0
                                           : text_error(&p->t, "%s does not match FIELDS", what);
}

static int read_types(struct pcd *p)
{
    for (int f = 0; f < p->fields; f++) {
        const char *word;
        size_t n = text_word(&p->t, &word);
        if (n != 1 || !strchr("FIU", *word))
            return text_error(&p->t, "TYPE of field %d is none of F I U", f + 1);
        p->type[f] = *word;
    }
    return p->fields && text_at_end(&p->t) ? 0 : text_error(&p->t, "TYPE does not match FIELDS");
}

static int read_count(struct pcd *p, const char *what, long *to)
{
    if (!text_long(&p->t, to) || *to < 0 || *to > POINTS_MAX)
        return text_error(&p->t, "%s is not a number up to %d", what, POINTS_MAX);
    return 0;
}

/* Returns 1 after DATA, 0 after another line, -1 after cb_error. */
static int header_line(struct pcd *p)
{
    char quoted[40];
    const char *word;
    size_t n = text_word(&p->t, &word);
    if (is(word, n, "VERSION") || is(word, n, "VIEWPOINT"))
        return 0;
    if (is(word, n, "FIELDS"))
        return read_names(p);
    if (is(word, n, "SIZE")) {
        p->sizes = true;
        return read_numbers(p, "SIZE", p->size, 1, 8);
    }
    if (is(word, n, "TYPE")) {
        p->types = true;
        return read_types(p);
    }
    if (is(word, n, "COUNT"))
        return read_numbers(p, "COUNT", p->count, 1, 4096);
    if (is(word, n, "WIDTH"))
        return read_count(p, "WIDTH", &p->width);
    if (is(word, n, "HEIGHT"))
        return read_count(p, "HEIGHT", &p->height);
    if (is(word, n, "POINTS"))
        return read_count(p, "POINTS", &p->points);
    if (!is(word, n, "DATA")) {
        p->t.at = word;
        return text_error(&p->t, "%s is no line of a PCD header", text_quote(&p->t, quoted));
    }
    n = text_word(&p->t, &word);
    p->binary = is(word, n, "binary");
    if (!p->binary && !is(word, n, "ascii"))
        return text_error(&p->t, "DATA is neither ascii nor binary");
    return 1;
}

static int check_header(struct pcd *p)
{
    if (!p->fields || !p->sizes || !p->types)
        return text_error(&p->t, "no %s before DATA",
                          !p->fields ? "FIELDS" : !p->sizes ? "SIZE" : "TYPE");
    if (p->points < 0 && p->width >= 0 && p->height >= 0 && p->width * p->height <= POINTS_MAX)
        p->points = p->width * p->height;
    if (p->points <= 0)
        return text_error(&p->t, "no POINTS, or none of them");
    if (p->width >= 0 && p->height >= 0 && p->width * p->height != p->points)
        return text_error(&p->t, "WIDTH x HEIGHT is not POINTS");
    size_t start[FIELDS_MAX];
    for (int f = 0; f < p->fields; f++) {
        start[f] = p->record;
        p->record += (size_t)p->count[f] * (p->binary ? (size_t)p->size[f] : 1);
    }
    for (int k = 0; k < KEPT; k++) {
        const int f = p->kept[k];
        if (f < 0)
            continue;
        p->at[k] = start[f];
        if (p->type[f] != 'F' || (p->size[f] != 4 && p->size[f] != 8) || p->count[f] != 1) {
            if (k == 3) /* an intensity of another type is left out */
                p->kept[k] = -1;
            else
                return text_error(&p->t, "coordinates are not one F of size 4 or 8 each");
        }
    }
    return 0;
}

static int short_of(struct pcd *p, long i)
{
    return cb_error("%s: ends after %ld of %ld points", p->t.name, i, p->points);
}

static float number_at(const struct pcd *p, const char *record, int k)
{
    double d;
    float f;
    if (p->size[p->kept[k]] == 8) {
        memcpy(&d, record + p->at[k], sizeof d);
        return (float)d;
    }
    memcpy(&f, record + p->at[k], sizeof f);
    return f;
}

/* The next word as a number; nan and inf are points without a return. */
static bool word_number(struct text *t, double *out)
{
    const char *before = t->at, *word;
    if (text_real(t, out))
        return true;
    t->at = before;
    size_t n = text_word(t, &word);
    if (n && (*word == '-' || *word == '+')) {
        word++;
        n--;
    }
    *out = NAN;
    return is(word, n, "nan") || is(word, n, "NaN") || is(word, n, "inf");
}

static int text_record(struct pcd *p, long i, float v[KEPT])
{
    char word[40];
    if (!text_line_of_data(&p->t))
        return short_of(p, i);
    for (size_t c = 0; c < p->record; c++) {
        double d;
        const char *before = p->t.at;
        if (!word_number(&p->t, &d)) {
            p->t.at = before;
            return text_error(&p->t, "%s is not a number (%zu of %zu)", text_quote(&p->t, word),
                              c + 1, p->record);
        }
        for (int k = 0; k < KEPT; k++)
            if (p->kept[k] >= 0 && p->at[k] == c)
                v[k] = (float)d;
    }
    return text_at_end(&p->t) ? 0 : text_error(&p->t, "more than %zu numbers", p->record);
}

static int read_points(struct pcd *p, struct points *out)
{
    const int channels = p->kept[3] >= 0 ? 4 : 3;
    const size_t left = (size_t)(p->t.end - p->t.next);
    /* before memory is taken: a number and a blank are two bytes */
    if ((p->binary ? left / p->record : left / (2 * p->record) + 1) < (size_t)p->points)
        return cb_error("%s: %ld points do not fit into the %zu bytes after the header",
                        p->t.name, p->points, left);
    if (points_new(p->t.name, p->points, channels, out))
        return -1;
    long n = 0;
    for (long i = 0; i < p->points; i++) {
        float v[KEPT] = { 0 };
        if (p->binary)
            for (int k = 0; k < channels; k++)
                v[k] = number_at(p, p->t.next + (size_t)i * p->record, k);
        else if (text_record(p, i, v))
            return -1;
        bool keep = true;
        for (int k = 0; k < channels; k++)
            keep &= isfinite(v[k]) != 0;
        if (keep)
            memcpy(out->v + n++ * channels, v, (size_t)channels * sizeof *v);
    }
    if (!n)
        return cb_error("%s: none of %ld points is finite", p->t.name, p->points);
    out->n = n;
    return 0;
}

/* text_open refuses NUL bytes, which binary records have: only the header is text. */
static size_t header_end(const char *data, size_t size)
{
    for (size_t i = 0; i + 5 < size && i < 65536; i++)
        if ((!i || data[i - 1] == '\n') && !memcmp(data + i, "DATA ", 5)) {
            const char *end = memchr(data + i, '\n', size - i);
            return end ? (size_t)(end - data) + 1 : size;
        }
    return 0;
}

int points_pcd_parse(const char *name, const char *data, size_t size, struct points *out)
{
    struct pcd p = { .kept = { -1, -1, -1, -1 }, .width = -1, .height = -1, .points = -1 };
    size_t header = header_end(data, size);
    int end = 0;
    *out = (struct points){ 0 };
    if (!header)
        return cb_error("%s: no line DATA: not a PCD file", name);
    if (text_open(&p.t, name, data, header))
        return -1;
    while (!end && text_line(&p.t)) {
        if (text_at_end(&p.t) || *p.t.at == '#')
            continue;
        end = header_line(&p);
        if (end < 0)
            return -1;
    }
    if (check_header(&p))
        return -1;
    if (!p.binary) { /* the rest is text too */
        struct text rest;
        if (text_open(&rest, name, data, size))
            return -1;
    }
    p.t.end = data + size;
    int status = read_points(&p, out);
    if (status)
        points_free(out);
    return status;
}
