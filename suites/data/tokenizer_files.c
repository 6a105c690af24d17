/*
 * tokenizer_files.c - the files that hold tokenizers.
 *
 * llama2.c's: int32 length of the longest token, then per token float score, int32
 * length, bytes; tokens 0, 1 and 2 are unknown, start and end.
 *
 * Byte-level vocabularies write each byte as a printable character: itself if it is
 * one of ! ... ~, 0xa1 ... 0xac, 0xae ... 0xff, else U+0100 and up, in order.
 *
 * SentencePiece writes a space as U+2581.
 */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "checkpoint.h"
#include "gguf.h"
#include "tokenizer.h"
#include "tokenizer_add.h"
#include "unicode.h"

/* ---- how vocabularies write text ---- */

/* The byte that a character stands for, or -1. */
static int byte_of(uint32_t c)
{
    if ((c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xff && c != 0xad))
        return (int)c;
    int n = 0x100;
    for (int b = 0; b < 256; b++)
        if (!((b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad)) && (uint32_t)n++ == c)
            return b;
    return -1;
}

/* Writes what a vocabulary's text means into out, which has room for length bytes;
 * returns its length.  *whole is false if some character stands for nothing. */
static size_t meaning(bool bytes, const char *text, size_t length, char *out, bool *whole)
{
    size_t used = 0;
    *whole = true;
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t c;
        n = utf8_next(text + at, length - at, &c);
        const int byte = bytes ? byte_of(c) : c == 0x2581 ? ' ' : -1;
        if (byte >= 0) {
            out[used++] = (char)byte;
        } else {
            *whole = *whole && !bytes;
            memcpy(out + used, text + at, n);
            used += n;
        }
    }
    return used;
}

int tokenizer_add_spaced(struct tokenizer *t, const char *text, size_t length, float score,
                         enum token_kind kind)
{
    bool whole;
    char few[256], *out = length <= sizeof few ? few : data_malloc(length, 1);
    if (!out)
        return cb_error("%s: no memory for a token of %zu bytes", t->name, length);
    const size_t n = meaning(t->bytes, text, length, out, &whole);
    const int status = tokenizer_add(t, whole ? out : text, whole ? n : length, score,
                                     whole ? kind : TOKEN_CONTROL);
    if (out != few)
        data_free(out);
    return status;
}

/* The token of a merge's side, or -1. */
static int side(const struct tokenizer *t, const char *text, size_t length)
{
    bool whole;
    char few[256], *out = length <= sizeof few ? few : data_malloc(length, 1);
    if (!out)
        return -1;
    const size_t n = meaning(t->bytes, text, length, out, &whole);
    const int token = whole ? tokenizer_find(t, out, n) : -1;
    if (out != few)
        data_free(out);
    return token;
}

/* Merge i, "LEFT RIGHT". */
static int add_merge(struct tokenizer *t, size_t i, const char *left, size_t left_length,
                     const char *right, size_t right_length)
{
    const int a = side(t, left, left_length), b = side(t, right, right_length);
    if (a < 0 || b < 0)
        return cb_error("%s: merge %zu: its %s side is no token", t->name, i,
                        a < 0 ? "left" : "right");
    return tokenizer_merge(t, a, b);
}

static int add_merge_text(struct tokenizer *t, size_t i, const char *text, size_t length)
{
    const char *space = length > 1 ? memchr(text + 1, ' ', length - 1) : NULL;
    if (!space)
        return cb_error("%s: merge %zu: not two texts", t->name, i);
    const size_t left = (size_t)(space - text);
    return add_merge(t, i, text, left, space + 1, length - left - 1);
}

/* ---- llama2.c ---- */

