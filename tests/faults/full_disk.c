/* A disk that is full from the n-th write call on, for paths below one folder; preloaded, so that calls from C++ and
   Rust libraries fail as well as Python's own. Removing files keeps working, as it does on a full disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int armed = 0, error = ENOSPC;
static long left = 0, seen = 0;
static char folder[PATH_MAX];
static const char *first = "";

void full_disk_arm(long calls, int number, const char *below) {
    armed = 1; left = calls; seen = 0; error = number; first = "";
    snprintf(folder, sizeof folder, "%s", below);
}
long full_disk_disarm(void) { armed = 0; return seen; }
const char *full_disk_first(void) { return first; } /* the kind of the first call that was refused */

static int refuse(const char *path, const char *kind) {
    if (!armed || strncmp(path, folder, strlen(folder))) return 0;
    if (seen++ < left) return 0;
    if (!*first) first = kind;
    errno = error;
    return 1;
}
static int refuse_file(int fd, const char *kind) {
    char link[64], path[PATH_MAX];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return refuse(path, kind);
}
static int refuse_name(int at, const char *name, const char *kind) {
    char path[PATH_MAX], base[PATH_MAX - 300];
    if (!armed) return 0;
    if (name[0] == '/') return refuse(name, kind);
    if (at == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
    else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    snprintf(path, sizeof path, "%s/%.255s", base, name);
    return refuse(path, kind);
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t n) { return refuse_file(fd, "write") ? -1 : REAL(write)(fd, data, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { return refuse_file(fd, "writev") ? -1 : REAL(writev)(fd, v, n); }
ssize_t pwrite(int fd, const void *d, size_t n, off_t o) { return refuse_file(fd, "pwrite") ? -1 : REAL(pwrite)(fd, d, n, o); }
ssize_t pwrite64(int fd, const void *d, size_t n, off64_t o) { return refuse_file(fd, "pwrite") ? -1 : REAL(pwrite64)(fd, d, n, o); }
ssize_t sendfile(int to, int from, off_t *o, size_t n) { return refuse_file(to, "copy") ? -1 : REAL(sendfile)(to, from, o, n); }
ssize_t sendfile64(int to, int from, off64_t *o, size_t n) { return refuse_file(to, "copy") ? -1 : REAL(sendfile64)(to, from, o, n); }
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t n, unsigned f) {
    return refuse_file(to, "copy") ? -1 : REAL(copy_file_range)(from, a, to, b, n, f);
}
int fsync(int fd) { return refuse_file(fd, "fsync") ? -1 : REAL(fsync)(fd); }
int ftruncate(int fd, off_t n) { return refuse_file(fd, "ftruncate") ? -1 : REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return refuse_file(fd, "ftruncate") ? -1 : REAL(ftruncate64)(fd, n); }
int rename(const char *a, const char *b) { return refuse_name(AT_FDCWD, b, "rename") ? -1 : REAL(rename)(a, b); }
int link(const char *a, const char *b) { return refuse_name(AT_FDCWD, b, "link") ? -1 : REAL(link)(a, b); }
int linkat(int p, const char *a, int q, const char *b, int f) {
    return refuse_name(q, b, "link") ? -1 : REAL(linkat)(p, a, q, b, f);
}
int mkdir(const char *path, mode_t mode) { return refuse_name(AT_FDCWD, path, "mkdir") ? -1 : REAL(mkdir)(path, mode); }
