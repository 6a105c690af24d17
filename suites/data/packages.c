/*
 * packages.c - sparse matrices made of real data in Debian packages.
 *
 *   mdual copter2 4elt   METIS meshes of libmetis-doc, as packaged
 *   wordnet_gloss        synset x word of its gloss
 *   wordnet_relations    synset x synset that one of its pointers leads to
 *   gcide                dictionary entry x word of its text
 *   setmm_uses           statement of set.mm x statement named in its proof
 *   debian_deps_rev      node of the package graph x package that depends on it
 *   *_t, setmm_usedby    transposes
 *
 * A word is a run of two or more letters a-z after lower-casing A-Z; everything
 * else separates.  Words and nodes are numbered as they first appear, so that
 * frequent ones have small numbers.  An entry stands for one or more
 * occurrences; its value is data_value(DATA_VALUE_SEED, row, column).
 */
#include "packages.h"

#include <ctype.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

/* ---- numbering of words ---- */

struct names {
    char *text;     /* all of them, one after the other */
    size_t used, room;
    struct slot {
        uint64_t hash;
        size_t at;
        uint32_t length;
        int id;     /* -1: free */
    } *slot;
    size_t slots;   /* a power of two, or 0 */
    int count;
};

static uint64_t name_hash(const char *s, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x9e3779b97f4a7c15, h ^= h >> 29;
    return h;
}

static struct slot *name_slot(const struct names *t, const char *s, size_t n, uint64_t h)
{
    size_t i = h & (t->slots - 1);
    while (t->slot[i].id >= 0 && (t->slot[i].hash != h || t->slot[i].length != n ||
                                  memcmp(t->text + t->slot[i].at, s, n)))
        i = (i + 1) & (t->slots - 1);
    return &t->slot[i];
}

static int names_grow(struct names *t)
{
    struct names old = *t;
    t->slots = old.slots ? 2 * old.slots : 1 << 16;
    t->slot = data_malloc(t->slots, sizeof *t->slot);
    if (!t->slot) {
        *t = old;
        return cb_error("no memory for %zu names", 2 * old.slots);
    }
    for (size_t i = 0; i < t->slots; i++)
        t->slot[i].id = -1;
    for (size_t i = 0; i < old.slots; i++)
        if (old.slot[i].id >= 0)
            *name_slot(t, t->text + old.slot[i].at, old.slot[i].length, old.slot[i].hash) =
                old.slot[i];
    data_free(old.slot);
    return 0;
}

/* The number of a name; -1 if it has none yet. */
static int name_find(const struct names *t, const char *s, size_t n)
{
    return t->slots ? name_slot(t, s, n, name_hash(s, n))->id : -1;
}

/* The same, but a new name gets the next number; -1 if memory ran out. */
static int name_add(struct names *t, const char *s, size_t n)
{
    if ((size_t)t->count * 2 >= t->slots && names_grow(t))
        return -1;
    uint64_t h = name_hash(s, n);
    struct slot *slot = name_slot(t, s, n, h);
    if (slot->id >= 0)
        return slot->id;
    if (t->used + n > t->room) {
        size_t room = 2 * t->room + n + (1 << 16);
        char *text = data_realloc(t->text, room, 1);
        if (!text)
            return cb_error("no memory for %d names", t->count);
        t->text = text;
        t->room = room;
    }
    memcpy(t->text + t->used, s, n);
    *slot = (struct slot){ h, t->used, (uint32_t)n, t->count };
    t->used += n;
    return t->count++;
}

static void names_free(struct names *t)
{
    data_free(t->text);
    data_free(t->slot);
}

/* ---- entries as they are found ---- */

struct entries {
    int *row, *col;
    long count, room;
};

static int add_entry(struct entries *e, int row, int col)
{
    if (e->count == e->room) {
        long room = e->room ? 2 * e->room : 1 << 16;
        int *r = data_realloc(e->row, (size_t)room, sizeof *r);
        if (r)
            e->row = r;
        int *c = data_realloc(e->col, (size_t)room, sizeof *c);
        if (c)
            e->col = c;
        if (!r || !c)
            return cb_error("no memory for %ld entries", room);
        e->room = room;
    }
    e->row[e->count] = row;
    e->col[e->count++] = col;
    return 0;
}

