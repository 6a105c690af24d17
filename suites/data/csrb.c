/*
 * csrb.c - the packed form of a matrix.
 *
 *   byte    0  "CSRB"              all numbers little-endian
 *           4  u32 version, 1
 *           8  u32 rows
 *          12  u32 columns
 *          16  u64 entries
 *          24  u32 values: 0 all 1, 1 data_value(DATA_VALUE_SEED, row, column), 2 stored
 *          28  u32 0
 *          32  u64 bytes of the payload, which ends the file
 *          40  name[64] source[16] gen[96], each ended by a NUL
 *         216  SHA-256 of the matrix (32 bytes)
 *         248  u64 0
 *         256  payload: one zlib stream of
 *                the length of each row                             varint
 *                per row the first column, then difference - 1      varint
 *                stored values: all lowest bytes of the floats, all second ... highest
 *
 * A varint has 7 bits a byte, lowest first, the top bit set on all but the last.
 * Neighbouring columns make one small byte an entry, which zlib then halves.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

enum { HEADER = 256, PIECE = 1 << 16, VERSION = 1 };
enum values { ONES, HASHED, STORED };

/* ---- writing ---- */

struct writer {
    FILE *f;
    z_stream z;
    unsigned char *in, *out; /* [PIECE] each */
    unsigned used;
    uint64_t written;
    bool failed;
};

static void pass_on(struct writer *w, int flush)
{
    w->z.next_in = w->in;
    w->z.avail_in = w->used;
    do {
        w->z.next_out = w->out;
        w->z.avail_out = PIECE;
        deflate(&w->z, flush);
        size_t n = PIECE - w->z.avail_out;
        w->written += n;
        if (fwrite(w->out, 1, n, w->f) != n)
            w->failed = true;
    } while (!w->z.avail_out && !w->failed);
    w->used = 0;
}

static void put_byte(struct writer *w, unsigned char byte)
{
    if (w->used == PIECE)
        pass_on(w, Z_NO_FLUSH);
    w->in[w->used++] = byte;
}

static void put_varint(struct writer *w, uint32_t v)
{
    for (; v > 127; v >>= 7)
        put_byte(w, (unsigned char)(v | 128));
    put_byte(w, (unsigned char)v);
}

static uint32_t float_bits(float f)
{
    union { float f; uint32_t u; } bits = { .f = f };
    return bits.u;
}

static enum values kind_of_values(const struct matrix *m)
{
    bool ones = true, hashed = true;
    for (int i = 0; i < m->rows && (ones || hashed); i++)
        for (long p = m->row_ptr[i]; p < m->row_ptr[i + 1]; p++) {
            ones &= m->val[p] == 1.0f;
            hashed &= m->val[p] == data_value(DATA_VALUE_SEED, i, m->col[p]);
        }
    return ones ? ONES : hashed ? HASHED : STORED;
}

static void write_payload(struct writer *w, const struct matrix *m, enum values values)
{
    for (int i = 0; i < m->rows; i++)
        put_varint(w, (uint32_t)(m->row_ptr[i + 1] - m->row_ptr[i]));
    for (int i = 0; i < m->rows; i++)
        for (long p = m->row_ptr[i], before = -1; p < m->row_ptr[i + 1]; before = m->col[p++])
            put_varint(w, (uint32_t)(m->col[p] - before - 1));
    if (values == STORED)
        for (int shift = 0; shift < 32; shift += 8)
            for (long p = 0; p < m->nnz; p++)
                put_byte(w, (unsigned char)(float_bits(m->val[p]) >> shift));
    pass_on(w, Z_FINISH);
}

static void put_number(unsigned char *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(v >> 8 * i);
}

