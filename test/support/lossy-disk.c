// Preloaded into a process, it keeps what a power cut would leave of a folder: the content of each file at its last sync.
// LOSSY_FOLDER is the folder that the process writes to, LOSSY_KEPT the folder that gets what is safe.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
  perror(what);
  abort();
}

/** The place of a path among the kept files. @returns 0 if it is not in the folder. */
static int place_of(const char *path, char *place) {
  const char *folder = getenv("LOSSY_FOLDER"), *kept = getenv("LOSSY_KEPT");
  if (folder == NULL || kept == NULL) return 0;
  size_t length = strlen(folder);
  if (strncmp(path, folder, length) != 0 || path[length] != '/') return 0;
  return snprintf(place, PATH_MAX, "%s%s", kept, path + length) < PATH_MAX;
}

/** Copies by the given descriptor: to close another one of the same file would release the locks of the process. */
static void copy(int fd, const char *place) {
  char part[PATH_MAX + 8];
  static char buffer[1 << 20];
  snprintf(part, sizeof part, "%s.part", place);
  int target = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (target < 0) fail(part);
  off_t at = 0;
  for (ssize_t got; (got = pread(fd, buffer, sizeof buffer, at)) != 0; at += got) {
    if (got < 0 || write(target, buffer, got) != got) fail(part);
  }
  close(target);
  // A kill between two steps leaves the content of one of two syncs.
  if (rename(part, place) != 0) fail(place);
}

/** @returns 1 if the file is in the folder, and its content is now safe. */
static int keep(int fd) {
  char link[64], path[PATH_MAX], place[PATH_MAX];
  struct stat about;
  if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || about.st_nlink == 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (!place_of(path, place)) return 0;
  pthread_mutex_lock(&keeping);
  copy(fd, place);
  pthread_mutex_unlock(&keeping);
  return 1;
}

int fsync(int fd) {
  return keep(fd) ? 0 : ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
  return keep(fd) ? 0 : ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

/** The removal of a file is safe at once, which is the worst case: its content is gone. */
int unlink(const char *path) {
  char place[PATH_MAX];
  int result = ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
  if (result == 0 && place_of(path, place)) ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(place);
  return result;
}
