/* sass.c - parses disassembly, finds the main loop, counts by pipe. */
#include "sass.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "tool.h"

static const char *const pipe_names[SASS_PIPES] = {
    "tensor", "fma", "fp16x2", "alu", "xu", "lsu", "uniform", "control", "other",
};

const char *sass_pipe_name(enum sass_pipe p)
{
    return pipe_names[p];
}

/* ---- table ---- */

struct sass_table {
    json_t *root;
};

int sass_table_load(const char *path, struct sass_table **out)
{
    json_error_t e;
    *out = NULL;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return cb_error("%s:%d: %s", path, e.line, e.text);
    json_t *groups = json_object_get(root, "groups");
    for (int p = 0; p < SASS_OTHER; p++)
        if (!json_is_array(json_object_get(groups, pipe_names[p]))) {
            json_decref(root);
            return cb_error("%s: groups: no list '%s'", path, pipe_names[p]);
        }
    *out = calloc(1, sizeof **out);
    if (!*out) {
        json_decref(root);
        return cb_error("%s: no memory", path);
    }
    (*out)->root = root;
    return 0;
}

void sass_table_free(struct sass_table *t)
{
    if (t)
        json_decref(t->root);
    free(t);
}

/* Length of the longest prefix of opcode in a list of them; 0: none. */
static size_t longest_prefix(const json_t *list, const char *opcode)
{
    size_t i, best = 0;
    json_t *item;
    json_array_foreach(list, i, item) {
        const char *prefix = json_string_value(item);
        const size_t length = prefix ? strlen(prefix) : 0;
        if (length > best && !strncmp(opcode, prefix, length))
            best = length;
    }
    return best;
}

enum sass_pipe sass_pipe_of(const struct sass_table *t, const char *opcode)
{
    const json_t *groups = json_object_get(t->root, "groups");
    enum sass_pipe pipe = SASS_OTHER;
    size_t best = 0;
    for (int p = 0; p < SASS_OTHER; p++) {
        const size_t length = longest_prefix(json_object_get(groups, pipe_names[p]), opcode);
        if (length > best) {
            best = length;
            pipe = (enum sass_pipe)p;
        }
    }
    return pipe;
}

/* ---- parsing ---- */

/* While a function is read: where a branch goes, before indices are known. */
struct jump {
    int inst;
    long address;   /* -1: by label */
    char label[32];
};

struct label {
    char name[32];
    int inst; /* the one that follows */
};

struct reader {
    struct sass_listing *out;
    struct jump *jump;
    struct label *label;
    int jumps, labels;
    char arch[16];
};

/* Makes room for one more of `count` elements in an array that doubles. */
static void *grown(void *array, int count, int first, size_t size)
{
    int room = first;
    while (room < count)
        room *= 2;
    if (count && count != room)
        return array;
    return realloc(array, (size_t)(count ? room * 2 : first) * size);
}

