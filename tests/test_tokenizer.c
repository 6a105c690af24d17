/*
 * test_tokenizer.c - tokenizers: published ones where their files are, made-up ones of
 * every format, the splitting of text, round trips of any bytes.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../suites/data/alloc.h"
#include "../suites/data/build.h"
#include "../suites/data/shared.h"
#include "../suites/data/tokenizer.h"
#include "../suites/data/unicode.h"
#include "test.h"

/* Tokens of a text between bars: "|Once| upon|". */
static const char *pieces(const struct tokenizer *t, const char *text, bool start, char out[1024])
{
    int *token, count;
    size_t used = 0;
    if (tokenizer_encode(t, text, strlen(text), start, &token, &count))
        return cb_error_text();
    out[used++] = '|';
    for (int i = 0; i < count; i++) {
        size_t length;
        const char *p = tokenizer_text(t, token[i], &length);
        used += (size_t)snprintf(out + used, 1024 - used, "%.*s|", (int)length, p);
    }
    out[used] = 0;
    data_free(token);
    return out;
}

static bool returns(const struct tokenizer *t, const char *text, size_t size)
{
    int *token, count;
    char *back;
    size_t length;
    if (tokenizer_encode(t, text, size, true, &token, &count))
        return false;
    bool same = !tokenizer_decode(t, token, count, &back, &length) && length == size &&
                !memcmp(back, text, size);
    data_free(token);
    data_free(back);
    return same;
}

/* Texts of any bytes, of UTF-8, of many spaces. */
static void check_returns(const struct tokenizer *t)
{
    static const char *const texts[] = { "", " ", "  ", "\n", " a", "a ", "a  b", "\xe2\x96\x81",
                                         "caf\xc3\xa9 \xf0\x9f\x98\x80 12\t\r\n\r\n  34", "<s>",
                                         "<0x41>", "\xff\xfe\xc3", "it's I'LL  'tis" };
    unsigned state = 1;
    char text[64];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        CHECK(returns(t, texts[i], strlen(texts[i])));
    int failed = 0;
    for (int round = 0; round < 3000; round++) {
        size_t n = 0;
        for (; n < sizeof text; n++) {
            state = state * 1664525 + 1013904223;
            const unsigned v = state >> 16;
            if (v % 23 == 0)
                break;
            text[n] = round % 3 ? " \n'aelst1\xc3\xa9"[v % 12] : (char)(v >> 4);
        }
        failed += !returns(t, text, n);
    }
    CHECK(failed == 0);
}

/* ---- splitting ---- */

static void check_split(enum tokenizer_split split, const char *text, const char *want)
{
    char have[256];
    size_t used = 0;
    for (size_t at = 0, n, size = strlen(text); at < size; at += n) {
        n = tokenizer_word(split, text + at, size - at);
        if (!n || n > size - at)
            break;
        used += (size_t)snprintf(have + used, sizeof have - used, "%.*s|", (int)n, text + at);
    }
    have[used] = 0;
    CHECK_STR(have, want);
}

static void test_split(void)
{
    check_split(SPLIT_NONE, "a b", "a b|");
    check_split(SPLIT_GPT2, "Hello, world!", "Hello|,| world|!|");
    check_split(SPLIT_GPT2, "it's I'LL we'll", "it|'s| I|'|LL| we|'ll|");
    check_split(SPLIT_GPT2, "in 1234.5 m", "in| 1234|.|5| m|");
    check_split(SPLIT_GPT2, "a   b", "a|  | b|");
    check_split(SPLIT_GPT2, "a \n b\n", "a| \n| b|\n|");
    check_split(SPLIT_GPT2, "a\n\nb  ", "a|\n|\n|b|  |");
    check_split(SPLIT_GPT2, "caf\xc3\xa9 \xe4\xb8\xad\xc2\xbd!?",
                "caf\xc3\xa9| \xe4\xb8\xad|\xc2\xbd|!?|");
    check_split(SPLIT_GPT2_DIGITS, "in 1234.5 m", "in| |1|2|3|4|.|5| m|");
    check_split(SPLIT_GPT2_DIGITS, "a  12  b", "a|  |1|2| | b|");
    check_split(SPLIT_GPT2_DIGITS, " \n7", " \n|7|");
    check_split(SPLIT_LLAMA3, "it's I'LL", "it|'s| I|'LL|");
    check_split(SPLIT_LLAMA3, "in 1234.5 m", "in| |123|4|.|5| m|");
    check_split(SPLIT_LLAMA3, "(abc) $x", "(abc|)| $|x|");
    check_split(SPLIT_LLAMA3, "a.\n\n  b", "a|.\n\n| | b|");
    check_split(SPLIT_LLAMA3, "a \n \n  b", "a| \n \n| | b|");
    check_split(SPLIT_LLAMA3, "a\tb  ", "a|\tb|  |");
    check_split(SPLIT_QWEN2, "in 1234", "in| |1|2|3|4|");
    CHECK(unicode_letter(0xe9) && unicode_letter(0x4e2d) && !unicode_letter(0xd7));
    CHECK(unicode_number(0xbd) && unicode_number(0x0665) && !unicode_number('a'));
    CHECK(unicode_space(0x3000) && !unicode_space(0x200b));
}