static void entries_free(struct entries *e)
{
    data_free(e->row);
    data_free(e->col);
}

static int finish(const char *name, int rows, int cols, const struct entries *e,
                  struct matrix *out)
{
    if (!rows || !cols || !e->count)
        return cb_error("%s: no entries found, the file is not what was expected", name);
    return data_csr_triples(name, rows, cols, e->count, e->row, e->col, NULL, true, NULL, out);
}

/* One entry for each word of text in a row. */
static int add_words(struct names *words, struct entries *e, int row, const char *text, size_t n)
{
    char word[64]; /* longer runs are no words; cut */
    size_t length = 0;
    for (size_t i = 0; i <= n; i++) {
        char c = i < n ? text[i] : ' ';
        c = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        if (c >= 'a' && c <= 'z') {
            if (length < sizeof word)
                word[length++] = c;
            continue;
        }
        if (length >= 2) {
            int id = name_add(words, word, length);
            if (id < 0 || add_entry(e, row, id))
                return -1;
        }
        length = 0;
    }
    return 0;
}

/* ---- makers: text of the files to matrix ---- */

enum { FILES_MAX = 4 };
struct input {
    char path[PATH_MAX];
    char *text; /* NUL-terminated */
    size_t size;
};

/* The end of the line at p: its newline, or the end of the text. */
static const char *line_end(const char *p, const struct input *f)
{
    const char *e = memchr(p, '\n', (size_t)(f->text + f->size - p));
    return e ? e : f->text + f->size;
}

static int make_mesh(const char *name, struct input *f, struct matrix *out)
{
    (void)name;
    return matrix_metis_parse(f->path, f->text, f->size, out);
}

static const char wordnet_letters[FILES_MAX] = { 'n', 'v', 'a', 'r' }; /* in order of the files */

/* Calls each with every synset: its number, its part of speech, its line. */
typedef int synset_fn(void *self, int id, char part, const char *line, const char *end);
static int each_synset(struct input *f, synset_fn *each, void *self, int *count)
{
    int id = 0;
    for (int k = 0; k < FILES_MAX; k++) {
        const char *end;
        for (const char *p = f[k].text; p < f[k].text + f[k].size; p = end + 1) {
            end = line_end(p, &f[k]);
            if (*p == ' ' || p == end)
                continue; /* the licence */
            if (each(self, id++, wordnet_letters[k], p, end))
                return -1;
        }
    }
    *count = id;
    return 0;
}

struct wordnet {
    struct names names; /* words, or "n00001740" for a synset: its position in the files */
    struct entries entries;
    const char *path;
};

static int gloss(void *self, int id, char part, const char *line, const char *end)
{
    struct wordnet *w = self;
    (void)part;
    const char *bar = memchr(line, '|', (size_t)(end - line));
    return bar ? add_words(&w->names, &w->entries, id, bar, (size_t)(end - bar)) : 0;
}

static int synset_name(void *self, int id, char part, const char *line, const char *end)
{
    struct wordnet *w = self;
    char key[9];
    if (end - line < 8)
        return cb_error("%s: a synset without its offset", w->path);
    key[0] = part;
    memcpy(key + 1, line, 8);
    if (name_add(&w->names, key, 9) != id)
        return cb_error("%s: synset %.9s stands there twice", w->path, key);
    return 0;
}

/* The next blank-separated field of a line; false at its end. */
static bool field(const char **p, const char *end, const char **word, size_t *n)
{
    while (*p < end && **p == ' ')
        (*p)++;
    *word = *p;
    while (*p < end && **p != ' ')
        (*p)++;
    *n = (size_t)(*p - *word);
    return *n > 0;
}