static int from_hex(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void make_header(unsigned char h[HEADER], const struct matrix *m, enum values values,
                        uint64_t payload)
{
    memset(h, 0, HEADER);
    memcpy(h, "CSRB", 4);
    put_number(h + 4, VERSION, 4);
    put_number(h + 8, (uint64_t)m->rows, 4);
    put_number(h + 12, (uint64_t)m->cols, 4);
    put_number(h + 16, (uint64_t)m->nnz, 8);
    put_number(h + 24, values, 4);
    put_number(h + 32, payload, 8);
    data_text((char *)h + 40, sizeof m->name, m->name);
    data_text((char *)h + 104, sizeof m->source, m->source);
    data_text((char *)h + 120, sizeof m->gen, m->gen);
    for (int i = 0; i < 32; i++)
        h[216 + i] =
            (unsigned char)(from_hex(m->sha256[2 * i]) << 4 | from_hex(m->sha256[2 * i + 1]));
}

int matrix_save_csrb(const struct matrix *m, const char *path)
{
    unsigned char header[HEADER];
    enum values values = kind_of_values(m);
    struct writer w = { .z = { .zalloc = data_zalloc, .zfree = data_zfree } };
    int status = -1;
    w.in = data_malloc(PIECE, 1);
    w.out = data_malloc(PIECE, 1);
    if (!w.in || !w.out || deflateInit(&w.z, 9) != Z_OK) {
        cb_error("%s: no memory to compress", path);
        goto done;
    }
    w.f = fopen(path, "wb");
    if (!w.f) {
        cb_error("%s: %s", path, strerror(errno));
        goto done;
    }
    make_header(header, m, values, 0);
    w.failed = fwrite(header, HEADER, 1, w.f) != 1;
    write_payload(&w, m, values);
    make_header(header, m, values, w.written);
    w.failed |= fseek(w.f, 0, SEEK_SET) || fwrite(header, HEADER, 1, w.f) != 1;
    w.failed |= fclose(w.f) != 0;
    if (w.failed) {
        struct stat kind; /* half a file is worse than none; a device is no file of ours */
        if (!lstat(path, &kind) && S_ISREG(kind.st_mode))
            remove(path);
        cb_error("%s: not written whole", path);
        goto done;
    }
    status = 0;
done:
    deflateEnd(&w.z);
    data_free(w.in);
    data_free(w.out);
    return status;
}

/* ---- reading ---- */

struct reader {
    const char *name;
    z_stream z;
    unsigned char *out; /* [PIECE] */
    unsigned at, used;
    int state; /* of inflate */
};

/* The next byte of the stream; -1 at its end or where it is damaged. */
static int get_byte(struct reader *r)
{
    while (r->at == r->used) {
        if (r->state != Z_OK)
            return -1;
        r->z.next_out = r->out;
        r->z.avail_out = PIECE;
        r->state = inflate(&r->z, Z_NO_FLUSH);
        r->at = 0;
        r->used = PIECE - r->z.avail_out;
    }
    return r->out[r->at++];
}

/* A number up to limit; -1 where there is none. */
static long get_varint(struct reader *r, long limit)
{
    long v = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        int byte = get_byte(r);
        if (byte < 0)
            return -1;
        v |= (long)(byte & 127) << shift;
        if (byte < 128)
            return v <= limit ? v : -1;
    }
    return -1;
}

static uint64_t number(const unsigned char *from, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)from[i] << 8 * i;
    return v;
}

static int read_header(const char *name, const unsigned char *h, size_t size, struct matrix *m,
                       enum values *values)
{
    if (size < HEADER || memcmp(h, "CSRB", 4))
        return cb_error("%s: not a packed matrix", name);
    if (number(h + 4, 4) != VERSION)
        return cb_error("%s: packed form %lu, this program reads %d", name,
                        (unsigned long)number(h + 4, 4), VERSION);
    uint64_t rows = number(h + 8, 4), cols = number(h + 12, 4), nnz = number(h + 16, 8);
    uint64_t kind = number(h + 24, 4), payload = size - HEADER;
    if (number(h + 32, 8) != payload)
        return cb_error("%s: %zu bytes of data where %lu are promised", name, size - HEADER,
                        (unsigned long)number(h + 32, 8));
    if (!rows || !cols || rows >= INT_MAX || cols >= INT_MAX || nnz > INT_MAX || kind > STORED)
        return cb_error("%s: header out of range", name);
    /* zlib makes at most 1032 bytes of one, and a row or an entry is at least one */
    if (rows > 1040 * payload || nnz > 1040 * payload)
        return cb_error("%s: %lu rows and %lu entries are promised, too many for its length", name,
                        (unsigned long)rows, (unsigned long)nnz);
    if (h[103] || h[119] || h[215])
        return cb_error("%s: a text of the header has no end", name);
    memcpy(m->name, h + 40, sizeof m->name);
    memcpy(m->source, h + 104, sizeof m->source);
    memcpy(m->gen, h + 120, sizeof m->gen);
    for (const char *texts[] = { m->name, m->source, m->gen, NULL }, **s = texts; *s; s++)
        for (const char *p = *s; *p; p++)
            if (*p < ' ' || *p > '~')
                return cb_error("%s: a text of the header is not printable", name);
    if (strcmp(m->source, "generated") && strcmp(m->source, "package") && strcmp(m->source, "user"))
        return cb_error("%s: unknown source '%s'", name, m->source);
    m->rows = (int)rows;
    m->cols = (int)cols;
    m->nnz = (long)nnz;
    *values = (enum values)kind;
    return 0;
}