static int parse_bin(struct tokenizer *t, const unsigned char *data, size_t size)
{
    enum { RECORD = 8 };
    int32_t longest, length;
    float score;
    if (size < sizeof longest)
        return cb_error("%s: %zu bytes", t->name, size);
    memcpy(&longest, data, sizeof longest);
    if (longest < 1 || longest > 1 << 16)
        return cb_error("%s: byte 0: a longest token of %d bytes", t->name, longest);
    for (size_t at = sizeof longest; at < size; at += RECORD + (size_t)length) {
        if (size - at < RECORD)
            return cb_error("%s: byte %zu: token %d is cut off", t->name, at, t->count);
        memcpy(&score, data + at, sizeof score);
        memcpy(&length, data + at + sizeof score, sizeof length);
        if (length < 0 || length > longest)
            return cb_error("%s: byte %zu: token %d has length %d, the longest is %d", t->name,
                            at, t->count, length, longest);
        if ((size_t)length > size - at - RECORD)
            return cb_error("%s: byte %zu: token %d is cut off", t->name, at, t->count);
        if (!isfinite(score))
            return cb_error("%s: byte %zu: token %d has no finite score", t->name, at, t->count);
        if (tokenizer_add(t, (const char *)data + at + RECORD, (size_t)length, score,
                          t->count < 3 ? TOKEN_CONTROL : TOKEN_TEXT))
            return -1;
    }
    if (t->count < 4)
        return cb_error("%s: %d tokens", t->name, t->count);
    t->unknown = 0;
    t->bos = 1;
    t->eos = 2;
    t->add_bos = t->space_first = true;
    return tokenizer_seal(t);
}

int tokenizer_parse_bin(const char *name, const void *data, size_t size, struct tokenizer *out)
{
    tokenizer_begin(out, name);
    const int status = parse_bin(out, data, size);
    if (status)
        tokenizer_free(out);
    return status;
}

/* ---- GGUF ---- */

/* An array of the type asked for; NULL after cb_error, or if it is absent and may be. */
static const struct gguf_value *array(const struct gguf *g, const char *key, uint32_t type,
                                      uint64_t count, bool required, int *status)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v && required)
        *status = cb_error("%s: key '%s' is missing", g->name, key);
    if (!v)
        return NULL;
    if (!v->array || v->type != type || (count && v->count != count)) {
        *status = cb_error("%s: key '%s': not an array of the type and length expected", g->name,
                           key);
        return NULL;
    }
    return v;
}

static int gguf_vocabulary(const struct gguf *g, struct tokenizer *t)
{
    enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE }; /* as stored */
    int status = 0;
    const struct gguf_value *tokens =
        array(g, "tokenizer.ggml.tokens", GGUF_STRING, 0, true, &status);
    if (!tokens)
        return -1;
    const struct gguf_value *types =
        array(g, "tokenizer.ggml.token_type", GGUF_I32, tokens->count, false, &status);
    const struct gguf_value *scores =
        array(g, "tokenizer.ggml.scores", GGUF_F32, tokens->count, !t->by_merges, &status);
    if (status)
        return -1;
    const unsigned char *at = tokens->at;
    for (uint64_t i = 0; i < tokens->count; i++) {
        const struct gguf_text text = gguf_next_text(&at);
        int32_t type = NORMAL;
        float score = 0;
        if (types)
            memcpy(&type, types->at + 4 * i, sizeof type);
        if (scores)
            memcpy(&score, scores->at + 4 * i, sizeof score);
        if (!isfinite(score))
            return cb_error("%s: key 'tokenizer.ggml.scores': element %llu is not finite",
                            g->name, (unsigned long long)i);
        const enum token_kind kind = type == NORMAL || type == USER ? TOKEN_TEXT
                                   : type == BYTE                   ? TOKEN_BYTE
                                                                    : TOKEN_CONTROL;
        if (tokenizer_add_spaced(t, text.text, text.length, score, kind))
            return -1;
        if (type == UNKNOWN && t->unknown < 0)
            t->unknown = (int)i;
    }
    return t->count ? tokenizer_seal(t) : cb_error("%s: an empty vocabulary", g->name);
}

static int gguf_merges(const struct gguf *g, struct tokenizer *t)
{
    int status = 0;
    const struct gguf_value *v = array(g, "tokenizer.ggml.merges", GGUF_STRING, 0, true, &status);
    if (!v || tokenizer_merges(t, v->count))
        return -1;
    const unsigned char *at = v->at;
    for (uint64_t i = 0; i < v->count; i++) {
        const struct gguf_text text = gguf_next_text(&at);
        if (add_merge_text(t, (size_t)i, text.text, text.length))
            return -1;
    }
    return 0;
}