static bool starts(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

static void copy_word(char *to, size_t size, const char *from, const char *end)
{
    size_t length = (size_t)(end - from);
    if (length >= size)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = 0;
}

static int begin_function(struct reader *r, const char *name, const char *end)
{
    struct sass_listing *l = r->out;
    struct sass_function *f = grown(l->function, l->count, 16, sizeof *f);
    if (!f)
        return cb_error("listing: no memory");
    l->function = f;
    f += l->count;
    memset(f, 0, sizeof *f);
    f->name = strndup(name, (size_t)(end - name));
    if (!f->name)
        return cb_error("listing: no memory");
    memcpy(f->arch, r->arch, sizeof f->arch);
    l->count++;
    r->jumps = r->labels = 0;
    return 0;
}

static int add_jump(struct reader *r, int inst, const char *operands, const char *end)
{
    struct jump j = { .inst = inst, .address = -1 };
    const char *last = end;
    while (last > operands && isspace((unsigned char)last[-1]))
        end = --last;
    while (last > operands && !isspace((unsigned char)last[-1]) && last[-1] != ',')
        last--;
    if (starts(last, "0x"))
        j.address = strtol(last, NULL, 16);
    else if (starts(last, "`(") && end[-1] == ')')
        copy_word(j.label, sizeof j.label, last + 2, end - 1);
    else
        return 0; /* through a register: not followed */
    struct jump *list = grown(r->jump, r->jumps, 16, sizeof *list);
    if (!list)
        return cb_error("listing: no memory");
    r->jump = list;
    r->jump[r->jumps++] = j;
    return 0;
}

/* The instruction in [text, end), without address and semicolon. */
static int add_inst(struct reader *r, long address, const char *text, const char *end)
{
    struct sass_function *f = &r->out->function[r->out->count - 1];
    struct sass_inst *list = grown(f->inst, f->count, 64, sizeof *list), *i;
    if (!list)
        return cb_error("listing: no memory");
    f->inst = list;
    i = &f->inst[f->count];
    memset(i, 0, sizeof *i);
    i->address = address;
    i->target = i->barrier = -1;
    while (text < end && (isspace((unsigned char)*text) || *text == '{'))
        text++;
    if (text < end && *text == '@') {
        const char *p = ++text;
        while (text < end && !isspace((unsigned char)*text))
            text++;
        copy_word(i->predicate, sizeof i->predicate, p, text);
        while (text < end && isspace((unsigned char)*text))
            text++;
    }
    const char *word = text;
    while (text < end && (isalnum((unsigned char)*text) || *text == '_'))
        text++;
    copy_word(i->opcode, sizeof i->opcode, word, text);
    word = text;
    while (text < end && !isspace((unsigned char)*text))
        text++;
    if (word < text)
        copy_word(i->modifiers, sizeof i->modifiers, word + 1, text);
    if (!*i->opcode)
        return cb_error("listing: %s: nothing to read at %lx", f->name, (unsigned long)address);

    const bool always = !*i->predicate || !strcmp(i->predicate, "PT");
    const bool branch = !strcmp(i->opcode, "BRA") || !strcmp(i->opcode, "JMP");
    i->falls_through = true;
    if (branch && always && !memchr(text, ',', (size_t)(end - text)))
        i->falls_through = false; /* "BRA.U !UP0, target" has its predicate as an operand */
    else if (always && (!strcmp(i->opcode, "EXIT") || !strcmp(i->opcode, "RET") ||
                        !strcmp(i->opcode, "BRX") || !strcmp(i->opcode, "JMX")))
        i->falls_through = false;
    if (!strcmp(i->opcode, "BSSY") || !strcmp(i->opcode, "BSYNC")) {
        const char *b = memchr(text, 'B', (size_t)(end - text));
        i->barrier = b ? atoi(b + 1) & 15 : 0;
    }
    f->count++;
    if (branch || !strcmp(i->opcode, "BSSY") || !strcmp(i->opcode, "CALL"))
        return add_jump(r, f->count - 1, text, end);
    return 0;
}

static int find_address(const struct sass_function *f, long address)
{
    int low = 0, high = f->count - 1;
    while (low <= high) {
        const int middle = (low + high) / 2;
        if (f->inst[middle].address == address)
            return middle;
        if (f->inst[middle].address < address)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

/* Targets from addresses and labels to indices.  BSSY marks where threads meet
 * again after they part; the meeting itself is at BSYNC, which goes there. */
static void end_function(struct reader *r)
{
    if (!r->out->count)
        return;
    struct sass_function *f = &r->out->function[r->out->count - 1];
    for (int j = 0; j < r->jumps; j++) {
        int target = r->jump[j].address < 0 ? -1 : find_address(f, r->jump[j].address);
        for (int l = 0; l < r->labels && r->jump[j].address < 0; l++)
            if (!strcmp(r->label[l].name, r->jump[j].label))
                target = r->label[l].inst;
        f->inst[r->jump[j].inst].target = target;
    }
    int meeting[16];
    memset(meeting, 0xff, sizeof meeting);
    for (int i = 0; i < f->count; i++) {
        struct sass_inst *inst = &f->inst[i];
        if (!strcmp(inst->opcode, "BSSY")) {
            meeting[inst->barrier] = inst->target;
            inst->target = -1;
        } else if (!strcmp(inst->opcode, "BSYNC") && meeting[inst->barrier] >= 0) {
            inst->target = meeting[inst->barrier];
            inst->falls_through = false;
        }
    }
    r->jumps = r->labels = 0;
}

static int add_label(struct reader *r, const char *name, const char *end)
{
    struct label *list = grown(r->label, r->labels, 16, sizeof *list);
    if (!list)
        return cb_error("listing: no memory");
    r->label = list;
    copy_word(list[r->labels].name, sizeof list[0].name, name, end);
    list[r->labels++].inst = r->out->function[r->out->count - 1].count;
    return 0;
}

/* Address and text of a line that begins with an address comment; false for others. */
static bool is_inst(const char *line, const char *end, long *address, const char **text)
{
    char *stop;
    if (end - line < 6 || !starts(line, "/*") || !isxdigit((unsigned char)line[2]))
        return false;
    *address = strtol(line + 2, &stop, 16);
    if (!starts(stop, "*/"))
        return false;
    *text = stop + 2;
    return true;
}

static int read_line(struct reader *r, const char *line, const char *end)
{
    long address;
    const char *text;
    while (line < end && isspace((unsigned char)*line))
        line++;
    while (end > line && isspace((unsigned char)end[-1]))
        end--;
    if (starts(line, "arch = ")) {
        copy_word(r->arch, sizeof r->arch, line + 7, end);
    } else if (starts(line, "code for ")) {
        copy_word(r->arch, sizeof r->arch, line + 9, end);
    } else if (starts(line, "Function : ")) {
        end_function(r);
        return begin_function(r, line + 11, end);
    } else if (starts(line, ".text.") && end[-1] == ':') {
        end_function(r);
        return begin_function(r, line + 6, end - 1);
    } else if (r->out->count && starts(line, ".L") && end[-1] == ':') {
        return add_label(r, line, end - 1);
    } else if (r->out->count && is_inst(line, end, &address, &text)) {
        const char *stop = memchr(text, ';', (size_t)(end - text));
        return stop ? add_inst(r, address, text, stop) : 0;
    }
    return 0;
}

int sass_parse(const char *text, struct sass_listing *out)
{
    struct reader r = { .out = out };
    int status = 0;
    memset(out, 0, sizeof *out);
    while (*text && !status) {
        const char *end = strchr(text, '\n');
        if (!end)
            end = text + strlen(text);
        if (end > text)
            status = read_line(&r, text, end);
        text = *end ? end + 1 : end;
    }
    if (!status)
        end_function(&r);
    free(r.jump);
    free(r.label);
    if (status)
        sass_listing_free(out);
    return status;
}

void sass_listing_free(struct sass_listing *l)
{
    for (int i = 0; i < l->count; i++) {
        free(l->function[i].name);
        free(l->function[i].inst);
    }
    free(l->function);
    memset(l, 0, sizeof *l);
}

/* How well an image fits: 0 no, 1 runs there, 2 made for that chip alone. */
static int arch_fit(const char *arch, int sm)
{
    char *end;
    const long number = starts(arch, "sm_") ? strtol(arch + 3, &end, 10) : 0;
    if (sm == 0)
        return 1;
    return number != sm ? 0 : *end ? 2 : 1;
}

const struct sass_function *sass_find(const struct sass_listing *l, const char *name, int sm)
{
    const struct sass_function *best = NULL;
    int best_fit = 0;
    for (int i = 0; i < l->count; i++) {
        const struct sass_function *f = &l->function[i];
        const int arch = arch_fit(f->arch, sm), exact = !strcmp(f->name, name);
        const int fit = arch && strstr(f->name, name) ? arch + 2 * exact : 0;
        if (fit > best_fit) {
            best = f;
            best_fit = fit;
        }
    }
    return best;
}

/* ---- counting ---- */

/* Multiply-adds of one warp in a tensor instruction, from the shape among its
 * modifiers; 0: not there.  Shapes are written "16816" (m 16, n 8, k 16), "8816"
 * or "64x128x16"; the last form of HGMMA and its kin is of four warps. */
static double macs_of(const struct sass_inst *i)
{
    const char *m = i->modifiers;
    while (*m) {
        int a, b, c;
        const size_t length = strcspn(m, ".");
        const size_t digits = strspn(m, "0123456789");
        if (sscanf(m, "%dx%dx%d", &a, &b, &c) == 3) {
            const int warps = i->opcode[1] == 'G' ? 4 : 1;
            return (double)a * b * c / warps;
        }
        if (digits == length && digits >= 3) {
            if (starts(m, "168"))
                return 16 * 8 * atof(m + 3);
            if (starts(m, "88"))
                return 8 * 8 * atof(m + 2);
        }
        m += length;
        m += *m == '.';
    }
    return 0;
}

static void count(const struct sass_table *t, const struct sass_function *f, int first, int last,
                  struct sass_counts *out)
{
    const json_t *loads = json_object_get(t->root, "global_loads");
    memset(out, 0, sizeof *out);
    out->macs_known = true;
    for (int i = first; i <= last; i++) {
        const struct sass_inst *inst = &f->inst[i];
        const enum sass_pipe pipe = sass_pipe_of(t, inst->opcode);
        out->instructions++;
        out->pipe[pipe]++;
        out->global_loads += longest_prefix(loads, inst->opcode) > 0;
        if (pipe == SASS_TENSOR) {
            const double macs = macs_of(inst);
            out->tensor_macs += macs;
            if (macs == 0)
                out->macs_known = false;
        }
    }
}

struct loop {
    int first, last, own; /* own: tensor instructions in no smaller loop */
    bool inner;           /* holds no other loop */
};

/* Does every way from the entry to `to` lead through `through`?  work [count] and
 * stack [count] belong to the caller. */
static bool always_through(const struct sass_function *f, int through, int to, char *seen,
                           int *stack)
{
    int depth = 0;
    if (through == 0)
        return true;
    memset(seen, 0, (size_t)f->count);
    seen[0] = seen[through] = 1;
    stack[depth++] = 0;
    while (depth) {
        const int at = stack[--depth];
        const struct sass_inst *i = &f->inst[at];
        const int ways[2] = { i->falls_through && at + 1 < f->count ? at + 1 : -1, i->target };
        if (at == to)
            return false;
        for (int w = 0; w < 2; w++)
            if (ways[w] >= 0 && !seen[ways[w]]) {
                seen[ways[w]] = 1;
                stack[depth++] = ways[w];
            }
    }
    return true;
}

/* Loops by their first instruction; branches back to the same place make one.
 * Returns the number, -1 without memory. */
static int find_loops(const struct sass_function *f, struct loop **out)
{
    struct loop *loop = NULL;
    char *seen = malloc((size_t)f->count + 1);
    int *stack = malloc(((size_t)f->count + 1) * sizeof *stack), loops = 0;
    if (!seen || !stack)
        goto failed;
    for (int i = 0; i < f->count; i++) {
        const struct sass_inst *inst = &f->inst[i];
        const int target = inst->target;
        /* a branch to itself is the end of the program */
        if (target < 0 || target > i ||
            (strcmp(inst->opcode, "BRA") && strcmp(inst->opcode, "JMP")))
            continue;
        if ((target == i && !inst->falls_through) || !always_through(f, target, i, seen, stack))
            continue;
        int at = 0;
        while (at < loops && loop[at].first != target)
            at++;
        if (at == loops) {
            struct loop *more = grown(loop, loops, 16, sizeof *more);
            if (!more)
                goto failed;
            loop = more;
            loop[loops++] = (struct loop){ target, i, 0, true };
        } else if (loop[at].last < i) {
            loop[at].last = i;
        }
    }
    free(seen);
    free(stack);
    *out = loop;
    return loops;
failed:
    free(seen);
    free(stack);
    free(loop);
    return cb_error("%s: no memory for its loops", f->name);
}

static int length(const struct loop *l)
{
    return l->last - l->first + 1;
}

static const struct loop *main_loop(const struct sass_table *t, const struct sass_function *f,
                                    struct loop *loop, int loops)
{
    const struct loop *best = NULL;
    for (int i = 0; i < f->count; i++) {
        struct loop *home = NULL;
        if (sass_pipe_of(t, f->inst[i].opcode) != SASS_TENSOR)
            continue;
        for (int l = 0; l < loops; l++)
            if (loop[l].first <= i && i <= loop[l].last &&
                (!home || length(&loop[l]) < length(home)))
                home = &loop[l];
        if (home)
            home->own++;
    }
    for (int l = 0; l < loops; l++)
        for (int o = 0; o < loops; o++)
            if (o != l && loop[l].first <= loop[o].first && loop[o].last <= loop[l].last)
                loop[l].inner = false;
    for (int l = 0; l < loops; l++)
        if (loop[l].own && (!best || loop[l].own > best->own ||
                            (loop[l].own == best->own && length(&loop[l]) < length(best))))
            best = &loop[l];
    for (int l = 0; l < loops && (!best || !best->own); l++)
        if (loop[l].inner && (!best || length(&loop[l]) > length(best)))
            best = &loop[l];
    return best;
}

int sass_analyse(const struct sass_table *t, const struct sass_function *f,
                 struct sass_report *out)
{
    struct loop *loop = NULL;
    memset(out, 0, sizeof *out);
    if (!f->count)
        return cb_error("%s: no instructions", f->name);
    const int loops = find_loops(f, &loop);
    if (loops < 0)
        return -1;
    const struct loop whole = { 0, f->count - 1, 0, false }, *best = main_loop(t, f, loop, loops);
    out->loop = best != NULL;
    if (!best)
        best = &whole;
    out->first = f->inst[best->first].address;
    out->last = f->inst[best->last].address;
    count(t, f, 0, f->count - 1, &out->whole);
    count(t, f, best->first, best->last, &out->main);
    free(loop);
    return 0;
}

static int core(const struct sass_counts *c)
{
    return c->pipe[SASS_FMA] + c->pipe[SASS_FP16X2] + c->pipe[SASS_ALU] + c->pipe[SASS_XU];
}

double sass_core_per_tensor(const struct sass_report *r)
{
    const int tensor = r->main.pipe[SASS_TENSOR];
    return tensor ? (double)core(&r->main) / tensor : NAN;
}

double sass_core_per_1024mac(const struct sass_report *r)
{
    return r->main.macs_known && r->main.tensor_macs > 0
               ? core(&r->main) * 1024 / r->main.tensor_macs
               : NAN;
}

bool sass_comparable(const struct sass_report *full, const struct sass_report *nodeq)
{
    return full->loop == nodeq->loop && full->main.global_loads == nodeq->main.global_loads &&
           full->main.pipe[SASS_TENSOR] == nodeq->main.pipe[SASS_TENSOR];
}

static json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *counts_json(const struct sass_counts *c, double per)
{
    json_t *o = json_object();
    for (int p = 0; p < SASS_PIPES; p++)
        json_object_set_new(o, pipe_names[p], per > 0 ? json_real(c->pipe[p] / per)
                                                      : json_integer(c->pipe[p]));
    return o;
}

json_t *sass_report_json(const struct sass_table *t, const struct sass_function *f,
                         const struct sass_report *r)
{
    const int tensor = r->main.pipe[SASS_TENSOR];
    json_t *o = json_object(), *unknown = json_object();
    for (int i = 0; i < f->count; i++)
        if (sass_pipe_of(t, f->inst[i].opcode) == SASS_OTHER) {
            const json_t *old = json_object_get(unknown, f->inst[i].opcode);
            json_object_set_new(unknown, f->inst[i].opcode,
                                json_integer(json_integer_value(old) + 1));
        }
    json_object_set_new(o, "source", json_string("static"));
    json_object_set_new(o, "arch", json_string(f->arch));
    json_object_set_new(o, "function", json_string(f->name));
    json_object_set_new(o, "scope", json_string(r->loop ? "loop" : "function"));
    json_object_set_new(o, "range", json_pack("[o, o]", json_sprintf("0x%lx", r->first),
                                              json_sprintf("0x%lx", r->last)));
    json_object_set_new(o, "instructions", json_integer(r->whole.instructions));
    json_object_set_new(o, "main_loop", counts_json(&r->main, 0));
    json_object_set_new(o, "per_tensor", tensor ? counts_json(&r->main, tensor) : json_null());
    json_object_set_new(o, "whole", counts_json(&r->whole, 0));
    json_object_set_new(o, "global_loads", json_integer(r->main.global_loads));
    json_object_set_new(o, "tensor_macs",
                        real_or_null(r->main.macs_known ? r->main.tensor_macs : NAN));
    json_object_set_new(o, "core_per_tensor", real_or_null(sass_core_per_tensor(r)));
    json_object_set_new(o, "core_per_1024mac", real_or_null(sass_core_per_1024mac(r)));
    json_object_set_new(o, "unknown_opcodes", unknown);
    return o;
}

/* ---- the tool ---- */

int sass_tool(char *path, int size)
{
    return cb_tool_find("CUOBJDUMP", "cuobjdump", path, size);
}

static int run_tool(char *const *argv, char **text)
{
    return cb_tool_run(argv, text) ? cb_error_in("no listing of %s", argv[2]) : 0;
}

/* Of the functions among the symbols, a line each, the one called `part`, else the first that
 * contains it: as sass_find chooses.  *length 0: none. */
static const char *find_function(const char *symbols, const char *part, size_t *length)
{
    const size_t size = strlen(part);
    const char *found = NULL;
    *length = 0;
    for (const char *line = symbols; *line;) {
        const size_t end = strcspn(line, "\n");
        size_t from = end;
        while (from && line[from - 1] != ' ' && line[from - 1] != '\t')
            from--;
        const char *name = line + from, *in = strncmp(line, "FUNC", 4) ? NULL : strstr(name, part);
        const bool exact = end - from == size && in == name;
        if (in && in + size <= line + end && (exact || !found)) {
            found = name;
            *length = end - from;
            if (exact)
                break;
        }
        line += end + (line[end] == '\n');
    }
    return found;
}

/* One function for each text that is found, with commas between; malloc. */
static char *select_functions(const char *symbols, const char *const *part, int count)
{
    size_t room = 1, used = 0, length;
    for (int i = 0; i < count; i++)
        if (find_function(symbols, part[i], &length))
            room += length + 1;
    char *list = malloc(room);
    for (int i = 0; list && i < count; i++) {
        const char *name = find_function(symbols, part[i], &length);
        if (!name)
            continue;
        if (used)
            list[used++] = ',';
        memcpy(list + used, name, length);
        used += length;
    }
    if (list)
        list[used] = 0;
    return list;
}

int sass_dump(const char *tool, const char *binary, const char *const *part, int count, char **text)
{
    char *const path = (char *)(size_t)tool, *const of = (char *)(size_t)binary;
    char *symbols, *functions;
    int status;
    *text = NULL;
    if (!part)
        return run_tool((char *[]){ path, (char *)(size_t) "-sass", of, NULL }, text);
    if (run_tool((char *[]){ path, (char *)(size_t) "-symbols", of, NULL }, &symbols))
        return -1;
    functions = select_functions(symbols, part, count);
    free(symbols);
    if (!functions)
        return cb_error("%s: out of memory", binary);
    status = *functions ? run_tool((char *[]){ path, (char *)(size_t) "-sass", of,
                                               (char *)(size_t) "-fun", functions, NULL }, text)
                        : cb_error("%s: holds none of the functions", binary);
    free(functions);
    return status;
}