/* ---- made-up vocabularies ---- */

static size_t used;
static char file[1 << 16];

static void put(const void *p, size_t n)
{
    if (used + n <= sizeof file)
        memcpy(file + used, p, n);
    used += n;
}

static void put_u32(uint32_t v)
{
    put(&v, sizeof v);
}

static void put_text(const char *text)
{
    const uint64_t n = strlen(text);
    put(&n, sizeof n);
    put(text, n);
}

static const struct { const char *text; float score; } words[] = {
    { " ", -9 }, { "h", -9 }, { "e", -9 }, { "l", -9 }, { "o", -9 }, { "lo", -1 },
    { "el", -2 }, { "he", -3 }, { "ll", -4 }, { " h", -5 }, { "hel", -6 }, { " hel", -0.5f },
    { "\xc3\xa9", -9 },
};
enum { WORDS = sizeof words / sizeof *words };

static void make_bin(void)
{
    char byte[8];
    used = 0;
    put_u32(16);
    for (int i = 0; i < 3 + 256 + WORDS; i++) {
        const char *text = i == 0 ? "<unk>" : i == 1 ? "\n<s>\n" : i == 2 ? "\n</s>\n" : byte;
        float score = 0;
        snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(i - 3) & 255);
        if (i >= 3 + 256) {
            text = words[i - 3 - 256].text;
            score = words[i - 3 - 256].score;
        }
        put(&score, sizeof score);
        put_u32((uint32_t)strlen(text));
        put(text, strlen(text));
    }
}

static void test_scores(void)
{
    struct tokenizer t, g;
    char out[1024];
    make_bin();
    CHECK(!tokenizer_parse_bin("made.bin", file, used, &t));
    CHECK(t.count == 3 + 256 + WORDS && t.bos == 1 && t.eos == 2 && t.add_bos);
    /* " hello": lo (-1), then el (-2), which leaves he no e, then " h" (-5), then both */
    CHECK_STR(pieces(&t, "hello", false, out), "| hel|lo|");
    CHECK_STR(pieces(&t, "lolo", false, out), "| |lo|lo|");
    CHECK_STR(pieces(&t, "", false, out), "|");
    CHECK_STR(pieces(&t, "x\xc3\xa9", false, out), "| |x|\xc3\xa9|");
    CHECK_STR(pieces(&t, "", true, out), "|\n<s>\n|");
    check_returns(&t);
    const int bad = t.count;
    char *text;
    size_t size;
    CHECK(tokenizer_decode(&t, &bad, 1, &text, &size) == -1 && !text);
    CHECK_STR(cb_error_text(), "made.bin: token 272 at 0; the vocabulary has 272");

    /* the same vocabulary in a GGUF file, spaces as it writes them */
    static const char *const special[] = { "<unk>", "<s>", "</s>" };
    used = 0;
    put("GGUF", 4);
    put_u32(3);
    put(&(uint64_t){ 0 }, 8);
    put(&(uint64_t){ 6 }, 8);
    put_text("tokenizer.ggml.model");
    put_u32(8);
    put_text("llama");
    put_text("tokenizer.ggml.bos_token_id");
    put_u32(4);
    put_u32(1);
    put_text("tokenizer.ggml.eos_token_id");
    put_u32(4);
    put_u32(2);
    for (int array = 0; array < 3; array++) {
        put_text(array == 0 ? "tokenizer.ggml.tokens" : array == 1 ? "tokenizer.ggml.scores"
                                                                   : "tokenizer.ggml.token_type");
        put_u32(9);
        put_u32(array == 0 ? 8 : array == 1 ? 6 : 5);
        put(&(uint64_t){ 3 + 256 + WORDS }, 8);
        for (int i = 0; i < 3 + 256 + WORDS; i++) {
            char byte[8], word[16] = "";
            const int k = i - 3 - 256;
            snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(i - 3) & 255);
            for (const char *p = k >= 0 ? words[k].text : ""; *p; p++)
                snprintf(word + strlen(word), sizeof word - strlen(word), "%.*s",
                         *p == ' ' ? 3 : 1, *p == ' ' ? "\xe2\x96\x81" : p);
            if (array == 0)
                put_text(i < 3 ? special[i] : k < 0 ? byte : word);
            else if (array == 1)
                put(&(float){ k < 0 ? 0 : words[k].score }, 4);
            else
                put_u32(i == 0 ? 2 : i < 3 ? 3 : k < 0 ? 6 : 1);
        }
    }
    CHECK(used < sizeof file);
    CHECK(!tokenizer_parse_gguf("made.gguf", file, used, &g));
    CHECK(g.count == t.count && g.bos == 1 && g.eos == 2 && g.unknown == 0 && g.add_bos);
    for (int i = 3; i < t.count; i++) {
        size_t n, m;
        const char *a = tokenizer_text(&t, i, &n), *b = tokenizer_text(&g, i, &m);
        if (n != m || memcmp(a, b, n))
            CHECK(i < 0);
    }
    CHECK_STR(pieces(&g, "hello", false, out), "| hel|lo|");
    check_returns(&g);
    tokenizer_free(&g);
    tokenizer_free(&t);
    tokenizer_free(NULL);
}

