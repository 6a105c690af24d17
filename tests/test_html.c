/* test_html.c - pages: nothing of a file becomes markup, links resolve, bytes repeat. */
#include "../suites/html.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../suites/html_part.h"
#include "../suites/report.h"
#include "../suites/results.h"
#include "test.h"

static char top[2000];

/* What a function writes; to be freed. */
#define WRITTEN(text, call)                              \
    do {                                                 \
        size_t written_n;                                \
        FILE *out = open_memstream(&(text), &written_n); \
        call;                                            \
        fclose(out);                                     \
    } while (0)

static void texts(void)
{
    static const struct {
        const char *in, *out;
    } each[] = {
        { "a & b", "a &amp; b" },
        { "<script>'\"", "&lt;script&gt;&#39;&quot;" },
        { "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80" },
        { "\xff|\xc3|\xc0\xaf|\xed\xa0\x80|\x01|\x7f",
          "\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|"
          "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd" },
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        char *text;
        WRITTEN(text, html_text(out, each[i].in));
        CHECK_STR(text, each[i].out);
        free(text);
    }
    char *text;
    WRITTEN(text, html_verdict(out, "NOT_REPRODUCED")); /* the word stands beside sign and colour */
    CHECK(strstr(text, "aria-hidden") && strstr(text, "</span> NOT_REPRODUCED</span>"));
    free(text);
    WRITTEN(text, html_verdict(out, "<b>"));
    CHECK_STR(text, "&lt;b&gt;");
    free(text);
}

static void markdown(void)
{
    static const char page[] = "# title\n\nIn <b>the</b> paper\n\n## hot\n\n**cap & tion**\n\n"
                               "| a | b\\|c |\n| --- | ---: |\n| x<y | 1.5 |\n| `z` |  |\n\n"
                               "Most: `case<1>`. One ` alone\n\n## cold\n\n| broken\n";
    char *text;
    WRITTEN(text, CHECK(html_markdown(out, page, 0) == 0));
    CHECK_STR(text, "<p>In &lt;b&gt;the&lt;/b&gt; paper</p>\n");
    free(text);
    WRITTEN(text, CHECK(html_markdown(out, page, 1) == 0));
    CHECK(strstr(text, "<caption>cap &amp; tion</caption>"));
    CHECK(strstr(text, "<th scope=\"col\" class=\"r\">b|c</th>"));
    CHECK(strstr(text, "<th scope=\"row\">x&lt;y</th><td class=\"r\">1.5</td>"));
    CHECK(strstr(text, "<p>Most: <code>case&lt;1&gt;</code>. One ` alone</p>"));
    free(text);
    WRITTEN(text, CHECK(html_markdown(out, page, 2) == 0));
    CHECK(strstr(text, "broken"));
    free(text);
    WRITTEN(text, CHECK(html_markdown(out, page, 3) == 0));
    CHECK_STR(text, "");
    free(text);
}

static void svg(void)
{
    static const char hostile[] =
        "<?xml version='1.0'?><!DOCTYPE svg><!-- c --><svg width=\"10\" height=\"5\""
        " viewBox='0 0 10 5' onload=\"alert(1)\"><title>T</title><script>alert(2)</script>"
        "<foreignObject><p>x</p><foreignObject/></foreignObject>"
        "<g id=\"a\" fill='url(#b)' style='x'><path id='b' d='M0,0' onclick='y'/>"
        "<use xlink:href='#b'/><use href='http://x/'/><image xlink:href='data:image/png;base64,A'/>"
        "<image href='data:text/html,x'/><text x='1' font-family=\"a&quot;b\">1 &lt; 2 & 3</text>"
        "<a href='javascript:1'><text>in</text></a></g></svg>";
    char *text;
    WRITTEN(text, CHECK(html_svg(out, hostile, "p-", "t<", "d\"") == 0));
    static const char *const absent[] = { "script",     "alert",     "onload", "onclick", "foreign",
                                          "http:",      "text/html", "style=", "<?",      "<!",
                                          "javascript", "<a",        ">T<",    "width=\"10\"" };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        if (strstr(text, absent[i]))
            printf("'%s' is in %s\n", absent[i], text);
        CHECK(!strstr(text, absent[i]));
    }
    static const char *const present[] = {
        "aria-label=\"t&lt;\"", "aria-describedby=\"p-desc\"", "<desc id=\"p-desc\">d&quot;</desc>",
        "viewBox=\"0 0 10 5\"", "<g id=\"p-a\" fill=\"url(#p-b)\">",
        "<path id=\"p-b\" d=\"M0,0\"/>", "<use href=\"#p-b\"/>", "href=\"data:image/png;base64,A\"",
        "1 &lt; 2 &amp; 3",
        "font-family=\"a&quot;b\"", "</g></svg>" };
    for (size_t i = 0; i < sizeof present / sizeof *present; i++) {
        if (!strstr(text, present[i]))
            printf("'%s' is not in %s\n", present[i], text);
        CHECK(strstr(text, present[i]) != NULL);
    }
    free(text);
    /* cut off at every byte: ends, and closes what it opened */
    for (size_t n = 0; n < sizeof hostile; n++) {
        char *cut = strndup(hostile, n);
        int opened = 0;
        WRITTEN(text, html_svg(out, cut, "p-", "t", "d"));
        for (const char *s = text; (s = strchr(s, '<')); s++) {
            const char *end = strchr(s, '>');
            CHECK(end != NULL);
            opened += !end || end[-1] == '/' ? 0 : s[1] == '/' ? -1 : 1;
        }
        CHECK(opened == 0);
        free(text);
        free(cut);
    }
    WRITTEN(text, CHECK(html_svg(out, "not a picture", "p-", "t", "d") == -1));
    free(text);
}

