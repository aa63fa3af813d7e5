/* Makes file operations below the folders of SLOW_BELOW (separated by colons) take SLOW_MS milliseconds each, and appends
 * their kind to SLOW_LOG, one to a line. For benchmarks/slow_mount.py, which compiles it and preloads it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILES 65536
static char is_below[MAX_FILES]; /* by descriptor */

static int below(const char *path) {
    const char *folder = getenv("SLOW_BELOW");
    while (path && folder && *folder) {
        size_t length = strcspn(folder, ":");
        if (!strncmp(path, folder, length) && (path[length] == '/' || !path[length])) return 1;
        folder += length + (folder[length] == ':');
    }
    return 0;
}

static void slow(const char *kind) {
    int saved = errno;
    const char *log = getenv("SLOW_LOG"), *ms = getenv("SLOW_MS");
    long file = log ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (file >= 0) {
        char line[32];
        int length = snprintf(line, sizeof line, "%s\n", kind);
        if (syscall(SYS_write, file, line, length) < 0) abort();
        syscall(SYS_close, file);
    }
    struct timespec pause = {0, (ms ? atol(ms) : 0) * 1000000L};
    nanosleep(&pause, NULL);
    errno = saved;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, #name)
#define OPEN(name, first, ...)                                              \
    int name(first const char *path, int flags, ...) {                     \
        REAL(name);                                                         \
        va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \
        int counts = below(path);                                           \
        if (counts) slow("open");                                           \
        int file = real(__VA_ARGS__ path, flags, mode);                     \
        if (file >= 0 && file < MAX_FILES) is_below[file] = (char)counts;   \
        return file;                                                        \
    }
#define NOTHING
#define FOLDER int folder,
OPEN(open, NOTHING)
OPEN(open64, NOTHING)
OPEN(openat, FOLDER, folder,)
OPEN(openat64, FOLDER, folder,)

#define ONE(kind, type, name, parameters, path, arguments) \
    type name parameters { REAL(name); if (below(path)) slow(kind); return real arguments; }
ONE("stat", int, stat, (const char *p, struct stat *s), p, (p, s))
ONE("stat", int, lstat, (const char *p, struct stat *s), p, (p, s))
ONE("stat", int, stat64, (const char *p, struct stat64 *s), p, (p, s))
ONE("stat", int, lstat64, (const char *p, struct stat64 *s), p, (p, s))
ONE("stat", int, fstatat, (int d, const char *p, struct stat *s, int f), p, (d, p, s, f))
ONE("stat", int, fstatat64, (int d, const char *p, struct stat64 *s, int f), p, (d, p, s, f))
ONE("stat", int, access, (const char *p, int m), p, (p, m))
ONE("stat", ssize_t, readlink, (const char *p, char *b, size_t n), p, (p, b, n))
ONE("list", DIR *, opendir, (const char *p), p, (p))
ONE("change", int, mkdir, (const char *p, mode_t m), p, (p, m))
ONE("change", int, rmdir, (const char *p), p, (p))
ONE("change", int, unlink, (const char *p), p, (p))
ONE("change", int, rename, (const char *p, const char *q), q, (p, q))
ONE("change", int, link, (const char *p, const char *q), q, (p, q))
ONE("change", int, linkat, (int a, const char *p, int b, const char *q, int f), q, (a, p, b, q, f))
ONE("change", int, chmod, (const char *p, mode_t m), p, (p, m))

#define OF_FILE(kind, type, name, parameters, arguments) \
    type name parameters { REAL(name); if (fd >= 0 && fd < MAX_FILES && is_below[fd]) slow(kind); return real arguments; }
OF_FILE("sync", int, fsync, (int fd), (fd))
OF_FILE("read", ssize_t, read, (int fd, void *b, size_t n), (fd, b, n))
OF_FILE("read", ssize_t, pread, (int fd, void *b, size_t n, off_t o), (fd, b, n, o))
OF_FILE("read", ssize_t, pread64, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o))