/* A byte-level tokenizer.json: 256 bytes, four merges, two special tokens. */
static void make_json(const char *pre, const char *merges, const char *more)
{
    int other = 256;
    used = (size_t)snprintf(
        file, sizeof file,
        "{\"added_tokens\":[{\"id\":261,\"content\":\"<s>\",\"special\":true},"
        "{\"id\":262,\"content\":\"</s>\",\"special\":true}],\"normalizer\":null,"
        "\"pre_tokenizer\":%s,\"post_processor\":{\"type\":\"TemplateProcessing\","
        "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]},"
        "\"model\":{\"type\":\"BPE\",%s\"vocab\":{",
        pre, more);
    for (int b = 0; b < 256; b++) {
        const bool itself = (b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad);
        used += (size_t)snprintf(file + used, sizeof file - used, "\"\\u%04x\":%d,",
                                 (unsigned)(itself ? b : other++), b);
    }
    used += (size_t)snprintf(file + used, sizeof file - used,
                             "\"he\":256,\"ll\":257,\"llo\":258,\"\\u0120w\":259,\"12\":260},"
                             "\"merges\":%s}}", merges);
}

static const char plain[] =
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}";
static const char merges_text[] = "[\"h e\",\"l l\",\"ll o\",\"\\u0120 w\",\"1 2\"]";
static const char merges_pairs[] =
    "[[\"h\",\"e\"],[\"l\",\"l\"],[\"ll\",\"o\"],[\"\\u0120\",\"w\"],[\"1\",\"2\"]]";

static void check_json_error(const char *pre, const char *merges, const char *want)
{
    struct tokenizer t;
    make_json(pre, merges, "");
    CHECK(tokenizer_parse_json("dir/made.json", file, used, &t) == -1);
    CHECK_STR(cb_error_text(), want);
    CHECK(!t.token && !t.text && !t.by_text && !t.merge);
}