/* offset file type count(hex) (word id)* count(dec) (symbol offset part source/target)* | gloss */
static int pointers(void *self, int id, char part, const char *line, const char *end)
{
    struct wordnet *w = self;
    const char *word = NULL, *p = line;
    size_t n = 0;
    long words = 0, count = 0;
    (void)part;
    bool good = true;
    for (int i = 0; i < 4; i++)
        good = good && field(&p, end, &word, &n);
    words = good ? strtol(word, NULL, 16) : 0;
    for (long i = 0; i < 2 * words + 1; i++)
        good = good && field(&p, end, &word, &n);
    count = good ? strtol(word, NULL, 10) : 0;
    for (long i = 0; good && i < count; i++) {
        char key[9];
        good = field(&p, end, &word, &n) && field(&p, end, &word, &n) && n == 8;
        if (!good)
            break;
        memcpy(key + 1, word, 8);
        good = field(&p, end, &word, &n);
        key[0] = *word == 's' ? 'a' : *word; /* satellites stand in the adjectives' file */
        good = good && field(&p, end, &word, &n);
        int to = name_find(&w->names, key, 9);
        if (good && to < 0)
            return cb_error("%s: a pointer to %.9s, which is not there", w->path, key);
        if (good && add_entry(&w->entries, id, to))
            return -1;
    }
    return good ? 0 : cb_error("%s: synset %.8s cannot be read", w->path, line);
}

static int make_gloss(const char *name, struct input *f, struct matrix *out)
{
    struct wordnet w = { .path = f->path };
    int rows, status = each_synset(f, gloss, &w, &rows);
    if (!status)
        status = finish(name, rows, w.names.count, &w.entries, out);
    names_free(&w.names);
    entries_free(&w.entries);
    return status;
}

static int make_relations(const char *name, struct input *f, struct matrix *out)
{
    struct wordnet w = { .path = f->path };
    int rows, status = each_synset(f, synset_name, &w, &rows);
    if (!status)
        status = each_synset(f, pointers, &w, &rows);
    if (!status)
        status = finish(name, rows, rows, &w.entries, out);
    names_free(&w.names);
    entries_free(&w.entries);
    return status;
}

/* A number in the digits A-Z a-z 0-9 + /; -1 if it is none. */
static long base64_number(const char *p, const char *end)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    long v = p < end ? 0 : -1;
    for (; p < end && v >= 0 && v < 1L << 40; p++) {
        const char *d = *p ? strchr(digits, *p) : NULL;
        v = d ? v * 64 + (d - digits) : -1;
    }
    return v;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* f[0]: text, f[1]: index, "headword TAB offset TAB length".  Several headwords may
 * share an entry, which is one row; entries about the database itself (00-...) are left out. */
static int make_gcide(const char *name, struct input *f, struct matrix *out)
{
    long lines = 0, n = 0, rows = 0;
    int status = -1;
    struct names words = { 0 };
    struct entries e = { 0 };
    for (size_t i = 0; i < f[1].size; i++)
        lines += f[1].text[i] == '\n';
    uint64_t *entry = data_malloc((size_t)lines + 1, sizeof *entry);
    if (!entry) {
        cb_error("%s: no memory for %ld entries", name, lines);
        goto done;
    }
    const char *end;
    for (const char *p = f[1].text; p < f[1].text + f[1].size; p = end + 1) {
        end = line_end(p, &f[1]);
        const char *a = memchr(p, '\t', (size_t)(end - p));
        const char *b = a ? memchr(a + 1, '\t', (size_t)(end - a - 1)) : NULL;
        long offset = b ? base64_number(a + 1, b) : -1;
        long length = b ? base64_number(b + 1, end) : -1;
        if (offset < 0 || length < 0 || length >= 1L << 24 || offset + length > (long)f[0].size) {
            cb_error("%s: line %.40s cannot be read", f[1].path, p);
            goto done;
        }
        if (end - p < 3 || memcmp(p, "00-", 3))
            entry[n++] = (uint64_t)offset << 24 | (uint64_t)length;
    }
    qsort(entry, (size_t)n, sizeof *entry, by_number);
    for (long i = 0; i < n; i++) {
        if (i && entry[i] == entry[i - 1])
            continue;
        if (add_words(&words, &e, (int)rows++, f[0].text + (entry[i] >> 24),
                      entry[i] & 0xffffff))
            goto done;
    }
    status = finish(name, (int)rows, words.count, &e, out);
done:
    data_free(entry);
    names_free(&words);
    entries_free(&e);
    return status;
}

