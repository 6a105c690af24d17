/*
 * test_relations.c - graphs of relations: N-Triples, edge lists, broken files, inverses, the
 * generator; the AIFB file where it is there.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../suites/data/alloc.h"
#include "../suites/data/relations.h"
#include "../suites/data/shared.h"
#include "test.h"

static bool edge(const struct relations *r, int i, int relation, int src, int dst)
{
    return i >= r->start[relation] && i < r->start[relation + 1] && r->src[i] == src && r->dst[i] == dst;
}

static const char triples[] =
    "# a comment\n"
    "<a> <likes> <b> .\n"
    "<a> <likes> \"a \\\"quoted\\\" . text\"@en .\n"
    "\n"
    "_:x <knows> <a>. # another\n"
    "<b> <likes> \"5\"^^<int> .\n"
    "<a>\t<likes>\t<b>\t.\n"; /* twice */

static void try_ntriples(void)
{
    struct relations r;
    CHECK(!relations_ntriples_parse("t", triples, sizeof triples - 1, &r));
    CHECK(r.nodes == 5 && r.relations == 2 && r.edges == 4 && r.start[1] == 3);
    CHECK(edge(&r, 0, 0, 0, 1) && edge(&r, 1, 0, 0, 2) && edge(&r, 2, 0, 1, 4) && edge(&r, 3, 1, 3, 0));
    struct relations both;
    CHECK(!relations_with_inverse(&r, &both));
    CHECK(both.relations == 5 && both.edges == 2 * 4 + 5);
    CHECK(edge(&both, 3, 1, 3, 0) && both.start[3] - both.start[2] == 3 && edge(&both, both.start[3], 3, 0, 3));
    bool loops = true;
    for (int i = 0; i < 5; i++)
        loops &= edge(&both, both.start[4] + i, 4, i, i);
    CHECK(loops);
    relations_free(&both);
    relations_free(&r);
}

static void try_edges(void)
{
    static const char two[] = "# SNAP\n0\t3\n% other\n2 1\n0 3\n", three[] = "5 1 2\n0 0 0\n";
    struct relations r;
    CHECK(!relations_edges_parse("t", two, sizeof two - 1, &r));
    CHECK(r.nodes == 4 && r.relations == 1 && r.edges == 2 && edge(&r, 0, 0, 2, 1) && edge(&r, 1, 0, 0, 3));
    relations_free(&r);
    CHECK(!relations_edges_parse("t", three, sizeof three - 1, &r));
    CHECK(r.nodes == 6 && r.relations == 3 && r.edges == 2 && r.start[1] == 1 && r.start[2] == 1 && edge(&r, 1, 2, 5, 1));
    relations_free(&r);
}

