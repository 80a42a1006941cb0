/* Counts the calls by which a process changes files below a folder, and makes one of them fail or the last.
 *
 * Loaded before the C library (LD_PRELOAD), so that it sees the calls of Python and of compiled libraries alike. Before
 * faults_arm() it does nothing. Nothing here allocates memory: a call may come from anywhere. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL_BEFORE, KILL_AFTER, KILL_WITHIN, FULL, FAILING, READ_ONLY, SHORT };
enum { WRITES, CREATES, REMOVES, SYNCS };

static char folder[4096];
static size_t length;
static int mode = COUNT;
static long last = -1;
long faults_seen;

void faults_arm(const char *below, int how, long which) {
    length = strlen(below);
    memcpy(folder, below, length + 1);
    mode = how;
    last = which;
    faults_seen = 0;
}


static int below(const char *path) { return length && strncmp(path, folder, length) == 0; }

static int file_below(int file) {
    char link[64], path[4096];
    if (!length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return below(path);
}

static int path_below(int directory, const char *path) {
    if (!length || !path) return 0;
    if (path[0] == '/') return below(path);
    if (directory != AT_FDCWD) return file_below(directory);
    char here[4096];
    return getcwd(here, sizeof here) && below(here);
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Says whether a call is to fail, with errno set; ends the process where it is to end before the call. */
static int fails(int kind, int *then) {
    long number = __atomic_add_fetch(&faults_seen, 1, __ATOMIC_SEQ_CST);
    *then = 0;
    if (last < 0 || number < last) return 0;
    if (number > last && mode != FULL && mode != READ_ONLY) return 0;
    switch (mode) {
    case KILL_BEFORE: end();
    case KILL_AFTER:
    case KILL_WITHIN:
    case SHORT: *then = mode; return 0;
    case FULL: errno = ENOSPC; return kind == WRITES || kind == CREATES;
    case FAILING: errno = EIO; return 1;
    case READ_ONLY: errno = EROFS; return kind != SYNCS;
    }
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CALL(kind, inside, call)          \
    do {                                  \
        if (!(inside)) return call;       \
        int then;                         \
        if (fails(kind, &then)) return -1;\
        __auto_type result = call;        \
        if (then == KILL_AFTER || then == KILL_WITHIN) end(); \
        return result;                    \
    } while (0)

#define WRITE(inside, call, size, half)   \
    do {                                  \
        if (!(inside)) return call;       \
        int then;                         \
        if (fails(WRITES, &then)) return -1; \
        if ((then == SHORT || then == KILL_WITHIN) && size > 1) { \
            ssize_t result = half;        \
            if (then == KILL_WITHIN) end(); \
            return result;                \
        }                                 \
        ssize_t result = call;            \
        if (then == KILL_AFTER || then == KILL_WITHIN) end(); \
        return result;                    \
    } while (0)

ssize_t write(int file, const void *data, size_t size) {
    WRITE(file_below(file), REAL(write)(file, data, size), size, REAL(write)(file, data, size / 2));
}
ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    WRITE(file_below(file), REAL(pwrite)(file, data, size, at), size, REAL(pwrite)(file, data, size / 2, at));
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    WRITE(file_below(file), REAL(pwrite64)(file, data, size, at), size, REAL(pwrite64)(file, data, size / 2, at));
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    CALL(WRITES, file_below(file), REAL(writev)(file, parts, count));
}
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    CALL(WRITES, file_below(to), ((ssize_t(*)(int, int, off_t *, size_t))dlsym(RTLD_NEXT, "sendfile"))(to, from, at, size));
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
    CALL(WRITES, file_below(to), ((ssize_t(*)(int, int, off64_t *, size_t))dlsym(RTLD_NEXT, "sendfile64"))(to, from, at, size));
}
ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags) {
    CALL(WRITES, file_below(to), REAL(copy_file_range)(from, in, to, out, size, flags));
}
int ftruncate(int file, off_t size) { CALL(WRITES, file_below(file), REAL(ftruncate)(file, size)); }
int ftruncate64(int file, off64_t size) { CALL(WRITES, file_below(file), REAL(ftruncate64)(file, size)); }
int fsync(int file) { CALL(SYNCS, file_below(file), REAL(fsync)(file)); }
int fdatasync(int file) { CALL(SYNCS, file_below(file), REAL(fdatasync)(file)); }
int rename(const char *old, const char *new) { CALL(CREATES, path_below(AT_FDCWD, new), REAL(rename)(old, new)); }
int renameat(int a, const char *old, int b, const char *new) {
    CALL(CREATES, path_below(b, new), REAL(renameat)(a, old, b, new));
}
int renameat2(int a, const char *old, int b, const char *new, unsigned flags) {
    CALL(CREATES, path_below(b, new), REAL(renameat2)(a, old, b, new, flags));
}
int mkdir(const char *path, mode_t rights) { CALL(CREATES, path_below(AT_FDCWD, path), REAL(mkdir)(path, rights)); }
int mkdirat(int at, const char *path, mode_t rights) { CALL(CREATES, path_below(at, path), REAL(mkdirat)(at, path, rights)); }
int unlink(const char *path) { CALL(REMOVES, path_below(AT_FDCWD, path), REAL(unlink)(path)); }
int unlinkat(int at, const char *path, int flags) { CALL(REMOVES, path_below(at, path), REAL(unlinkat)(at, path, flags)); }
int rmdir(const char *path) { CALL(REMOVES, path_below(AT_FDCWD, path), REAL(rmdir)(path)); }

#define OPEN(inside, call)                                                                     \
    mode_t rights = 0;                                                                         \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
        va_list rest;                                                                          \
        va_start(rest, flags);                                                                 \
        rights = va_arg(rest, mode_t);                                                         \
        va_end(rest);                                                                          \
    }                                                                                          \
    CALL(CREATES, (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) && (inside), call)

int open(const char *path, int flags, ...) { OPEN(path_below(AT_FDCWD, path), REAL(open)(path, flags, rights)); }
int open64(const char *path, int flags, ...) { OPEN(path_below(AT_FDCWD, path), REAL(open64)(path, flags, rights)); }
int openat(int at, const char *path, int flags, ...) { OPEN(path_below(at, path), REAL(openat)(at, path, flags, rights)); }
int openat64(int at, const char *path, int flags, ...) { OPEN(path_below(at, path), REAL(openat64)(at, path, flags, rights)); }