/* The next word of a Metamath database outside comments; false at its end. */
static bool metamath_word(const char **p, const char *end, const char **word, size_t *n)
{
    for (bool comment = false;;) {
        while (*p < end && isspace((unsigned char)**p))
            (*p)++;
        *word = *p;
        while (*p < end && !isspace((unsigned char)**p))
            (*p)++;
        *n = (size_t)(*p - *word);
        if (!*n)
            return false;
        if (*n == 2 && !memcmp(*word, "$(", 2))
            comment = true;
        else if (*n == 2 && !memcmp(*word, "$)", 2))
            comment = false;
        else if (!comment)
            return true;
    }
}

/* Rows are the labelled statements ($a $e $f $p); a theorem's columns are the
 * labels between the parentheses of its compressed proof. */
static int make_setmm(const char *name, struct input *f, struct matrix *out)
{
    struct names labels = { 0 };
    struct entries e = { 0 };
    const char *p = f->text, *end = p + f->size, *word, *label = NULL;
    size_t n, label_length = 0;
    int status = -1, row = -1;
    enum { OUTSIDE, STATEMENT, PROOF, REFERENCES } state = OUTSIDE;
    while (metamath_word(&p, end, &word, &n)) {
        bool keyword = n == 2 && *word == '$';
        if (state == REFERENCES) {
            if (n == 1 && *word == ')') {
                state = OUTSIDE;
                continue;
            }
            int to = name_find(&labels, word, n);
            if (to < 0) {
                cb_error("%s: a proof uses %.*s, which is not there", f->path, (int)n, word);
                goto done;
            }
            if (add_entry(&e, row, to))
                goto done;
        } else if (state == PROOF) {
            state = n == 1 && *word == '(' ? REFERENCES : OUTSIDE;
        } else if (keyword && strchr("aefp", word[1]) && label) {
            int before = labels.count;
            row = name_add(&labels, label, label_length);
            if (row < 0)
                goto done;
            if (row < before) {
                cb_error("%s: label %.*s stands there twice", f->path, (int)label_length, label);
                goto done;
            }
            state = word[1] == 'p' ? STATEMENT : OUTSIDE;
        } else if (keyword && word[1] == '=' && state == STATEMENT) {
            state = PROOF;
        }
        label = word;
        label_length = n;
    }
    status = finish(name, labels.count, labels.count, &e, out);
done:
    names_free(&labels);
    entries_free(&e);
    return status;
}

/* Fields of the package index and the node kind of what they name.  Kinds are
 * told apart, so that section "perl" is not package "perl". */
static const struct {
    const char *field;
    char kind;
    bool relation; /* alternatives, versions and architectures to be cut off */
} index_fields[] = {
    { "Depends:", 'p', true },    { "Pre-Depends:", 'p', true }, { "Recommends:", 'p', true },
    { "Suggests:", 'p', true },   { "Conflicts:", 'p', true },   { "Breaks:", 'p', true },
    { "Replaces:", 'p', true },   { "Provides:", 'p', true },    { "Enhances:", 'p', true },
    { "Source:", 's', true },     { "Section:", 'c', false },    { "Priority:", 'r', false },
    { "Architecture:", 'a', false }, { "Maintainer:", 'm', false }, { "Tag:", 't', true },
};
enum { INDEX_FIELDS = sizeof index_fields / sizeof *index_fields };

static const char APT_CACHE[] = "apt-cache"; /* in place of a path */

