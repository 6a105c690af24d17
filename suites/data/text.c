/* text.c - lines and numbers out of a text in memory. */
#include "text.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"

int text_error(const struct text *t, const char *format, ...)
{
    char reason[512];
    va_list list;
    va_start(list, format);
    vsnprintf(reason, sizeof reason, format, list);
    va_end(list);
    return cb_error("%s:%ld: %s", t->name, t->line, reason);
}

int text_open(struct text *t, const char *name, const char *text, size_t size)
{
    *t = (struct text){ .name = name, .next = text, .end = text + size, .at = text, .stop = text };
    const char *nul = size ? memchr(text, 0, size) : NULL;
    if (!nul)
        return 0;
    t->line = 1;
    for (const char *p = text; p < nul; p++)
        t->line += *p == '\n';
    return text_error(t, "a NUL byte: not a text file");
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool text_line(struct text *t)
{
    if (t->next >= t->end)
        return false;
    const char *stop = memchr(t->next, '\n', (size_t)(t->end - t->next));
    t->at = t->next;
    t->stop = stop ? stop : t->end;
    t->next = stop ? stop + 1 : t->end;
    t->line++;
    return true;
}

static void skip_blanks(struct text *t)
{
    while (t->at < t->stop && blank(*t->at))
        t->at++;
}

bool text_at_end(struct text *t)
{
    skip_blanks(t);
    return t->at == t->stop;
}

bool text_line_of_data(struct text *t)
{
    while (text_line(t))
        if (!text_at_end(t) && *t->at != '%')
            return true;
    return false;
}

size_t text_word(struct text *t, const char **word)
{
    skip_blanks(t);
    *word = t->at;
    while (t->at < t->stop && !blank(*t->at))
        t->at++;
    return (size_t)(t->at - *word);
}

bool text_long(struct text *t, long *out)
{
    skip_blanks(t);
    const char *p = t->at;
    bool negative = p < t->stop && *p == '-';
    if (p < t->stop && (*p == '-' || *p == '+'))
        p++;
    const char *digits = p;
    long v = 0;
    for (; p < t->stop && *p >= '0' && *p <= '9'; p++)
        v = v > (LONG_MAX - 9) / 10 ? LONG_MAX / 10 : v * 10 + (*p - '0');
    if (p == digits || (p < t->stop && !blank(*p)))
        return false;
    t->at = p;
    *out = negative ? -v : v;
    return true;
}

/* A word that has been found to be [sign] digits [. digits] [e [sign] digits],
 * by the C library: correctly rounded, slow. */
static bool real_by_library(const char *word, size_t n, double *out)
{
    char copy[128];
    if (n >= sizeof copy)
        return false; /* no writer prints so many digits */
    memcpy(copy, word, n);
    copy[n] = 0;
    *out = strtod(copy, NULL);
    return true;
}

bool text_real(struct text *t, double *out)
{
    /* Up to 2^53 times or over up to 10^22, both exact in double, so that the
     * one operation rounds correctly. */
    static const double power[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    skip_blanks(t);
    const char *word = t->at, *p = word, *stop = t->stop;
    bool negative = p < stop && *p == '-';
    if (p < stop && (*p == '-' || *p == '+'))
        p++;
    uint64_t digits = 0;
    int seen = 0, exponent = 0;
    bool exact = true;
    for (bool fraction = false; p < stop; p++) {
        if (*p == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (*p < '0' || *p > '9')
            break;
        seen++;
        if (digits > ((uint64_t)1 << 53) / 10 - 1)
            exact = false;
        else
            digits = digits * 10 + (uint64_t)(*p - '0');
        exponent -= fraction;
    }
    if (!seen)
        return false;
    if (p < stop && (*p == 'e' || *p == 'E')) {
        p++;
        bool minus = p < stop && *p == '-';
        if (p < stop && (*p == '-' || *p == '+'))
            p++;
        int e = 0;
        const char *first = p;
        for (; p < stop && *p >= '0' && *p <= '9'; p++)
            e = e > 99999 ? e : e * 10 + (*p - '0');
        if (p == first)
            return false;
        exponent += minus ? -e : e;
    }
    if (p < stop && !blank(*p))
        return false;
    if (exact && exponent >= -22 && exponent <= 22) {
        double v = (double)digits;
        v = exponent < 0 ? v / power[-exponent] : v * power[exponent];
        *out = negative ? -v : v;
    } else if (!real_by_library(word, (size_t)(p - word), out)) {
        return false;
    }
    t->at = p;
    return true;
}

const char *text_quote(struct text *t, char out[40])
{
    const char *word;
    size_t n = text_word(t, &word), k = 0;
    if (!n)
        return "the end of the line";
    out[k++] = '\'';
    for (size_t i = 0; i < n && k < 33; i++)
        out[k++] = word[i] > ' ' && word[i] < 127 ? word[i] : '?';
    if (n > k - 1) {
        memcpy(out + k, "...", 3);
        k += 3;
    }
    out[k++] = '\'';
    out[k] = 0;
    return out;
}