static void test_json(void)
{
    static const char digits[] =
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
        "\"individual_digits\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"use_regex\":true}]}";
    static const char llama3[] =
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
        "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
        "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
        "\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"use_regex\":false}]}";
    const char *const pre[] = { plain, plain, digits, llama3 };
    const enum tokenizer_split split[] = { SPLIT_GPT2, SPLIT_GPT2, SPLIT_GPT2_DIGITS,
                                           SPLIT_LLAMA3 };
    struct tokenizer t;
    char out[1024];
    for (int i = 0; i < 4; i++) {
        make_json(pre[i], i ? merges_text : merges_pairs, i == 3 ? "\"ignore_merges\":true," : "");
        CHECK(!tokenizer_parse_json("dir/made.json", file, used, &t));
        CHECK(t.split == split[i] && t.count == 263 && t.bos == 261 && t.eos == 262 && t.add_bos);
        CHECK(t.whole_words == (i == 3));
        CHECK_STR(pieces(&t, "hello world", true, out), "|<s>|he|llo| w|o|r|l|d|");
        CHECK_STR(pieces(&t, "12 lll", false, out), i == 2 ? "|1|2| |ll|l|" : "|12| |ll|l|");
        CHECK_STR(pieces(&t, "<s>", false, out), "|<|s|>|");
        check_returns(&t);
        tokenizer_free(&t);
    }
    check_json_error("{\"type\":\"Whitespace\"}", merges_text,
                     "made.json: pre_tokenizer: element 0 is not known");
    check_json_error("null", merges_text, "made.json: model: neither bytes nor byte_fallback");
    check_json_error(plain, "[\"h e\",\"x\"]", "made.json: merge 1: not two texts");
    check_json_error(plain, "[\"hh e\"]", "made.json: merge 0: its left side is no token");
    check_json_error(plain, "[\"x y\"]", "made.json: merge 0: its result is no token");
    check_json_error(plain, "[7]", "made.json: merge 0: not two texts");
    check_json_error("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a+\"}}", merges_text,
                     "made.json: pre_tokenizer: a splitting pattern that is not known");

    /* running out of memory anywhere */
    const long before = data_alloc_live();
    int status = -1;
    make_json(plain, merges_text, "");
    for (long fail = 1; fail < 200 && status; fail++) {
        data_alloc_fail_at(fail);
        status = tokenizer_parse_json("made.json", file, used, &t);
        data_alloc_fail_at(0);
        CHECK(!status || data_alloc_live() == before);
    }
    CHECK(!status);
    tokenizer_free(&t);
    CHECK(data_alloc_live() == before);
}

/* Every made-up tok.bin, cut at any byte, is refused or has fewer tokens. */
static void test_cut(void)
{
    struct tokenizer t;
    make_bin();
    const size_t size = used;
    int wrong = 0;
    for (size_t n = 0; n < size; n++)
        if (!tokenizer_parse_bin("cut", file, n, &t)) {
            wrong += t.count >= 3 + 256 + WORDS;
            tokenizer_free(&t);
        }
    CHECK(wrong == 0);
    file[4 + 4] = 17; /* the first length */
    CHECK(tokenizer_parse_bin("long", file, size, &t) == -1);
    CHECK_STR(cb_error_text(), "long: byte 4: token 0 has length 17, the longest is 16");
}

/* ---- SentencePiece ---- */

static void put_varint(uint64_t v)
{
    for (; v > 0x7f; v >>= 7)
        put(&(unsigned char){ (unsigned char)(v | 0x80) }, 1);
    put(&(unsigned char){ (unsigned char)v }, 1);
}

static void put_number(int field, int64_t v)
{
    put_varint((uint64_t)field << 3);
    put_varint((uint64_t)v);
}

static void put_bytes(int field, const void *p, size_t n)
{
    put_varint((uint64_t)field << 3 | 2);
    put_varint(n);
    put(p, n);
}

