/* A disk that fails on demand, for files below $FAULT_UNDER: preloaded into the service, which knows nothing of it. The file
 * $FAULT_FILE says what goes wrong, from one call to the next:
 *
 *   write ERRNO     writes fail                       sync ERRNO    fdatasync and fsync fail
 *   slow MS         syncs take so long                short 0       half of a write is written, and the call says so
 *   kill 0          half of a write is written, and the process is killed
 *   readonly 0      as after a remount read-only: writes, new files and new folders fail with EROFS
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long number;

/* Whether this is what goes wrong now. */
static int is(const char *what) {
    char text[64] = "", named[32] = "";
    const char *file = getenv("FAULT_FILE");
    long fd = file ? syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0) return 0;
    long read = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    number = 0;
    return read > 0 && sscanf(text, "%31s %ld", named, &number) >= 1 && strcmp(named, what) == 0;
}

static int below(const char *path) {
    const char *under = getenv("FAULT_UNDER");
    return under && path && strncmp(path, under, strlen(under)) == 0;
}

static int ours(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int fails(int error) {
    errno = error;
    return -1;
}

/* What a write comes to: bytes that are to be written, or -1. */
static ssize_t allowed(int fd, size_t count) {
    if (!ours(fd)) return (ssize_t)count;
    if (is("write")) return fails((int)number);
    if (is("readonly")) return fails(EROFS);
    if (is("short") || is("kill")) return (ssize_t)(count / 2);
    return (ssize_t)count;
}

static ssize_t after(int fd, ssize_t written) {
    if (ours(fd) && is("kill")) kill(getpid(), SIGKILL);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t most = allowed(fd, count);
    return most < 0 ? most : after(fd, syscall(SYS_write, fd, bytes, most));
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    ssize_t most = allowed(fd, count);
    return most < 0 ? most : after(fd, syscall(SYS_pwrite64, fd, bytes, most, offset));
}

static int sync_of(int fd, long call) {
    if (ours(fd)) {
        if (is("sync")) return fails((int)number);
        if (is("readonly")) return fails(EROFS);
        if (is("slow")) {
            struct timespec pause = {number / 1000, number % 1000 * 1000000};
            nanosleep(&pause, NULL);
        }
    }
    return (int)syscall(call, fd);
}

int fdatasync(int fd) { return sync_of(fd, SYS_fdatasync); }
int fsync(int fd) { return sync_of(fd, SYS_fsync); }

static int opened(int folder, const char *path, int flags, mode_t mode) {
    if ((flags & O_ACCMODE) != O_RDONLY && below(path) && is("readonly")) return fails(EROFS);
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE_OF(flags, mode)                      \
    mode_t mode = 0;                              \
    if (flags & (O_CREAT | O_TMPFILE)) {          \
        va_list more;                             \
        va_start(more, flags);                    \
        mode = va_arg(more, mode_t);              \
        va_end(more);                             \
    }

int open64(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    if (below(path) && is("readonly")) return fails(EROFS);
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
