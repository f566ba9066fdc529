/*
** freeze.c - stops one thread of another process
**
**   freeze PID NAME SIGN
**       stops the thread whose name starts with NAME, makes the file SIGN, and
**       lets it go on when its own input ends
**
** A broker applies what the cluster's metadata says in a thread of its own:
** without that one it serves on, and knows no topic that is new.
*/
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void die (const char *what) {
  fprintf(stderr, "freeze: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int is_called (const char *pid, const char *thread, const char *name) {
  char path[300], text[64] = "";
  FILE *file;
  snprintf(path, sizeof(path), "/proc/%s/task/%s/comm", pid, thread);
  file = fopen(path, "r");
  if (file == NULL) return 0;
  if (fgets(text, sizeof(text), file) == NULL) text[0] = '\0';
  fclose(file);
  return strncmp(text, name, strlen(name)) == 0;
}

static pid_t find (const char *pid, const char *name) {
  char path[300];
  struct dirent *entry;
  pid_t found = 0;
  DIR *threads;
  snprintf(path, sizeof(path), "/proc/%s/task", pid);
  threads = opendir(path);
  if (threads == NULL) die(path);
  while (found == 0 && (entry = readdir(threads)) != NULL) {
    if (is_called(pid, entry->d_name, name)) found = atoi(entry->d_name);
  }
  closedir(threads);
  errno = ESRCH;
  if (found == 0) die(name);
  return found;
}

int main (int argc, char **argv) {
  pid_t thread;
  FILE *sign;
  if (argc != 4) return 2;
  thread = find(argv[1], argv[2]);
  if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0) die("seize");
  if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) != 0) die("interrupt");
  if (waitpid(thread, NULL, __WALL) != thread) die("wait");
  sign = fopen(argv[3], "w");
  if (sign == NULL) die(argv[3]);
  fclose(sign);
  while (getchar() != EOF) continue;
  return 0; /* what is traced goes on when its tracer ends */
}