enum piece_type { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

static void put_piece(const char *text, float score, enum piece_type type)
{
    const size_t n = strlen(text);
    put_varint(1 << 3 | 2);
    put_varint(2 + n + 5 + (type != NORMAL ? 2 : 0));
    put_bytes(1, text, n);
    put_varint(2 << 3 | 5);
    put(&score, sizeof score);
    if (type != NORMAL)
        put_number(3, type);
}

/* Messages of numbers: pairs of field and value, ended by 0. */
static void put_numbers(int field, const int *pairs)
{
    size_t n = 0;
    for (const int *p = pairs; *p; p += 2)
        n += (size_t)(*p < 16 ? 1 : 2) + (p[1] < 0 ? 10 : 1);
    put_varint((uint64_t)field << 3 | 2);
    put_varint(n);
    for (const int *p = pairs; *p; p += 2)
        put_number(*p, p[1]);
}

/* Three special pieces, bytes if asked for, the words of the other formats, one of the user. */
static void make_model(const int *trainer, const int *normalizer, bool bytes)
{
    used = 0;
    put_piece("<unk>", 0, UNKNOWN);
    put_piece("<s>", 0, CONTROL);
    put_piece("</s>", 0, CONTROL);
    for (unsigned b = 0; bytes && b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        put_piece(text, 0, BYTE);
    }
    for (int i = 0; i < WORDS; i++) {
        char word[16] = "";
        for (const char *p = words[i].text; *p; p++)
            snprintf(word + strlen(word), sizeof word - strlen(word), "%.*s", *p == ' ' ? 3 : 1,
                     *p == ' ' ? "\xe2\x96\x81" : p);
        put_piece(word, words[i].score, NORMAL);
    }
    put_piece("<me>", 0, USER);
    put_numbers(2, trainer);
    put_numbers(3, normalizer);
    put_bytes(5, "skipped", 7);
}

#define NONE (const int[]){ 0 }
#define JOINED (const int[]){ 3, 2, 35, 1, 0 }
#define AS_IT_IS (const int[]){ 3, 1, 4, 0, 5, 1, 0 }

static void check_model_error(const char *want)
{
    struct tokenizer t;
    CHECK(used < sizeof file && tokenizer_parse_sentencepiece("m.model", file, used, &t) == -1);
    CHECK_STR(cb_error_text(), want);
    CHECK(!t.token && !t.text && !t.by_text);
}

/* Segmentations of the same vocabularies by hand; the reader as a whole was compared with the
 * library of the format on models that it trained. */
static void test_sentencepiece(void)
{
    struct tokenizer t;
    char out[1024];
    make_model(JOINED, AS_IT_IS, true);
    CHECK(!tokenizer_parse_sentencepiece("m.model", file, used, &t));
    CHECK(t.count == 3 + 256 + WORDS + 1 && t.unknown == 0 && t.bos == 1 && t.eos == 2);
    CHECK_STR(pieces(&t, "hello", false, out), "| hel|lo|");
    CHECK_STR(pieces(&t, "lolo", true, out), "|<s>| |lo|lo|");
    CHECK_STR(pieces(&t, "he<me>lo", false, out), "| |he|<me>|lo|"); /* he goes before " h" */
    CHECK_STR(pieces(&t, "x<m", false, out), "| |x|<|m|"); /* bytes */
    CHECK_STR(pieces(&t, " \xe2\x96\x81h", false, out), "| | | h|");
    CHECK(returns(&t, "hello  \xff there <me> ", 21));
    tokenizer_free(&t);

    /* spaces: runs and ends go by default, a space stands in front */
    make_model(JOINED, NONE, true);
    CHECK(!tokenizer_parse_sentencepiece("m.model", file, used, &t));
    CHECK_STR(pieces(&t, "  hello   h ", false, out), "| hel|lo| h|");
    CHECK_STR(pieces(&t, "   ", false, out), "|");
    tokenizer_free(&t);
    make_model(JOINED, (const int[]){ 3, 0, 4, 0, 0 }, true);
    CHECK(!tokenizer_parse_sentencepiece("m.model", file, used, &t));
    CHECK_STR(pieces(&t, "hello  h", false, out), "|hel|lo| | h|");
    tokenizer_free(&t);

    /* unigram: " hel" + "lo" = -1.5 beats " h" + "el" + "lo" = -8; an unknown is one token */
    make_model(NONE, AS_IT_IS, false);
    CHECK(!tokenizer_parse_sentencepiece("m.model", file, used, &t));
    CHECK_STR(pieces(&t, "hello", true, out), "|<s>| hel|lo|");
    CHECK_STR(pieces(&t, "loel", false, out), "| |lo|el|"); /* -12: e and l apart are -28 */
    CHECK_STR(pieces(&t, "xyzlo\xc3\xa9", false, out), "| |<unk>|lo|\xc3\xa9|");
    CHECK_STR(pieces(&t, "lo<me>", false, out), "| |lo|<me>|");
    tokenizer_free(&t);

    /* what cannot be */
    make_model((const int[]){ 3, 3, 0 }, NONE, false);
    check_model_error("m.model: trainer_spec: model type 3 is neither unigram nor BPE");
    make_model((const int[]){ 24, 1, 0 }, NONE, false);
    check_model_error("m.model: trainer_spec: spaces after words are not supported");
    make_model((const int[]){ 35, 1, 0 }, NONE, false);
    check_model_error("m.model: byte fallback, but no piece for byte 0x00");
    make_model(NONE, NONE, true);
    check_model_error("m.model: piece 3 is a byte, but there is no byte fallback");
    make_model((const int[]){ 3, 2, 0 }, NONE, false);
    put_piece("a", 0, UNUSED);
    check_model_error("m.model: piece 17: unused pieces are not supported");
    make_model(NONE, NONE, false);
    put_piece("lo", 0, NORMAL);
    check_model_error("m.model: piece 17 has the text of piece 8");
    make_model(NONE, NONE, false);
    put_piece("?", 0, UNKNOWN);
    check_model_error("m.model: piece 17 is unknown, as piece 0 is");
    make_model(NONE, NONE, false);
    put_piece("", 0, NORMAL);
    check_model_error("m.model: piece 17 has 0 bytes, not 1 to 1024");
    make_model(NONE, NONE, false);
    put_piece("a", INFINITY, NORMAL);
    check_model_error("m.model: piece 17 has no finite score");
    make_model(NONE, NONE, false);
    put_piece("a", 0, 9);
    check_model_error("m.model: piece 17 has type 9");
    used = 0;
    put_bytes(3, "\x12\x01x", 3);
    check_model_error("m.model: normalizer_spec: a table of characters, which is not supported");
    used = 0;
    put_number(1, 5);
    check_model_error("m.model: byte 0: field 1 has the wire type 0, not 2");
    used = 0;
    put("\x0b", 1);
    check_model_error("m.model: byte 0: no field of a protocol buffer");
    used = 0;
    put("\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11);
    check_model_error("m.model: byte 1: a number of more than 64 bits");
    used = 0;
    put("\x0a\x7f", 2);
    check_model_error("m.model: byte 0: field 1 goes beyond its message");
    used = 0;
    check_model_error("m.model: no piece is text");
}

/* Every beginning of a file, and files with bytes changed: refused, or whole enough to use. */
static void test_broken_models(void)
{
    static char whole[sizeof file];
    struct tokenizer t;
    unsigned state = 3;
    char out[1024];
    int taken = 0;
    make_model(JOINED, AS_IT_IS, true);
    const size_t size = used;
    memcpy(whole, file, size);
    for (size_t n = 0; n < size; n++)
        if (!tokenizer_parse_sentencepiece("cut", file, n, &t)) {
            pieces(&t, "hello \xff", true, out);
            tokenizer_free(&t);
        }
    for (int round = 0; round < 20000; round++) {
        memcpy(file, whole, size);
        for (int i = 0; i < 1 + round % 3; i++) {
            state = state * 1664525 + 1013904223;
            file[(state >> 8) % size] = (char)(state >> 3);
        }
        if (tokenizer_parse_sentencepiece("broken", file, size, &t))
            continue;
        taken++;
        pieces(&t, "hello <me> \xff", true, out);
        tokenizer_free(&t);
    }
    CHECK(taken > 100);
    CHECK(data_alloc_live() == 0);
}

static void test_published(void)
{
    char path[DATA_PATH], out[1024];
    struct tokenizer t;
    if (access(data_shared("llm/tok512.bin", path), R_OK)) {
        SKIP("test_tokenizer: tok512: the test files are not here");
        return;
    }
    CHECK(!tokenizer_load(path, &t));
    CHECK(t.count == 512);
    CHECK_STR(pieces(&t, "Once upon a time", true, out), "|\n<s>\n| Once| upon| a| time|");
    check_returns(&t);

    /* the story decodes to English, and its text gives its tokens again */
    FILE *f = fopen(data_shared("llm/stories260K_greedy257.u16", path), "rb");
    unsigned char raw[2 * 257];
    int token[257], count, *again;
    CHECK(f && fread(raw, 1, sizeof raw, f) == sizeof raw);
    if (f)
        fclose(f);
    for (int i = 0; i < 257; i++)
        token[i] = raw[2 * i] | raw[2 * i + 1] << 8;
    char *text;
    size_t size;
    CHECK(!tokenizer_decode(&t, token, 257, &text, &size));
    const char start[] = "Once upon a time, there was a little girl named Lily.";
    CHECK(size > sizeof start && !strncmp(text, start, sizeof start - 1));
    int odd = 0;
    for (size_t i = 0; i < size; i++)
        odd += !((text[i] >= ' ' && text[i] <= '~') || text[i] == '\n');
    CHECK(odd == 0);
    CHECK(!tokenizer_encode(&t, text, size, true, &again, &count));
    CHECK(count == 257 && !memcmp(again, token, sizeof token));
    data_free(again);
    data_free(text);

    /* a long text, at once */
    if (!data_read(data_shared("text/wikitext2_raw_test_joined.txt.gz", path), &text, &size)) {
        CHECK(returns(&t, text, size));
        data_free(text);
    }
    tokenizer_free(&t);
}

int main(void)
{
    test_split();
    test_scores();
    test_json();
    test_cut();
    test_sentencepiece();
    test_broken_models();
    test_published();
    CHECK(data_alloc_live() == 0);
    return TEST_END();
}
