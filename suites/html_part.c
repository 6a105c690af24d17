/* html_part.c - escaping, tables, Markdown and SVG for pages. */
#include "html_part.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"

char *html_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    size_t n = 0, room = 0;
    if (!f) {
        cb_error("%s: %s", path, strerror(errno));
        return NULL;
    }
    do {
        if (room - n < 4096) {
            char *more = realloc(text, room = 2 * room + 65536);
            if (!more) {
                cb_error("%s: no memory", path);
                goto fail;
            }
            text = more;
        }
        n += fread(text + n, 1, room - n - 1, f);
    } while (!feof(f) && !ferror(f));
    if (ferror(f)) {
        cb_error("%s: cannot be read", path);
        goto fail;
    }
    fclose(f);
    text[n] = 0;
    return text;
fail:
    fclose(f);
    free(text);
    return NULL;
}

/* ---- text ---- */

/* Bytes of the UTF-8 character at s; 0: it is none, or one that no page may hold. */
static int character(const unsigned char *s)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    int n = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;
    unsigned code = n > 1 ? *s & (0x7fu >> n) : *s;
    for (int i = 1; i < n; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    bool control = code < ' ' && code != '\t' && code != '\n';
    bool barred = (code >= 0x7f && code < 0xa0) || (code >= 0xd800 && code < 0xe000) ||
                  code > 0x10ffff || (code & 0xfffe) == 0xfffe ||
                  (code >= 0xfdd0 && code < 0xfdf0);
    return n && code >= least[n] && !control && !barred ? n : 0;
}

void html_text(FILE *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        int n = character(s);
        if (!n)
            fputs("\xef\xbf\xbd", out);
        else if (*s == '&')
            fputs("&amp;", out);
        else if (*s == '<')
            fputs("&lt;", out);
        else if (*s == '>')
            fputs("&gt;", out);
        else if (*s == '"')
            fputs("&quot;", out);
        else if (*s == '\'')
            fputs("&#39;", out);
        else
            fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
}

void html_put(FILE *out, const char *format, ...)
{
    char text[4000];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    html_text(out, text);
}