static int add_node(struct names *nodes, char kind, const char *s, size_t n)
{
    char key[512];
    n = n < sizeof key - 1 ? n : sizeof key - 1;
    key[0] = kind;
    memcpy(key + 1, s, n);
    return name_add(nodes, key, n + 1);
}

/* The names in one field: nodes, and entries (name, from) if it is a dependency. */
static int add_field(struct names *nodes, struct entries *e, int which, int from, const char *p,
                     const char *end)
{
    bool relation = index_fields[which].relation;
    while (p < end) {
        const char *stop = p;
        while (stop < end && (!relation || (*stop != ',' && *stop != '|')))
            stop++;
        while (p < stop && isspace((unsigned char)*p))
            p++;
        const char *q = p;
        while (q < stop && (!relation ? *q != '\n' : !isspace((unsigned char)*q) && *q != '('))
            q++;
        if (relation && index_fields[which].kind == 'p')
            for (const char *c = p; c < q; c++)
                if (*c == ':')
                    q = c; /* NAME:any */
        if (q > p) {
            int to = add_node(nodes, index_fields[which].kind, p, (size_t)(q - p));
            if (to < 0 || (which == 0 && add_entry(e, to, from)))
                return -1;
        }
        p = stop + 1;
    }
    return 0;
}

static int make_dependencies(const char *name, struct input *f, struct matrix *out)
{
    struct names nodes = { 0 };
    struct entries e = { 0 };
    int status = -1, from = -1, packages = 0;
    const char *end;
    for (const char *p = f->text; p < f->text + f->size; p = end + 1) {
        end = line_end(p, f);
        while (end + 1 < f->text + f->size && end > p && (end[1] == ' ' || end[1] == '\t'))
            end = line_end(end + 1, f); /* a field goes on */
        if (end - p > 9 && !memcmp(p, "Package: ", 9)) {
            from = add_node(&nodes, 'p', p + 9, (size_t)(end - p - 9));
            packages++;
            if (from < 0)
                goto done;
        }
        for (int i = 0; from >= 0 && i < INDEX_FIELDS; i++) {
            size_t n = strlen(index_fields[i].field);
            if ((size_t)(end - p) > n && !memcmp(p, index_fields[i].field, n) &&
                add_field(&nodes, &e, i, from, p + n, end))
                goto done;
        }
    }
    if (packages < 10000 && !strcmp(f->path, APT_CACHE)) { /* no lists: installed packages only */
        cb_error("%s: only %d packages in the index; apt-get update fetches it", name, packages);
        goto done;
    }
    status = finish(name, nodes.count, nodes.count, &e, out);
done:
    names_free(&nodes);
    entries_free(&e);
    return status;
}

/* ---- the table ---- */

static const struct source {
    const char *name, *package;
    const char *files[FILES_MAX]; /* without the leading slash; up to NULL */
    int (*make)(const char *name, struct input *, struct matrix *out);
    const char *transpose_of;     /* of this instead */
    const char *help;
} sources[] = {
#define GRAPH(file) { "usr/share/doc/libmetis-dev/examples/graphs/" file }
#define WORDNET                                                                            \
    { "usr/share/wordnet/data.noun", "usr/share/wordnet/data.verb",                        \
      "usr/share/wordnet/data.adj", "usr/share/wordnet/data.adv" }
#define GCIDE { "usr/share/dictd/gcide.dict.dz", "usr/share/dictd/gcide.index" }
#define SETMM { "usr/share/metamath/databases/set.mm" }
#define INDEX { "apt/dumpavail" } /* not of a package: saved by the user, or asked of apt-cache */
    { "package:mdual", "libmetis-doc", GRAPH("mdual.graph"), make_mesh, NULL,
      "dual of a 3-D mesh" },
    { "package:copter2", "libmetis-doc", GRAPH("copter2.graph"), make_mesh, NULL, "3-D mesh" },
    { "package:4elt", "libmetis-doc", GRAPH("4elt.graph"), make_mesh, NULL, "2-D mesh" },
    { "package:wordnet_gloss", "wordnet-base", WORDNET, make_gloss, NULL,
      "synset x word of its gloss" },
    { "package:wordnet_gloss_t", "wordnet-base", WORDNET, NULL, "package:wordnet_gloss",
      "word x synset whose gloss has it" },
    { "package:wordnet_relations", "wordnet-base", WORDNET, make_relations, NULL,
      "synset x related synset" },
    { "package:gcide", "dict-gcide", GCIDE, make_gcide, NULL, "dictionary entry x word" },
    { "package:gcide_t", "dict-gcide", GCIDE, NULL, "package:gcide", "word x dictionary entry" },
    { "package:setmm_uses", "metamath-databases", SETMM, make_setmm, NULL,
      "statement x statement that its proof uses" },
    { "package:setmm_usedby", "metamath-databases", SETMM, NULL, "package:setmm_uses",
      "statement x statement whose proof uses it" },
    { "package:debian_deps_rev", "apt", INDEX, make_dependencies, NULL,
      "package graph: package x package that depends on it; changes with the archive" },
};
enum { SOURCES = sizeof sources / sizeof *sources };