static void try_broken(void)
{
    static const struct {
        int (*parse)(const char *, const char *, size_t, struct relations *);
        const char *text, *reason;
    } bad[] = {
        { relations_ntriples_parse, "", "no triples" },
        { relations_ntriples_parse, "<a> <b> <c>\n", "t:1: the end of the line where the full stop" },
        { relations_ntriples_parse, "\n<a> <b <c .\n", "t:2: predicate: '<b' is no IRI" },
        { relations_ntriples_parse, "<a> _:p <c> .\n", "t:1: predicate: not an IRI" },
        { relations_ntriples_parse, "\"lit\" <b> <c> .\n", "t:1: subject" },
        { relations_ntriples_parse, "<a> <b> \"open\\\" .\n", "t:1: object" },
        { relations_ntriples_parse, "<a> <b> \"x\"^^int .\n", "t:1: object" },
        { relations_ntriples_parse, "<a> <b> <c> . <d>\n", "after the full stop" },
        { relations_edges_parse, "# nothing\n", "no edges" },
        { relations_edges_parse, "1 2\n3 x\n", "t:2: target: 'x' is not a whole number" },
        { relations_edges_parse, "1 -2\n", "t:1: target: -2 is not in" },
        { relations_edges_parse, "1 99999999999\n", "t:1: target" },
        { relations_edges_parse, "1 2 70000\n", "t:1: relation: 70000" },
        { relations_edges_parse, "1 2\n1 2 3\n", "t:2: 3 columns after lines of 2" },
        { relations_edges_parse, "1 2 3 4\n", "t:1: more than three" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct relations r;
        CHECK(bad[i].parse("t", bad[i].text, strlen(bad[i].text), &r) == -1 && !r.src);
        CHECK(strstr(cb_error_text(), bad[i].reason));
        if (!strstr(cb_error_text(), bad[i].reason))
            printf("  case %zu: %s\n", i, cb_error_text());
    }
}

static void try_memory(void)
{
    const long live = data_alloc_live();
    for (long n = 1; n < 14; n++) {
        struct relations r, both;
        data_alloc_fail_at(n);
        if (!relations_ntriples_parse("t", triples, sizeof triples - 1, &r)) {
            if (!relations_with_inverse(&r, &both))
                relations_free(&both);
        }
        relations_free(&r);
        CHECK(data_alloc_live() == live);
    }
    data_alloc_fail_at(0);
}

static void try_generator(void)
{
    struct relations a, b;
    const char *spec = "gen:relations,nodes=500,edges=4000,relations=7,seed=3";
    CHECK(!relations_load(spec, &a) && !relations_load(spec, &b));
    CHECK(a.nodes == 500 && a.edges == 4000 && a.relations == 7 && !strcmp(a.source, "generated"));
    CHECK(!memcmp(a.src, b.src, 4000 * sizeof *a.src) && !memcmp(a.dst, b.dst, 4000 * sizeof *a.dst));
    for (int k = 1; k < 7; k++)
        CHECK(a.start[k + 1] - a.start[k] <= a.start[k] - a.start[k - 1] + 1); /* Zipf */
    relations_free(&a);
    relations_free(&b);
    CHECK(!relations_load("mutag", &a) && a.nodes == 23644 && a.edges == 74227 && a.relations == 23);
    CHECK(!relations_with_inverse(&a, &b) && b.edges == 172098 && b.relations == 47);
    relations_free(&a);
    relations_free(&b);
    CHECK(!relations_load("wordnet", &a) && a.start[1] == 89089 && a.start[3] - a.start[2] == 74717 && a.edges == 377592);
    /* uneven targets: the fullest node of the largest relation has many edges */
    int most = 0, run = 0;
    for (int i = 1; i < a.start[1]; i++) {
        run = a.dst[i] == a.dst[i - 1] ? run + 1 : 0;
        most = run > most ? run : most;
    }
    CHECK(most > 20);
    relations_free(&a);
    CHECK(relations_load("gen:relations,nodes=3,edges=50,relations=2", &a) == -1 && strstr(cb_error_text(), "over half"));
    CHECK(relations_load("gen:relations,nodes=x", &a) == -1 && strstr(cb_error_text(), "nodes is not in"));
    CHECK(relations_load("gen:relations,edges=3,relations=9", &a) == -1 && strstr(cb_error_text(), "fewer edges"));
    CHECK(relations_load("gen:other", &a) == -1 && strstr(cb_error_text(), "the family is"));
    CHECK(relations_load("graph.txt", &a) == -1 && strstr(cb_error_text(), "would have to end in"));
}

static void try_real(void)
{
    char path[DATA_PATH];
    struct relations r;
    if (!data_find("relational", "aifb_stripped.nt.gz", path)) {
        SKIP("relations aifb: the file is not here");
        return;
    }
    CHECK(!relations_load(path, &r));
    int most = 0;
    for (int k = 0; k < r.relations; k++)
        most = r.start[k + 1] - r.start[k] > most ? r.start[k + 1] - r.start[k] : most;
    CHECK(r.nodes == 8285 && r.edges == 29043 && r.relations == 45 && most == 4163);
    relations_free(&r);
}

int main(void)
{
    try_ntriples();
    try_edges();
    try_broken();
    try_memory();
    try_generator();
    try_real();
    return TEST_END();
}
