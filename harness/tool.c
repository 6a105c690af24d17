/* tool.c - see tool.h. */
#define _GNU_SOURCE /* pipe2 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"

static bool runnable(char *path, int size, const char *folder, int length_of, const char *file)
{
    const int used = snprintf(path, (size_t)size, "%.*s%s%s", length_of, folder,
                              length_of ? "/" : "", file);
    return used < size && !access(path, X_OK);
}

int cb_tool_find(const char *variable, const char *file, char *path, int size)
{
    static const char *const homes[] = { "CUDA_HOME", "CUDA_PATH" };
    const char *named = getenv(variable), *list = getenv("PATH");
    if (named && *named) {
        if (runnable(path, size, "", 0, named))
            return 0;
        return cb_error("%s: %s cannot be run", variable, named);
    }
    while (list && *list) {
        const int used = (int)strcspn(list, ":");
        if (used && runnable(path, size, list, used, file))
            return 0;
        list += used;
        list += *list == ':';
    }
    for (int i = 0; i < 2; i++) {
        const char *home = getenv(homes[i]);
        char bin[512];
        if (home && snprintf(bin, sizeof bin, "%s/bin", home) < (int)sizeof bin &&
            runnable(path, size, bin, (int)strlen(bin), file))
            return 0;
    }
    if (runnable(path, size, "/usr/local/cuda/bin", 19, file))
        return 0;
    return cb_error("%s is not installed", file);
}

/* All that comes from fd, ended by 0; NULL without memory. */
static char *read_all(int fd)
{
    size_t used = 0, room = 1 << 20;
    char *text = malloc(room + 1);
    while (text) {
        const ssize_t n = read(fd, text + used, room - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += (size_t)n;
        if (used == room) {
            char *more = realloc(text, (room *= 2) + 1);
            if (!more) {
                free(text);
                return NULL;
            }
            text = more;
        }
    }
    if (text)
        text[used] = 0;
    return text;
}

int cb_tool_run(char *const *argv, char **text)
{
    extern char **environ;
    posix_spawn_file_actions_t actions;
    int ends[2], code = -1;
    pid_t child;
    *text = NULL;
    if (pipe2(ends, O_CLOEXEC))
        return cb_error("%s: no pipe", argv[0]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    /* cuobjdump warns of each part of a program that lacks a function */
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const int failed = posix_spawn(&child, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (!failed) {
        *text = read_all(ends[0]);
        while (waitpid(child, &code, 0) < 0 && errno == EINTR)
            continue;
    }
    close(ends[0]);
    if (failed || code || !*text) {
        free(*text);
        *text = NULL;
        return cb_error("%s: failed", argv[0]);
    }
    return 0;
}