static const struct source *source_of(const char *name)
{
    for (int i = 0; i < SOURCES; i++)
        if (!strcmp(sources[i].name + 8, name))
            return &sources[i];
    return NULL;
}

const char *package_name(int i, const char **help)
{
    if (i < 0 || i >= SOURCES)
        return NULL;
    if (help)
        *help = sources[i].help;
    return sources[i].name;
}

/* ---- where things lie ---- */

static bool readable(const char *path)
{
    return !access(path, R_OK);
}

/* A path made of parts; false if there is no readable file of that name. */
__attribute__((format(printf, 2, 3))) static bool try_path(char path[PATH_MAX], const char *format,
                                                           ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(path, PATH_MAX, format, list);
    va_end(list);
    return n > 0 && n < PATH_MAX && readable(path);
}

static bool find_packed(const char *name, char path[PATH_MAX])
{
    char program[PATH_MAX - 256];
    const char *data = getenv("CLAIMBENCH_DATA");
    if (data && (try_path(path, "%s/packed/%s.csrb", data, name) ||
                 try_path(path, "%s/%s.csrb", data, name)))
        return true;
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) {
        program[n] = 0;
        char *slash = strrchr(program, '/');
        if (slash)
            *slash = 0;
        if (try_path(path, "%s/data/packed/%s.csrb", program, name))
            return true;
    }
    return try_path(path, "data/packed/%s.csrb", name) ||
           try_path(path, "configs/data/packed/%s.csrb", name);
}

static bool find_file(const struct source *s, const char *file, char path[PATH_MAX])
{
    const char *roots[] = { getenv("CLAIMBENCH_PACKAGES"), "", "build/packages" };
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        if (roots[i] && (try_path(path, "%s/%s", roots[i], file) ||
                         (*roots[i] && try_path(path, "%s/%s/%s", roots[i], s->package, file))))
            return true;
    return false;
}

static bool apt_has_lists(void)
{
    glob_t found;
    bool any = !glob("/var/lib/apt/lists/*_Packages*", 0, NULL, &found);
    globfree(&found);
    return any && readable("/usr/bin/apt-cache");
}

static bool is_index(const struct source *s)
{
    return s->make == make_dependencies;
}

int package_check(const char *name)
{
    char path[PATH_MAX];
    const struct source *s = source_of(name);
    if (!s)
        return cb_error("package:%s: no package matrix of that name", name);
    if (find_packed(name, path) || (s->transpose_of && find_packed(s->transpose_of + 8, path)))
        return 0;
    for (int i = 0; i < FILES_MAX && s->files[i]; i++)
        if (!find_file(s, s->files[i], path)) {
            if (is_index(s))
                return apt_has_lists() ? 0 : cb_error("%s: no package index here", s->name);
            return cb_error("%s: needs /%s of Debian package %s", s->name, s->files[i],
                            s->package);
        }
    return 0;
}

/* ---- loading ---- */