static int gguf_split(const struct gguf *g, struct tokenizer *t)
{
    static const struct {
        const char *name;
        enum tokenizer_split split;
        bool whole_words;
    } known[] = {
        { "gpt-2", SPLIT_GPT2, false },      { "smollm", SPLIT_GPT2_DIGITS, false },
        { "llama-bpe", SPLIT_LLAMA3, true }, { "qwen2", SPLIT_QWEN2, false },
    };
    char name[32] = "gpt-2";
    if (gguf_string(g, "tokenizer.ggml.pre", name, sizeof name) < 0)
        return -1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            t->split = known[i].split;
            t->whole_words = known[i].whole_words;
            return 0;
        }
    return cb_error("%s: key 'tokenizer.ggml.pre': '%s' is none of gpt-2, smollm, llama-bpe, "
                    "qwen2", g->name, name);
}

static int parse_gguf(const struct gguf *g, struct tokenizer *t)
{
    char model[32];
    const int found = gguf_string(g, "tokenizer.ggml.model", model, sizeof model);
    long bos = -1, eos = -1;
    if (found <= 0)
        return found ? -1 : cb_error("%s: key 'tokenizer.ggml.model' is missing", g->name);
    t->bytes = t->by_merges = !strcmp(model, "gpt2");
    if (!t->bytes && strcmp(model, "llama"))
        return cb_error("%s: key 'tokenizer.ggml.model': '%s' is neither llama nor gpt2",
                        g->name, model);
    t->add_bos = t->space_first = !t->bytes;
    if (gguf_vocabulary(g, t) || (t->bytes && (gguf_merges(g, t) || gguf_split(g, t))))
        return -1;
    if (gguf_long(g, "tokenizer.ggml.bos_token_id", 0, t->count - 1, &bos) < 0 ||
        gguf_long(g, "tokenizer.ggml.eos_token_id", 0, t->count - 1, &eos) < 0 ||
        gguf_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos) < 0 ||
        (!t->bytes && gguf_bool(g, "tokenizer.ggml.add_space_prefix", &t->space_first) < 0))
        return -1;
    t->bos = (int)bos;
    t->eos = (int)eos;
    return 0;
}

int tokenizer_parse_gguf(const char *name, const void *data, size_t size, struct tokenizer *out)
{
    struct gguf g;
    tokenizer_begin(out, name);
    int status = gguf_parse(name, data, size, &g);
    if (!status) {
        status = parse_gguf(&g, out);
        gguf_free(&g);
    }
    if (status)
        tokenizer_free(out);
    return status;
}

/* ---- tokenizer.json ---- */

static bool is(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value && !strcmp(value, text);
}

/* Element i of what may be a sequence, under key, of several; NULL past the end. */
static const json_t *part(const json_t *one, const char *key, size_t i)
{
    if (!json_is_object(one))
        return NULL;
    return is(one, "type", "Sequence") ? json_array_get(json_object_get(one, key), i)
                                       : i ? NULL : one;
}

