/*
 * tokenizer_sentencepiece.c - NAME.model of SentencePiece: a protocol buffer, read by its wire
 * format.
 *
 *     key     varint: field << 3 | type
 *     type    0 varint   1 eight bytes   2 varint length, then so many bytes   5 four bytes
 *
 *     1 pieces, repeated    1 text   2 score (float)   3 type
 *     2 trainer_spec        3 model type   24 space after words   35 byte fallback
 *                           40 unknown, 41 start, 42 end
 *     3 normalizer_spec     2 table of characters   3 space in front   4 extra spaces removed
 *                           5 spaces written as U+2581
 *
 * Fields not named here do not change what a text becomes and are skipped; what would change
 * it and is not supported is refused: tables of characters, spaces after words, models of whole
 * words or of single characters, and unused pieces where pairs are joined.
 */
#include <math.h>
#include <string.h>

#include "../../harness/error.h"
#include "tokenizer.h"
#include "tokenizer_add.h"

enum { VARINT, FIXED64, BYTES, FIXED32 = 5 };
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };
enum { UNIGRAM = 1, PAIRS };
enum { PIECE_MAX = 1024 }; /* bytes of a piece; those of real models are a few dozen */

/* What is left of a message. */
struct message {
    const char *name;
    const unsigned char *file, *at, *end;
};

struct field {
    uint64_t number, value; /* value: of VARINT and FIXED32 */
    unsigned type;
    const unsigned char *data; /* of BYTES */
    size_t size;
    size_t place; /* of its key in the file */
};

static int varint(struct message *m, uint64_t *out)
{
    const size_t place = (size_t)(m->at - m->file);
    *out = 0;
    for (unsigned shift = 0; m->at < m->end; shift += 7) {
        const unsigned char byte = *m->at++;
        if (shift > 63 || (shift == 63 && byte > 1))
            return cb_error("%s: byte %zu: a number of more than 64 bits", m->name, place);
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return 0;
    }
    return cb_error("%s: byte %zu: a number is cut off", m->name, place);
}

/* The next field; -1 after cb_error. */
static int next_field(struct message *m, struct field *f)
{
    uint64_t key, size = 0;
    *f = (struct field){ .place = (size_t)(m->at - m->file) };
    if (varint(m, &key))
        return -1;
    f->number = key >> 3;
    f->type = key & 7;
    if (!f->number || (f->type != VARINT && f->type != FIXED64 && f->type != BYTES &&
                       f->type != FIXED32))
        return cb_error("%s: byte %zu: no field of a protocol buffer", m->name, f->place);
    if (f->type == VARINT)
        return varint(m, &f->value);
    if (f->type == BYTES && varint(m, &size))
        return -1;
    size = f->type == FIXED64 ? 8 : f->type == FIXED32 ? 4 : size;
    if (size > (uint64_t)(m->end - m->at))
        return cb_error("%s: byte %zu: field %llu goes beyond its message", m->name, f->place,
                        (unsigned long long)f->number);
    f->data = m->at;
    f->size = (size_t)size;
    m->at += size;
    for (size_t i = 0; f->type == FIXED32 && i < 4; i++)
        f->value |= (uint64_t)f->data[i] << 8 * i;
    return 0;
}

static int expect(const struct message *m, const struct field *f, unsigned type)
{
    return f->type == type ? 0
                           : cb_error("%s: byte %zu: field %llu has the wire type %u, not %u",
                                      m->name, f->place, (unsigned long long)f->number, f->type,
                                      type);
}

static struct message inside(const struct message *m, const struct field *f)
{
    return (struct message){ m->name, m->file, f->data, f->data + f->size };
}

/* ---- what is around the pieces ---- */

struct spec {
    uint64_t model;
    bool suffix, byte_fallback, table, space_first, trim, escape;
    int64_t unknown, bos, eos;
};

static int read_trainer(struct message m, struct spec *s)
{
    struct field f;
    while (m.at < m.end) {
        if (next_field(&m, &f))
            return -1;
        const bool wanted = f.number == 3 || f.number == 24 || f.number == 35 ||
                            (f.number >= 40 && f.number <= 42);
        if (wanted && expect(&m, &f, VARINT))
            return -1;
        switch (f.number) {
        case 3: s->model = f.value; break;
        case 24: s->suffix = f.value != 0; break;
        case 35: s->byte_fallback = f.value != 0; break;
        case 40: s->unknown = (int64_t)f.value; break;
        case 41: s->bos = (int64_t)f.value; break;
        case 42: s->eos = (int64_t)f.value; break;
        default: break;
        }
    }
    return 0;
}

static int read_normalizer(struct message m, struct spec *s)
{
    struct field f;
    while (m.at < m.end) {
        if (next_field(&m, &f))
            return -1;
        if ((f.number >= 3 && f.number <= 5 && expect(&m, &f, VARINT)) ||
            (f.number == 2 && expect(&m, &f, BYTES)))
            return -1;
        switch (f.number) {
        case 2: s->table = f.size > 0; break;
        case 3: s->space_first = f.value != 0; break;
        case 4: s->trim = f.value != 0; break;
        case 5: s->escape = f.value != 0; break;
        default: break;
        }
    }
    return 0;
}

static int check_spec(const struct tokenizer *t, const struct spec *s)
{
    if (s->model != UNIGRAM && s->model != PAIRS)
        return cb_error("%s: trainer_spec: model type %llu is neither unigram nor BPE", t->name,
                        (unsigned long long)s->model);
    if (s->suffix)
        return cb_error("%s: trainer_spec: spaces after words are not supported", t->name);
    if (s->table)
        return cb_error("%s: normalizer_spec: a table of characters, which is not supported",
                        t->name);
    return 0;
}