/* All that a fixed command prints; released with data_free. */
static int read_command(const char *command, char **out, size_t *size)
{
    FILE *f = popen(command, "r");
    size_t room = 0, used = 0;
    char *buffer = NULL;
    bool short_of_memory = false;
    if (!f)
        return cb_error("%s: cannot be run", command);
    for (size_t n = 1; n; used += n) {
        if (room - used < 2) {
            room = room ? 2 * room : 1 << 20;
            char *p = data_realloc(buffer, room, 1);
            if (!p) {
                short_of_memory = true;
                break;
            }
            buffer = p;
        }
        n = fread(buffer + used, 1, room - used - 1, f);
    }
    int status = pclose(f);
    if (status || short_of_memory) {
        data_free(buffer);
        return cb_error("%s: %s", command, short_of_memory ? "no memory" : "failed");
    }
    buffer[used] = 0;
    *out = buffer;
    *size = used;
    return 0;
}

static int read_inputs(const struct source *s, struct input f[FILES_MAX])
{
    for (int i = 0; i < FILES_MAX && s->files[i]; i++) {
        if (find_file(s, s->files[i], f[i].path)) {
            if (data_read(f[i].path, &f[i].text, &f[i].size))
                return -1;
        } else if (is_index(s)) {
            data_text(f[i].path, sizeof f[i].path, APT_CACHE);
            if (read_command("apt-cache dumpavail 2>/dev/null", &f[i].text, &f[i].size))
                return -1;
        }
    }
    return 0;
}

static int from_package(const struct source *s, struct matrix *out)
{
    struct input *f = data_calloc(FILES_MAX, sizeof *f);
    if (!f)
        return cb_error("%s: no memory", s->name);
    int status = read_inputs(s, f);
    if (!status)
        status = s->make(s->name, f, out);
    for (int i = 0; i < FILES_MAX; i++)
        data_free(f[i].text);
    data_free(f);
    if (status)
        return -1;
    const char *base = strrchr(s->files[0], '/') + 1;
    snprintf(out->gen, sizeof out->gen, "%s of %s", base, s->package);
    data_hash_values(out, DATA_VALUE_SEED);
    return 0;
}

static int from_packed(const char *path, struct matrix *out)
{
    char *text;
    size_t size;
    if (data_read(path, &text, &size))
        return -1;
    int status = matrix_csrb_parse(path, text, size, out);
    data_free(text);
    return status;
}

int package_load(const char *name, struct matrix *out)
{
    char path[PATH_MAX];
    const struct source *s = source_of(name);
    *out = (struct matrix){ 0 };
    if (package_check(name))
        return -1;
    bool packed = find_packed(name, path);
    if (s->transpose_of && !packed) {
        struct matrix m;
        if (package_load(s->transpose_of + 8, &m))
            return -1;
        int status = matrix_transpose(&m, out);
        matrix_free(&m);
        if (status)
            return -1;
        data_text(out->name, sizeof out->name, name);
        char from[sizeof out->gen];
        memcpy(from, out->gen, sizeof from);
        snprintf(out->gen, sizeof out->gen, "%.80s, transposed", from);
        return 0;
    }
    if (packed ? from_packed(path, out) : from_package(s, out))
        return -1;
    data_text(out->name, sizeof out->name, name);
    data_text(out->source, sizeof out->source, "package");
    if (data_seal(out)) {
        matrix_free(out);
        return -1;
    }
    return 0;
}

int package_pack(const char *folder)
{
    int count = 0;
    for (int i = 0; i < SOURCES; i++) {
        const char *name = sources[i].name + 8;
        char path[PATH_MAX];
        struct matrix m;
        if (sources[i].transpose_of || package_check(name))
            continue;
        if (snprintf(path, sizeof path, "%s/%s.csrb", folder, name) >= (int)sizeof path)
            return cb_error("%s: path too long", folder);
        if (package_load(name, &m))
            return -1;
        int status = matrix_save_csrb(&m, path);
        matrix_free(&m);
        if (status)
            return -1;
        count++;
    }
    return count;
}