static int split_pattern(struct tokenizer *t, const json_t *item, enum tokenizer_split *split)
{
    static const char llama3[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    static const char qwen2[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    const json_t *pattern = json_object_get(item, "pattern");
    if (is(item, "behavior", "Isolated") && is(pattern, "Regex", llama3))
        *split = SPLIT_LLAMA3;
    else if (is(item, "behavior", "Isolated") && is(pattern, "Regex", qwen2))
        *split = SPLIT_QWEN2;
    else
        return cb_error("%s: pre_tokenizer: a splitting pattern that is not known", t->name);
    return 0;
}

static int json_split(struct tokenizer *t, const json_t *root)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer"), *item;
    bool digits = false, regex = false;
    t->split = SPLIT_NONE;
    for (size_t i = 0; (item = part(pre, "pretokenizers", i)); i++) {
        if (is(item, "type", "ByteLevel")) {
            t->bytes = true;
            regex = !json_is_false(json_object_get(item, "use_regex"));
            if (json_is_true(json_object_get(item, "add_prefix_space")))
                return cb_error("%s: pre_tokenizer: ByteLevel with add_prefix_space", t->name);
        } else if (is(item, "type", "Digits") &&
                   json_is_true(json_object_get(item, "individual_digits"))) {
            digits = true;
        } else if (is(item, "type", "Split")) {
            if (split_pattern(t, item, &t->split))
                return -1;
        } else if (is(item, "type", "Metaspace") &&
                   json_is_false(json_object_get(item, "split"))) {
            t->space_first = !is(item, "prepend_scheme", "never");
        } else {
            return cb_error("%s: pre_tokenizer: element %zu is not known", t->name, i);
        }
    }
    if (!t->bytes && !digits && t->split == SPLIT_NONE)
        return 0;
    if (!t->bytes || (t->split != SPLIT_NONE && (digits || regex)) ||
        (t->split == SPLIT_NONE && !regex))
        return cb_error("%s: pre_tokenizer: a combination that is not known", t->name);
    if (regex)
        t->split = digits ? SPLIT_GPT2_DIGITS : SPLIT_GPT2;
    return 0;
}

/* Changes of the text: NFC is left out, for it changes no composed text; a space in
 * front and U+2581 for spaces are what characters get. */
static int json_normalizer(struct tokenizer *t, const json_t *root)
{
    const json_t *all = json_object_get(root, "normalizer"), *item;
    for (size_t i = 0; (item = part(all, "normalizers", i)); i++) {
        if (is(item, "type", "Prepend") && is(item, "prepend", "\xe2\x96\x81") && !t->bytes)
            t->space_first = true;
        else if (!is(item, "type", "NFC") &&
                 !(is(item, "type", "Replace") && is(item, "content", "\xe2\x96\x81") &&
                   is(json_object_get(item, "pattern"), "String", " ") && !t->bytes))
            return cb_error("%s: normalizer: element %zu is not known", t->name, i);
    }
    return 0;
}

struct entry {
    const char *text;
    bool control;
};

/* Puts a token into its place among *room; the table grows up to limit. */
static int put(const struct tokenizer *t, struct entry *entry, size_t limit, const json_t *id,
               const char *text, bool control)
{
    char quoted[40];
    snprintf(quoted, sizeof quoted, "%.32s", text ? text : "");
    for (char *p = quoted; *p; p++)
        *p = *p >= ' ' && *p < 127 ? *p : '?';
    if (!text || !json_is_integer(id) || json_integer_value(id) < 0 ||
        (uint64_t)json_integer_value(id) >= limit)
        return cb_error("%s: token '%s': its id is not between 0 and %zu", t->name, quoted,
                        limit - 1);
    struct entry *e = &entry[json_integer_value(id)];
    if (e->text && strcmp(e->text, text))
        return cb_error("%s: token '%s': its id is another's too", t->name, quoted);
    *e = (struct entry){ text, control };
    return 0;
}

static int json_vocabulary(struct tokenizer *t, const json_t *root, json_t *vocab)
{
    json_t *added = json_object_get(root, "added_tokens"), *item;
    /* Some vocabularies are padded; ids far beyond their number are a broken file. */
    const size_t limit = 2 * (json_object_size(vocab) + json_array_size(added)) + 1024;
    struct entry *entry = data_calloc(limit, sizeof *entry);
    const char *key;
    size_t i, count = 0;
    int status = -1;
    if (!entry)
        return cb_error("%s: no memory for %zu tokens", t->name, limit);
    json_object_foreach(vocab, key, item)
        if (put(t, entry, limit, item, key, false))
            goto done;
    json_array_foreach(added, i, item)
        if (put(t, entry, limit, json_object_get(item, "id"),
                json_string_value(json_object_get(item, "content")),
                json_is_true(json_object_get(item, "special"))))
            goto done;
    for (i = 0; i < limit; i++)
        if (entry[i].text)
            count = i + 1;
    for (i = 0; i < count; i++) {
        const char *text = entry[i].text ? entry[i].text : "";
        const bool is_text = entry[i].text && !entry[i].control;
        if (tokenizer_add_spaced(t, text, strlen(text), 0, is_text ? TOKEN_TEXT : TOKEN_CONTROL))
            goto done;
    }
    status = count ? tokenizer_seal(t) : cb_error("%s: an empty vocabulary", t->name);
done:
    data_free(entry);
    return status;
}

static int json_merges(struct tokenizer *t, json_t *merges)
{
    size_t i;
    json_t *item;
    if (tokenizer_merges(t, json_array_size(merges)))
        return -1;
    json_array_foreach(merges, i, item) {
        const char *left = json_string_value(json_array_get(item, 0));
        const char *right = json_string_value(json_array_get(item, 1));
        const char *both = json_string_value(item);
        if (both ? add_merge_text(t, i, both, json_string_length(item))
                 : left && right ? add_merge(t, i, left, strlen(left), right, strlen(right))
                                 : cb_error("%s: merge %zu: not two texts", t->name, i))
            return -1;
    }
    return 0;
}

/* The id of a special token by its name, or -1. */
static int special(const struct tokenizer *t, const json_t *root, const char *name)
{
    json_t *added = json_object_get(root, "added_tokens"), *item;
    size_t i;
    json_array_foreach(added, i, item)
        if (name && is(item, "content", name)) {
            const json_int_t id = json_integer_value(json_object_get(item, "id"));
            return id < t->count ? (int)id : -1;
        }
    return -1;
}

/* What stands before a text: the first special token of the template. */
static void json_start(struct tokenizer *t, const json_t *root)
{
    static const char *const ends[] = { "</s>", "<|endoftext|>", "<|end_of_text|>" };
    const json_t *post = json_object_get(root, "post_processor"), *item;
    for (size_t i = 0; (item = part(post, "processors", i)); i++) {
        const json_t *first = json_array_get(json_object_get(item, "single"), 0);
        const char *name = json_string_value(
            json_object_get(json_object_get(first, "SpecialToken"), "id"));
        const int id = special(t, root, name);
        if (is(item, "type", "TemplateProcessing") && id >= 0) {
            t->bos = id;
            t->add_bos = true;
        }
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends && t->eos < 0; i++)
        t->eos = special(t, root, ends[i]);
}

static int parse_json(struct tokenizer *t, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    if (!json_is_object(vocab) || !json_is_array(merges) ||
        (json_object_get(model, "type") && !is(model, "type", "BPE")))
        return cb_error("%s: model: not byte-pair encoding with vocab and merges", t->name);
    t->by_merges = true;
    t->whole_words = json_is_true(json_object_get(model, "ignore_merges"));
    if (json_split(t, root) || json_normalizer(t, root))
        return -1;
    if (!t->bytes && !json_is_true(json_object_get(model, "byte_fallback")))
        return cb_error("%s: model: neither bytes nor byte_fallback", t->name);
    if (json_vocabulary(t, root, vocab) || json_merges(t, merges))
        return -1;
    json_start(t, root);
    t->unknown = special(t, root, json_string_value(json_object_get(model, "unk_token")));
    return 0;
}

int tokenizer_parse_json(const char *name, const void *data, size_t size, struct tokenizer *out)
{
    json_error_t e;
    tokenizer_begin(out, name);
    json_t *root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &e);
    int status = root ? parse_json(out, root)
                      : cb_error("%s: JSON line %d column %d: %.60s", out->name, e.line, e.column,
                                 e.text);
    json_decref(root);
    if (status)
        tokenizer_free(out);
    return status;
}

