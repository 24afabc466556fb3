/* Stands between Python and the system, for files below one folder: counts their calls,
   makes the Nth fail, cuts writes short, and keeps a log of what changes the disk.

       cc -shared -fPIC -O1 -o shim.so io_shim.c -ldl
       LD_PRELOAD=shim.so KURVE_SHIM_FOLDER=/tmp/x KURVE_SHIM_LOG=/tmp/log python ...

   Record of the log: int32 op, int32 fd, int64 offset, int64 bytes, then the bytes.
   op: 1 open for writing (path), 2 write, 3 fsync, 4 rename (two paths), 5 unlink,
   6 close, 7 open of a folder (path). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FDS = 1024 };
static char watched[FDS];
static int calls, fail_at, fail_errno, sticky, cut_short;

void shim_arm(int nth, int error, int stays, int shorter) {
  calls = 0, fail_at = nth, fail_errno = error, sticky = stays, cut_short = shorter;
}
int shim_calls(void) { return calls; }

static int mine(const char *path) {
  const char *folder = getenv("KURVE_SHIM_FOLDER");
  return folder && path && !strncmp(path, folder, strlen(folder));
}
static int mine_fd(int fd) { return fd >= 0 && fd < FDS && watched[fd]; }

/* Whether this call has to fail. A full disk stays full: for calls that need room. */
static int fails(int needs_room) {
  ++calls;
  if (!fail_at || calls < fail_at || (calls > fail_at && !(sticky && needs_room))) return 0;
  errno = fail_errno;
  return 1;
}

static void note(int op, int fd, int64_t offset, const void *data, int64_t size) {
  static int log = -1;
  if (log < 0) {
    const char *path = getenv("KURVE_SHIM_LOG");
    log = path ? (int)syscall(SYS_openat, AT_FDCWD, path,
                              O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)
               : -1;
  }
  if (log < 0) return;
  struct {
    int32_t op, fd;
    int64_t offset, size;
  } head = {op, fd, offset, size};
  syscall(SYS_write, log, &head, sizeof head);
  syscall(SYS_write, log, data, size);
}

static int open_mine(const char *path, int flags, mode_t mode) {
  if (!mine(path)) return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (fails(0)) return -1;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (fd >= 0 && fd < FDS) {
    watched[fd] = 1;
    if (flags & (O_WRONLY | O_RDWR)) note(1, fd, 0, path, strlen(path));
    else if (flags & O_DIRECTORY) note(7, fd, 0, path, strlen(path));
  }
  return fd;
}

#define OPEN(name)                                     \
  int name(const char *path, int flags, ...) {         \
    mode_t mode = 0;                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {               \
      va_list rest;                                    \
      va_start(rest, flags);                           \
      mode = va_arg(rest, mode_t);                     \
      va_end(rest);                                    \
    }                                                  \
    return open_mine(path, flags, mode);               \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size) {
  if (mine_fd(fd)) {
    if (fails(1)) return -1;
    if (cut_short && size > 1) size = 1 + size / 3;
    int64_t offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, size);
    if (done > 0) note(2, fd, offset, data, done);
    return done;
  }
  return syscall(SYS_write, fd, data, size);
}

ssize_t read(int fd, void *data, size_t size) {
  if (mine_fd(fd)) {
    if (fails(0)) return -1;
    if (cut_short && size > 1) size = 1 + size / 3;
  }
  return syscall(SYS_read, fd, data, size);
}

int fsync(int fd) {
  if (mine_fd(fd)) {
    if (fails(1)) return -1;
    note(3, fd, 0, "", 0);
  }
  return (int)syscall(SYS_fsync, fd);
}

int close(int fd) {
  if (mine_fd(fd)) {
    watched[fd] = 0;
    int failed = fails(0), error = errno;
    note(6, fd, 0, "", 0);
    syscall(SYS_close, fd);
    if (failed) errno = error;
    return failed ? -1 : 0;
  }
  return (int)syscall(SYS_close, fd);
}

int rename(const char *from, const char *to) {
  if (mine(from)) {
    if (fails(0)) return -1;
    char both[2 * PATH_MAX];
    size_t a = strlen(from) + 1, b = strlen(to);
    memcpy(both, from, a);
    memcpy(both + a, to, b);
    note(4, -1, 0, both, a + b);
  }
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path) {
  if (mine(path)) {
    if (fails(0)) return -1;
    int gone = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (!gone) note(5, -1, 0, path, strlen(path));
    return gone;
  }
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