void html_verdict(FILE *out, const char *text)
{
    static const struct {
        const char *name, *class, *sign;
    } known[] = {
        { "REPRODUCED", "yes", "&#10004;" },    { "TREND_HOLDS", "trend", "&#9650;" },
        { "NOT_REPRODUCED", "no", "&#10008;" }, { "NOT_COMPARABLE_GPU", "open", "&#8211;" },
        { "NOT_COMPARABLE_SETUP", "open", "&#8211;" },
        { "LOW_QUALITY", "weak", "&#8776;" },   { "NOT_MEASURED", "open", "&#9675;" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(text, known[i].name)) {
            fprintf(out, "<span class=\"v %s\"><span aria-hidden=\"true\">%s</span> %s</span>",
                    known[i].class, known[i].sign, text);
            return;
        }
    html_text(out, text);
}

/* ---- tables ---- */

static const char *cell_of(const struct cb_table *t, int row, int column)
{
    const char *s = t->cell[(size_t)row * t->columns + column];
    return s ? s : "";
}

/* As in the other formats: the first filled cell begins like a number. */
static bool is_number(const struct cb_table *t, int column)
{
    for (int r = 1; r <= t->rows; r++) {
        const char *s = cell_of(t, r, column);
        if (!*s || !strcmp(s, "-"))
            continue;
        return isdigit((unsigned char)*s) || (*s == '-' && isdigit((unsigned char)s[1]));
    }
    return false;
}

/* A column of sentences needs room; numbers and names take what they need. */
static bool is_wide(const struct cb_table *t, int column)
{
    for (int r = 1; r <= t->rows; r++)
        if (strlen(cell_of(t, r, column)) > 40)
            return true;
    return false;
}

/* Commands keep to one line, so that no option is broken at its dashes. */
static void put_cell(FILE *out, const char *text)
{
    bool command = !strncmp(text, "build/claimbench ", 17);
    fputs(command ? "<code class=\"line\">" : "", out);
    html_verdict(out, text);
    fputs(command ? "</code>" : "", out);
}

void html_table(FILE *out, const struct cb_table *t, const char *name)
{
    const char *caption = t->caption ? t->caption : name;
    bool fold = t->rows > HTML_FOLD;
    if (fold) {
        fputs("<details><summary>", out);
        html_text(out, caption);
        fprintf(out, " (%d rows)</summary>\n", t->rows);
    }
    fputs("<div class=\"box\" role=\"region\" tabindex=\"0\" aria-label=\"", out);
    html_text(out, caption);
    fputs("\"><table class=\"sort\">\n", out);
    if (t->caption && !fold) {
        fputs("<caption>", out);
        html_text(out, t->caption);
        fputs("</caption>\n", out);
    }
    for (int r = 0; r <= t->rows; r++) {
        fputs(r == 0 ? "<thead><tr>" : r == 1 ? "<tbody>\n<tr>" : "<tr>", out);
        for (int c = 0; c < t->columns; c++) {
            const char *kind = r && c ? "td" : "th";
            fprintf(out, "<%s%s%s>", kind, r ? c ? "" : " scope=\"row\"" : " scope=\"col\"",
                    is_number(t, c) ? " class=\"r\"" : is_wide(t, c) ? " class=\"wide\"" : "");
            put_cell(out, cell_of(t, r, c));
            fprintf(out, "</%s>", kind);
        }
        fputs(r ? "</tr>\n" : "</tr></thead>\n", out);
    }
    fprintf(out, "%s</table></div>\n%s", t->rows ? "</tbody>" : "", fold ? "</details>\n" : "");
}

/* Cuts the line at *at off, which then is the one after it; NULL: no more. */
static char *next_line(char **at)
{
    char *line = *at, *end = line + strcspn(line, "\n");
    if (!*line)
        return NULL;
    *at = *end ? end + 1 : end;
    *end = 0;
    return line;
}

int html_tsv(const char *tsv, struct cb_table *out)
{
    char *copy = strdup(tsv), *at = copy, *line;
    int status = copy ? 0 : cb_error("no memory for a table");
    *out = (struct cb_table){ 0 };
    while (!status && (line = next_line(&at))) {
        const char *head[256];
        int n = 0;
        if (*line == '#' || !*line)
            continue;
        for (char *cell = line; cell && n < 256;) {
            char *tab = strchr(cell, '\t');
            if (tab)
                *tab = 0;
            head[n++] = cell;
            cell = tab ? tab + 1 : NULL;
        }
        if (!out->columns) {
            status = cb_table_init(out, NULL, n, head);
            continue;
        }
        int row = cb_table_row(out);
        status = row < 0 ? -1 : 0;
        for (int c = 0; c < n && c < out->columns && !status; c++)
            status = cb_table_set(out, row, c, "%s", head[c]);
    }
    free(copy);
    if (status)
        cb_table_free(out);
    return status;
}

/* ---- Markdown, as report.c and table.c write it ---- */

/* Splits "| a | b\|c |" in place; the number of cells. */
static int split_row(char *line, const char **cell, int max)
{
    char *to, *s = line + 1;
    int n = 0;
    while (*s && n < max) {
        s += *s == ' ';
        cell[n++] = to = s;
        for (; *s && *s != '|'; s++) {
            s += *s == '\\' && s[1] == '|';
            *to++ = *s;
        }
        s += *s == '|';
        to -= to > cell[n - 1] && to[-1] == ' ';
        *to = 0;
        if (!*s || !strcmp(s, "\r"))
            break;
    }
    return n;
}

static int markdown_table(FILE *out, char *line, char **at, const char *caption)
{
    const char *cell[256];
    struct cb_table t;
    int n = split_row(line, cell, 256), status = cb_table_init(&t, caption, n, cell);
    for (int r = 0; !status && **at == '|'; r++) {
        line = next_line(at);
        int row = r ? cb_table_row(&t) : 0; /* the first has the dashes */
        status = row < 0 ? -1 : 0;
        n = r ? split_row(line, cell, 256) : 0;
        for (int c = 0; c < n && c < t.columns && !status; c++)
            status = cb_table_set(&t, row, c, "%s", cell[c]);
    }
    if (!status)
        html_table(out, &t, "table");
    cb_table_free(&t);
    return status;
}

/* Escaped, with `this` as code. */
static void paragraph(FILE *out, char *line)
{
    bool code = false;
    fputs("<p>", out);
    for (char *s = line, *tick; s; s = tick ? tick + 1 : NULL) {
        tick = strchr(s, '`');
        if (tick)
            *tick = 0;
        html_text(out, s);
        if (tick && (code || strchr(tick + 1, '`'))) {
            fputs(code ? "</code>" : "<code>", out);
            code = !code;
        } else if (tick) {
            fputc('`', out);
        }
    }
    fputs("</p>\n", out);
}

int html_markdown(FILE *out, const char *markdown, int part)
{
    char *copy = strdup(markdown), *at = copy, *line, *caption = NULL;
    int section = 0, status = copy ? 0 : cb_error("no memory for a page");
    while (!status && (line = next_line(&at))) {
        size_t n = strlen(line);
        if (!strncmp(line, "## ", 3))
            section++;
        if (section != part || !n || *line == '#')
            continue;
        if (n > 4 && !strncmp(line, "**", 2) && !strcmp(line + n - 2, "**")) {
            line[n - 2] = 0;
            caption = line + 2;
        } else if (*line == '|') {
            status = markdown_table(out, line, &at, caption);
            caption = NULL;
        } else {
            paragraph(out, line);
        }
    }
    free(copy);
    return status;
}

/* ---- SVG ---- */

static bool among(const char *const *list, const char *name, size_t n)
{
    for (; *list; list++)
        if (strlen(*list) == n && !memcmp(*list, name, n))
            return true;
    return false;
}

static const char *const elements[] = { "svg",     "g",        "defs",    "path",   "rect",
                                        "circle",  "ellipse",  "line",    "polygon", "polyline",
                                        "text",    "tspan",    "use",     "image",  "clipPath",
                                        "pattern", NULL };
static const char *const attributes[] = {
    "viewBox", "id", "class", "d", "x", "y", "dx", "dy", "x1", "x2", "y1", "y2", "cx", "cy", "r",
    "rx", "ry", "width", "height", "points", "transform", "fill", "fill-opacity", "fill-rule",
    "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-dasharray",
    "stroke-opacity", "stroke-miterlimit", "opacity", "color", "font-family", "font-size",
    "font-style", "font-weight", "text-anchor", "shape-rendering", "preserveAspectRatio",
    "clip-path", "clip-rule", "patternUnits", "href", NULL
};

/* A stretch of an SVG between tags or quotes: entities stay, everything else is text. */
static void svg_text(FILE *out, const char *s, size_t n)
{
    char *copy = strndup(s, n);
    for (char *from = copy; from && *from;) {
        size_t plain = strcspn(from, "&"), name;
        char keep = from[plain];
        from[plain] = 0;
        html_text(out, from);
        from += plain;
        if (!keep)
            break;
        *from = '&';
        name = strspn(from + 1, "#abcdefghijklmnopqrstuvwxyz0123456789");
        if (name && name < 8 && from[name + 1] == ';') {
            fprintf(out, "%.*s", (int)name + 2, from);
            from += name + 2;
        } else {
            fputs("&amp;", out);
            from++;
        }
    }
    free(copy);
}

static void svg_attribute(FILE *out, const char *name, size_t n, const char *value, size_t size,
                          const char *prefix)
{
    if (n > 6 && !strncmp(name, "xlink:", 6)) {
        name += 6;
        n -= 6;
    }
    bool href = n == 4 && !strncmp(name, "href", 4), id = n == 2 && !strncmp(name, "id", 2);
    bool local = size && *value == '#', data = size > 15 && !strncmp(value, "data:image/png;", 15);
    const char *url = size > 5 && !strncmp(value, "url(#", 5) ? value + 5 : NULL;
    if (!among(attributes, name, n) || (href && !local && !data))
        return;
    fprintf(out, " %.*s=\"", (int)n, name);
    if (id || url || (href && local)) {
        fputs(url ? "url(#" : href ? "#" : "", out);
        html_text(out, prefix);
        size_t skip = url ? 5 : href ? 1 : 0;
        svg_text(out, value + skip, size - skip);
    } else {
        svg_text(out, value, size);
    }
    fputc('"', out);
}

/* One tag after its '<'; the byte after its '>'.  top: width and height of the picture are
 * left to the page. */
static const char *svg_tag(FILE *out, const char *s, const char *prefix, bool top, bool *closed)
{
    size_t n = strcspn(s, " \t\r\n/>");
    fprintf(out, "<%.*s%s", (int)n, s, top ? " class=\"figure\" role=\"img\"" : "");
    s += n;
    *closed = false;
    while (*s && *s != '>') {
        size_t name = strcspn(s, " \t\r\n=/>");
        const char *equals = s + name + strspn(s + name, " \t\r\n");
        if (!name) {
            *closed = *s == '/';
            s++;
            continue;
        }
        *closed = false;
        if (*equals != '=') {
            s += name;
            continue;
        }
        const char *value = equals + 1 + strspn(equals + 1, " \t\r\n");
        if (*value != '"' && *value != '\'') {
            s = value;
            continue;
        }
        const char *end = strchr(value + 1, *value);
        if (!end)
            return value + strlen(value);
        bool size = !strncmp(s, "width=", 6) || !strncmp(s, "height=", 7) ||
                    !strncmp(s, "class=", 6);
        if (!(top && size))
            svg_attribute(out, s, name, value + 1, (size_t)(end - value - 1), prefix);
        s = end + 1;
    }
    return *s ? s + 1 : s;
}

/* Past the element that begins at s (after '<'), with all it holds. */
static const char *svg_skip(const char *s)
{
    const char *name = s;
    size_t n = strcspn(s, " \t\r\n/>");
    int depth = 0;
    do { /* s: after the '<' of a tag */
        bool close = *s == '/';
        bool same = !strncmp(s + close, name, n) && strchr(" \t\r\n/>", s[close + n]);
        s += strcspn(s, ">");
        if (same && *s && (close || s[-1] != '/'))
            depth += close ? -1 : 1;
        if (depth > 0)
            s += strcspn(s, "<");
        s += *s != 0;
    } while (depth > 0 && *s);
    return s;
}

int html_svg(FILE *out, const char *svg, const char *prefix, const char *title,
             const char *description)
{
    const char *s = strstr(svg, "<svg");
    const char *stack[64]; /* open elements: what is closed is what was opened */
    size_t length[64];
    int depth = 0;
    bool begun = false;
    while (s && *s) {
        size_t n = strcspn(s, "<");
        if (n > strspn(s, " \t\r\n"))
            svg_text(out, s, n);
        else if (n)
            fputc('\n', out);
        s += n;
        if (!*s)
            break;
        if (!strncmp(s, "<!--", 4)) {
            const char *end = strstr(s, "-->");
            s = end ? end + 3 : s + strlen(s);
        } else if (s[1] == '!' || s[1] == '?') {
            s += strcspn(s, ">");
            s += *s == '>';
        } else if (s[1] == '/') {
            size_t name = strcspn(s + 2, " \t\r\n>");
            if (depth && length[depth - 1] == name && !memcmp(stack[depth - 1], s + 2, name)) {
                depth--;
                fprintf(out, "</%.*s>", (int)name, s + 2);
            }
            s += strcspn(s, ">");
            s += *s == '>';
            if (!depth)
                break;
        } else {
            size_t name = strcspn(s + 1, " \t\r\n/>");
            bool closed;
            if (!among(elements, s + 1, name) || depth == 64) {
                s = svg_skip(s + 1);
                continue;
            }
            stack[depth] = s + 1;
            length[depth] = name;
            s = svg_tag(out, s + 1, prefix, !begun, &closed);
            if (!begun) {
                closed = false;
                fputs(" aria-label=\"", out);
                html_text(out, title);
                fputs("\" aria-describedby=\"", out);
                html_put(out, "%sdesc", prefix);
                fputs("\">\n<desc id=\"", out);
                html_put(out, "%sdesc", prefix);
                fputs("\">", out);
                html_text(out, description);
                fputs("</desc>\n", out);
            } else {
                fputs(closed ? "/>" : ">", out);
            }
            depth += !closed;
            begun = true;
        }
    }
    while (depth--) /* cut off in the middle */
        if (depth >= 0)
            fprintf(out, "</%.*s>", (int)length[depth], stack[depth]);
    return begun ? 0 : cb_error("%s: is no SVG", prefix);
}