static int read_payload(struct reader *r, struct matrix *m, enum values values)
{
    long total = 0;
    m->row_ptr[0] = 0;
    for (int i = 0; i < m->rows; i++) {
        long n = get_varint(r, m->cols);
        if (n < 0 || (total += n) > m->nnz)
            return cb_error("%s: damaged length of row %d", r->name, i + 1);
        m->row_ptr[i + 1] = (int)total;
    }
    if (total != m->nnz)
        return cb_error("%s: %ld entries in the rows, %ld promised", r->name, total, m->nnz);
    for (int i = 0; i < m->rows; i++)
        for (long p = m->row_ptr[i], before = -1; p < m->row_ptr[i + 1]; before = m->col[p++]) {
            long step = get_varint(r, m->cols - before - 2);
            if (step < 0)
                return cb_error("%s: damaged columns of row %d", r->name, i + 1);
            m->col[p] = (int)(before + 1 + step);
        }
    if (values == STORED) {
        uint32_t *bits = (uint32_t *)(void *)m->val; /* turned into floats below */
        memset(bits, 0, (size_t)m->nnz * sizeof *bits);
        for (int shift = 0; shift < 32; shift += 8)
            for (long p = 0; p < m->nnz; p++) {
                int byte = get_byte(r);
                if (byte < 0)
                    return cb_error("%s: damaged values", r->name);
                bits[p] |= (uint32_t)byte << shift;
            }
        for (long p = 0; p < m->nnz; p++) {
            if ((bits[p] & 0x7f800000) == 0x7f800000)
                return cb_error("%s: a value is not finite", r->name);
            union { uint32_t u; float f; } value = { .u = bits[p] };
            m->val[p] = value.f;
        }
    } else if (values == HASHED) {
        data_hash_values(m, DATA_VALUE_SEED);
    } else {
        for (long p = 0; p < m->nnz; p++)
            m->val[p] = 1;
    }
    if (get_byte(r) >= 0 || r->state != Z_STREAM_END || r->z.avail_in)
        return cb_error("%s: damaged end of data", r->name);
    return 0;
}

int matrix_csrb_parse(const char *name, const void *data, size_t size, struct matrix *out)
{
    const unsigned char *bytes = data;
    struct reader r = { .name = name, .state = Z_OK,
                        .z = { .zalloc = data_zalloc, .zfree = data_zfree } };
    struct matrix m = { 0 };
    enum values values = ONES;
    int status = -1;
    *out = (struct matrix){ 0 };
    if (read_header(name, bytes, size, &m, &values))
        return -1;
    if (size - HEADER > UINT_MAX)
        return cb_error("%s: longer than 4 GB", name);
    m.row_ptr = data_malloc((size_t)m.rows + 1, sizeof *m.row_ptr);
    m.col = data_malloc((size_t)m.nnz, sizeof *m.col);
    m.val = data_malloc((size_t)m.nnz, sizeof *m.val);
    r.out = data_malloc(PIECE, 1);
    r.z.next_in = (Bytef *)(bytes + HEADER);
    r.z.avail_in = (uInt)(size - HEADER);
    if (!m.row_ptr || !m.col || !m.val || !r.out || inflateInit(&r.z) != Z_OK) {
        cb_error("%s: no memory for %ld entries", name, m.nnz);
        goto done;
    }
    if (read_payload(&r, &m, values) || data_seal(&m))
        goto done;
    unsigned char header[HEADER];
    make_header(header, &m, values, size - HEADER);
    if (memcmp(header + 216, bytes + 216, 32)) {
        cb_error("%s: SHA-256 of the matrix differs from the one stored", name);
        goto done;
    }
    *out = m;
    status = 0;
done:
    inflateEnd(&r.z);
    data_free(r.out);
    if (status)
        matrix_free(&m);
    return status;
}