/* ---- whole pages ---- */

static int shell(const char *format, const char *a, const char *b)
{
    char command[9000];
    snprintf(command, sizeof command, format, a, b);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Every href and src leads to a file beside the page or to an id in it, every id is there
 * once, and no address of another place stands in the page. */
static void links(const char *folder, const char *name)
{
    char path[4000], id[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *page = html_read(path);
    CHECK(page != NULL);
    if (!page)
        return;
    int count = 0, bad = 0, twice = 0;
    static const char *const attribute[] = { " href=\"", " src=\"" };
    for (int k = 0; k < 2; k++)
        for (const char *s = page; (s = strstr(s, attribute[k]));) {
            s += strlen(attribute[k]);
            int n = (int)strcspn(s, "\"");
            count++;
            if (!strncmp(s, "data:", 5))
                continue;
            if (*s == '#') {
                snprintf(id, sizeof id, " id=\"%.*s\"", n - 1, s + 1);
                if (strstr(page, id))
                    continue;
            } else {
                snprintf(path, sizeof path, "%s/%.*s", folder, n, s);
                if (*s != '/' && !strncmp(s, "..", 2) == 0 && !access(path, R_OK))
                    continue;
            }
            printf("%s: %.*s leads nowhere\n", name, n, s);
            bad++;
        }
    for (const char *s = page; (s = strstr(s, " id=\"")); s++) {
        snprintf(id, sizeof id, "%.*s", (int)strcspn(s + 5, "\"") + 6, s);
        const char *again = strstr(s + 1, id);
        if (again) {
            printf("%s: %s stands twice\n", name, id);
            twice++;
        }
    }
    CHECK(count > 1);
    CHECK(bad == 0);
    CHECK(twice == 0);
    CHECK(!strstr(page, "http://") && !strstr(page, "https://") && !strstr(page, "@import"));
    CHECK(strstr(page, "Content-Security-Policy") && strstr(page, "default-src 'none'"));
    free(page);
}

static void tidy(const char *folder, const char *name)
{
    if (shell("command -v tidy > /dev/null%s%s", "", "")) {
        SKIP("tidy: not installed");
        return;
    }
    CHECK(shell("tidy -qe %s/%s", folder, name) == 0);
}

static void pages(void)
{
    char made[] = "/tmp/claimbench_html_XXXXXX", a[100], b[100], narrow[2200], wide[2200];
    char home[2100], *page;
    CHECK(mkdtemp(made) != NULL);
    snprintf(home, sizeof home, "%s/tests/data/report", top);
    snprintf(narrow, sizeof narrow, "%s/narrow", home);
    snprintf(wide, sizeof wide, "%s/wide", home);
    snprintf(a, sizeof a, "%s/a", made);
    snprintf(b, sizeof b, "%s/b", made);
    const char *both[] = { narrow, wide };
    /* without gnuplot: the numbers stand for the pictures */
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "", 1);
    setenv("CLAIMBENCH_HOME", home, 1);
    int status = html_write(both, 2, "", a);
    setenv("PATH", path, 1);
    if (status)
        printf("%s\n", cb_error_text());
    CHECK(status == 0);
    static const char *const name[] = { "index.html", "x_made_up.html", "x_made_up_2.html" };
    for (int i = 0; i < 3; i++) {
        links(a, name[i]);
        tidy(a, name[i]);
    }
    char file[200];
    snprintf(file, sizeof file, "%s/x_made_up.html", a);
    page = html_read(file);
    CHECK(page && !strstr(page, "<svg") && strstr(page, "<figure>"));
    CHECK(page && strstr(page, "x_made_up/tables/gemv.tsv") &&
          strstr(page, "--paper made_up --profile reproduce"));
    free(page);
    /* again over the same folder, and beside it: the same bytes, no figure of the last left */
    CHECK(shell("touch %s/x_made_up/figures/old%s.tsv", a, "") == 0);
    setenv("PATH", "", 1);
    CHECK(html_write(both, 2, "", a) == 0);
    CHECK(html_write(both, 2, "", b) == 0);
    setenv("PATH", path, 1);
    CHECK(shell("diff -r %s %s", a, b) == 0);
    if (report_can_draw()) {
        setenv("CLAIMBENCH_HOME", top, 1);
        CHECK(html_write(both, 2, "", a) == 0);
        CHECK(html_write(both, 2, "", b) == 0);
        CHECK(shell("diff -r %s %s", a, b) == 0);
        page = html_read(file);
        CHECK(page && strstr(page, "<svg class=\"figure\" role=\"img\" viewBox="));
        free(page);
        for (int i = 0; i < 3; i++) {
            links(a, name[i]);
            tidy(a, name[i]);
        }
    } else {
        SKIP("figures of pages: gnuplot is not installed");
    }
    /* what is no result, and no result at all */
    const char *none = made;
    CHECK(html_write(&none, 1, "", b) == -1);
    CHECK(html_write(NULL, 0, made, b) == -1);
    CHECK(strstr(cb_error_text(), "no recorded result") != NULL);
    CHECK(shell("rm -r %s%s", made, "") == 0);
    free(path);
}

/* Every text of a document replaced by markup: none of it reaches the page as such. */
static void spoil(json_t *value, bool inside)
{
    const char *key;
    size_t i;
    json_t *one;
    static const char *const kept[] = { "schema", "schema_version", "id", "experiment", "cache",
                                        "regime", "kernel", "status", "role", "unit", "key",
                                        "figure", "metric", "baseline", "paper", "details",
                                        "op", "verdict", "stop", "samples_file", NULL };
    if (json_is_object(value))
        json_object_foreach(value, key, one)
        {
            bool keep = false;
            for (int k = 0; kept[k]; k++)
                keep = keep || !strcmp(key, kept[k]);
            if (json_is_string(one) && !keep && inside)
                json_string_set(one, "</td><script>alert(1)</script><img src=x onerror=\"y\">&");
            else
                spoil(one, true);
        }
    else
        json_array_foreach(value, i, one) spoil(one, inside);
}

static void hostile_result(void)
{
    char made[] = "/tmp/claimbench_html_XXXXXX", in[100], out[100], path[4300], file[200];
    CHECK(mkdtemp(made) != NULL);
    snprintf(in, sizeof in, "%s/in", made);
    snprintf(out, sizeof out, "%s/out", made);
    CHECK(shell("cp -r %s/tests/data/report/narrow %s", top, in) == 0);
    snprintf(path, sizeof path, "%s/result.json", in);
    json_t *doc = json_load_file(path, 0, NULL);
    CHECK(doc != NULL);
    json_object_set_new(
        doc, "claims",
        json_pack("[{s:s,s:s,s:s,s:f,s:s,s:s,s:s,s:s,s:s,s:[s,s],s:f,s:[f,f]}]", "id", "<b>",
                  "claim", "c", "metric", "figure:\"><b>/x", "reported", 1.5, "unit", "<i>",
                  "gpu_reported",
                  "g", "gpu_used", "g", "verdict", "<u>", "reason", "r", "flags", "<s>", "f",
                  "measured", 2.0, "ci95", 1.0, 3.0));
    spoil(doc, false);
    CHECK(json_dump_file(doc, path, 0) == 0);
    json_decref(doc);
    setenv("CLAIMBENCH_HOME", top, 1); /* where made_up has no claims.json: those recorded count */
    const char *one = in;
    int status = html_write(&one, 1, "", out);
    if (status)
        printf("%s\n", cb_error_text());
    CHECK(status == 0);
    DIR *d = opendir(out);
    int pages_seen = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strstr(e->d_name, ".html"))
            continue;
        snprintf(file, sizeof file, "%s/%.80s", out, e->d_name);
        char *page = html_read(file);
        CHECK(page && strstr(page, "&lt;script&gt;alert(1)"));
        CHECK(page && !strstr(page, "<script>alert") && !strstr(page, "<img") &&
              !strstr(page, "<b>") && !strstr(page, "<i>") && !strstr(page, "<u>") &&
              !strstr(page, "<s>"));
        free(page);
        links(out, e->d_name);
        tidy(out, e->d_name);
        pages_seen++;
    }
    CHECK(pages_seen == 2);
    if (d)
        closedir(d);
    CHECK(shell("rm -r %s%s", made, "") == 0);
}

int main(void)
{
    if (!getcwd(top, sizeof top))
        return 1;
    texts();
    markdown();
    svg();
    pages();
    hostile_result();
    return TEST_END();
}
