/* sha.c - SHA-256 through libcrypto. */
#include "sha.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"

static int finish(EVP_MD_CTX *hash, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_DigestFinal_ex(hash, digest, &length) != 1 || length != 32)
        return cb_error("SHA-256: not available");
    for (unsigned i = 0; i < length; i++)
        snprintf(out + (size_t)i * 2, 3, "%02x", digest[i]);
    return 0;
}

int cb_sha256(const void *data, size_t bytes, char out[65])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    int status = -1;
    out[0] = 0;
    if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1 ||
        (bytes && EVP_DigestUpdate(hash, data, bytes) != 1))
        cb_error("SHA-256: not available");
    else
        status = finish(hash, out);
    EVP_MD_CTX_free(hash);
    return status;
}

int cb_sha256_file(const char *path, char out[65])
{
    enum { CHUNK = 1 << 18 };
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char *buffer = malloc(CHUNK);
    FILE *f = fopen(path, "rb");
    int status = -1;
    out[0] = 0;
    if (!f) {
        cb_error("%s: cannot be opened", path);
        goto done;
    }
    if (!hash || !buffer || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) {
        cb_error("%s: no memory to hash it", path);
        goto done;
    }
    for (size_t n; (n = fread(buffer, 1, CHUNK, f)) > 0;)
        if (EVP_DigestUpdate(hash, buffer, n) != 1) {
            cb_error("%s: SHA-256 failed", path);
            goto done;
        }
    status = ferror(f) ? cb_error("%s: cannot be read", path) : finish(hash, out);
done:
    if (f)
        fclose(f);
    free(buffer);
    EVP_MD_CTX_free(hash);
    return status;
}