/* ---- any ---- */

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

int tokenizer_load(const char *path, struct tokenizer *out)
{
    char inside[4096];
    struct checkpoint_file f;
    struct stat st;
    *out = (struct tokenizer){ 0 };
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
        if (snprintf(inside, sizeof inside, "%s/tokenizer.json", path) >= (int)sizeof inside - 1)
            return cb_error("%.100s...: path too long", path);
        if (stat(inside, &st)) { /* the older of Llama's folders have a tokenizer.model alone */
            char *end = strrchr(inside, '/');
            strcpy(end, "/tokenizer.model");
            if (stat(inside, &st))
                strcpy(end, "/tokenizer.json");
        }
        path = inside;
    }
    if (checkpoint_map(path, &f))
        return -1;
    int status;
    if (ends_in(path, ".json"))
        status = tokenizer_parse_json(path, f.data, f.size, out);
    else if (f.size >= 4 && !memcmp(f.data, "GGUF", 4))
        status = tokenizer_parse_gguf(path, f.data, f.size, out);
    else if (ends_in(path, ".bin"))
        status = tokenizer_parse_bin(path, f.data, f.size, out);
    else if (ends_in(path, ".model"))
        status = tokenizer_parse_sentencepiece(path, f.data, f.size, out);
    else
        status = cb_error("%s: a tokenizer is a folder, or ends in .json, .model, .gguf or .bin",
                          path);
    checkpoint_unmap(&f);
    return status;
}