/* All messages but the pieces, which may stand before them. */
static int read_specs(struct message m, struct spec *s)
{
    struct field f;
    while (m.at < m.end) {
        if (next_field(&m, &f))
            return -1;
        if (f.number < 1 || f.number > 3)
            continue;
        if (expect(&m, &f, BYTES))
            return -1;
        if ((f.number == 2 && read_trainer(inside(&m, &f), s)) ||
            (f.number == 3 && read_normalizer(inside(&m, &f), s)))
            return -1;
    }
    return 0;
}

/* ---- pieces ---- */

struct piece {
    const char *text;
    size_t length;
    float score;
    uint64_t type;
};

static int read_piece(struct message m, int index, struct piece *out)
{
    struct field f;
    *out = (struct piece){ .type = NORMAL };
    while (m.at < m.end) {
        if (next_field(&m, &f))
            return cb_error_in("%s: piece %d", m.name, index);
        if ((f.number == 1 && expect(&m, &f, BYTES)) ||
            (f.number == 2 && expect(&m, &f, FIXED32)) ||
            (f.number == 3 && expect(&m, &f, VARINT)))
            return -1;
        const uint32_t bits = (uint32_t)f.value;
        switch (f.number) {
        case 1: out->text = (const char *)f.data, out->length = f.size; break;
        case 2: memcpy(&out->score, &bits, sizeof bits); break;
        case 3: out->type = f.value; break;
        default: break;
        }
    }
    if (!out->length || out->length > PIECE_MAX)
        return cb_error("%s: piece %d has %zu bytes, not 1 to %d", m.name, index, out->length,
                        PIECE_MAX);
    if (!isfinite(out->score))
        return cb_error("%s: piece %d has no finite score", m.name, index);
    if (out->type < NORMAL || out->type > BYTE)
        return cb_error("%s: piece %d has type %llu", m.name, index, (unsigned long long)out->type);
    return 0;
}

static int add_piece(struct tokenizer *t, const struct spec *s, const struct piece *p)
{
    static const enum token_kind kinds[] = { [NORMAL] = TOKEN_TEXT,     [UNKNOWN] = TOKEN_CONTROL,
                                             [CONTROL] = TOKEN_CONTROL, [USER] = TOKEN_USER,
                                             [UNUSED] = TOKEN_CONTROL,  [BYTE] = TOKEN_BYTE };
    const int index = t->count;
    if (p->type == UNUSED && s->model == PAIRS)
        return cb_error("%s: piece %d: unused pieces are not supported", t->name, index);
    if (p->type == BYTE && !s->byte_fallback)
        return cb_error("%s: piece %d is a byte, but there is no byte fallback", t->name, index);
    if (p->type == UNKNOWN && t->unknown >= 0)
        return cb_error("%s: piece %d is unknown, as piece %d is", t->name, index, t->unknown);
    if (p->type == UNKNOWN)
        t->unknown = index;
    if (p->type == NORMAL) {
        t->score_min = fminf(t->score_min, p->score);
        t->score_max = fmaxf(t->score_max, p->score);
    }
    return s->escape ? tokenizer_add_spaced(t, p->text, p->length, p->score, kinds[p->type])
                     : tokenizer_add(t, p->text, p->length, p->score, kinds[p->type]);
}

static int check_pieces(const struct tokenizer *t, const struct spec *s)
{
    for (int b = 0; s->byte_fallback && b < 256; b++)
        if (t->byte_token[b] < 0)
            return cb_error("%s: byte fallback, but no piece for byte 0x%02x", t->name,
                            (unsigned)b);
    for (int i = 0; i < t->count; i++) {
        const struct token *k = &t->token[i];
        const int first = k->kind == TOKEN_TEXT || k->kind == TOKEN_USER
                              ? tokenizer_find(t, t->text + k->at, k->length)
                              : i;
        if (first != i)
            return cb_error("%s: piece %d has the text of piece %d", t->name, i, first);
    }
    return t->unknown < 0 ? cb_error("%s: no piece is the unknown one", t->name) : 0;
}

/* A token that the trainer names, if it exists and is not made from text; else -1. */
static int special(const struct tokenizer *t, int64_t id)
{
    return id >= 0 && id < t->count && t->token[id].kind == TOKEN_CONTROL ? (int)id : -1;
}

static int parse(struct tokenizer *t, struct message m)
{
    struct spec s = { .model = UNIGRAM, .space_first = true, .trim = true, .escape = true,
                      .bos = 1, .eos = 2 };
    struct field f;
    struct piece p;
    if (read_specs(m, &s) || check_spec(t, &s))
        return -1;
    t->by_unigram = s.model == UNIGRAM;
    t->unknown_once = true;
    t->space_first = s.space_first;
    t->trim = s.trim;
    t->blank_is_space = s.escape;
    t->score_min = INFINITY;
    t->score_max = 0; /* the published code starts here too: scores are logarithms, below 0 */
    while (m.at < m.end)
        if (next_field(&m, &f) ||
            (f.number == 1 && (read_piece(inside(&m, &f), t->count, &p) || add_piece(t, &s, &p))))
            return -1;
    if (!isfinite(t->score_min))
        return cb_error("%s: no piece is text", t->name);
    if (tokenizer_seal(t) || check_pieces(t, &s))
        return -1;
    t->bos = special(t, s.bos);
    t->eos = special(t, s.eos);
    t->add_bos = t->bos >= 0;
    return 0;
}

int tokenizer_parse_sentencepiece(const char *name, const void *data, size_t size,
                                  struct tokenizer *out)
{
    tokenizer_begin(out, name);
    const int status = parse(out, (struct message){ out->name, data, data,
                                                    (const unsigned char *)data + size });
    if (status)
        tokenizer_free(out);
    return status;
}
