/* file.c - whole files into memory, gzip or not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

void *data_zalloc(void *unused, unsigned count, unsigned size)
{
    (void)unused;
    return data_calloc(count, size);
}

void data_zfree(void *unused, void *p)
{
    (void)unused;
    data_free(p);
}

/* Makes room for at least one byte and a NUL behind used; doubles. */
static int grow(const char *path, char **buffer, size_t *room, size_t used)
{
    if (used + 1 < *room)
        return 0;
    size_t more = *room < 65536 ? 65536 : *room * 2;
    char *p = data_realloc(*buffer, more, 1);
    if (!p)
        return cb_error("%s: no memory for %zu bytes", path, more);
    *buffer = p;
    *room = more;
    return 0;
}

static int slurp(const char *path, char **out, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *buffer = NULL;
    size_t room = 0, used = 0;
    int status = -1;
    if (!f)
        return cb_error("%s: %s", path, strerror(errno));
    if (!fseek(f, 0, SEEK_END)) { /* a pipe cannot; it grows instead */
        long end = ftell(f);
        rewind(f);
        if (end > 0) {
            room = (size_t)end + 2;
            buffer = data_malloc(room, 1);
            if (!buffer) {
                cb_error("%s: no memory for %zu bytes", path, room);
                goto done;
            }
        }
    }
    for (;;) {
        if (grow(path, &buffer, &room, used))
            goto done;
        size_t n = fread(buffer + used, 1, room - used - 1, f);
        if (!n)
            break;
        used += n;
    }
    if (ferror(f)) {
        cb_error("%s: %s", path, strerror(errno));
        goto done;
    }
    buffer[used] = 0;
    *out = buffer;
    *size = used;
    status = 0;
done:
    fclose(f);
    if (status)
        data_free(buffer);
    return status;
}

static int gunzip(const char *path, const char *packed, size_t packed_size, char **out,
                  size_t *size)
{
    enum { PIECE = 1 << 30 }; /* zlib counts in unsigned int */
    z_stream z = { .zalloc = data_zalloc, .zfree = data_zfree };
    char *buffer = NULL;
    size_t room = 0, used = 0, taken = 0;
    int status = -1;
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return cb_error("%s: no memory to decompress", path);
    for (;;) {
        if (grow(path, &buffer, &room, used))
            goto done;
        size_t in = packed_size - taken, space = room - used - 1;
        z.next_in = (Bytef *)(packed + taken);
        z.avail_in = (uInt)(in < PIECE ? in : PIECE);
        z.next_out = (Bytef *)buffer + used;
        z.avail_out = (uInt)(space < PIECE ? space : PIECE);
        uInt had_in = z.avail_in, had_out = z.avail_out;
        int r = inflate(&z, Z_NO_FLUSH);
        taken += had_in - z.avail_in;
        used += had_out - z.avail_out;
        if (r == Z_STREAM_END) {
            if (taken == packed_size)
                break;
            if (inflateReset(&z) != Z_OK) /* the next member */
                goto damaged;
        } else if (r == Z_MEM_ERROR) {
            cb_error("%s: no memory to decompress", path);
            goto done;
        } else if (r != Z_OK && r != Z_BUF_ERROR) {
            goto damaged;
        } else if (taken == packed_size && z.avail_out) {
            cb_error("%s: gzip data ends early", path);
            goto done;
        }
    }
    buffer[used] = 0;
    *out = buffer;
    *size = used;
    status = 0;
    goto done;
damaged:
    cb_error("%s: damaged gzip data near byte %zu", path, taken);
done:
    inflateEnd(&z);
    if (status)
        data_free(buffer);
    return status;
}

int data_read(const char *path, char **out, size_t *size)
{
    char *raw = NULL;
    size_t raw_size = 0;
    *out = NULL;
    *size = 0;
    if (slurp(path, &raw, &raw_size))
        return -1;
    if (raw_size < 2 || (unsigned char)raw[0] != 0x1f || (unsigned char)raw[1] != 0x8b) {
        *out = raw;
        *size = raw_size;
        return 0;
    }
    int status = gunzip(path, raw, raw_size, out, size);
    data_free(raw);
    return status;
}
