/*
** bridge.c - see bridge.h
*/
#define _GNU_SOURCE /* accept4 */
#include "base/bridge.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/system.h"
#include "base/thread.h"

#define AT_ONCE 16 /* descriptors that the thread is told of by one call */

void strand_bridge_init (strand_bridge *b) {
  memset(b, 0, sizeof(*b));
  b->listener = b->peer = b->epoll = b->stop = -1;
}

void strand_bridge_check (const strand_bridge *b) {
  (void)b;
  assert(b->path[0] == '\0' || b->listener >= 0);           /* (2) */
  assert(b->path[0] == '\0' || b->folder[0] != '\0');       /* (2) */
  assert(!b->started || (b->epoll >= 0 && b->stop >= 0));   /* (3) */
  assert(!b->started || (b->peer >= 0 && b->listener < 0)); /* (3) */
}

/*
** The socket
*/

static void fail_socket (strand_failure *failure, const char *what,
                         const char *path) {
  strand_fail(failure, "SOCKET", "%s %s: %s", what, path, strerror(errno));
}

/* Its name leaves room for the socket's. */
static bool make_folder (strand_bridge *b, const char *parent,
                         strand_failure *failure) {
  static const char pattern[] = "/strand-XXXXXX";
  size_t length = strlen(parent);
  if (length + sizeof(pattern) + 2 > sizeof(b->folder)) {
    strand_fail(failure, "SOCKET",
                "the folder for a Unix socket has %zu bytes, %zu at most: %s",
                length, sizeof(b->folder) - sizeof(pattern) - 2, parent);
    return false;
  }
  memcpy(b->folder, parent, length);
  memcpy(b->folder + length, pattern, sizeof(pattern));
  if (mkdtemp(b->folder) != NULL) return true;
  fail_socket(failure, "a folder for a Unix socket cannot be made below",
              parent);
  b->folder[0] = '\0';
  return false;
}

static bool listen_there (strand_bridge *b, strand_failure *failure) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof(address));
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "%.105s/s", b->folder);
  b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (b->listener < 0) {
    strand_fail_descriptor(failure, "a Unix socket", errno);
    return false;
  }
  if (bind(b->listener, (const struct sockaddr *)&address, sizeof(address))
      == 0) {
    memcpy(b->path, address.sun_path, sizeof(b->path)); /* it is there now */
    if (listen(b->listener, 1) == 0) return true;
  }
  fail_socket(failure, "a Unix socket cannot be made:", address.sun_path);
  return false;
}

static void remove_path (strand_bridge *b) {
  if (b->path[0] != '\0') unlink(b->path);
  if (b->folder[0] != '\0') rmdir(b->folder);
  b->path[0] = b->folder[0] = '\0';
}

bool strand_bridge_open (strand_bridge *b, const char *parent,
                         strand_failure *failure) {
  bool opened = make_folder(b, parent, failure) && listen_there(b, failure);
  strand_bridge_check(b);
  return opened;
}

/*
** Its thread
*/

/* False: nobody reads any more. */
static bool tell (const strand_bridge *b, int fd) {
  int32_t number = fd;
  ssize_t sent;
  do {
    sent = send(b->peer, &number, sizeof(number), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)sizeof(number);
}

static void *run (void *argument) {
  const strand_bridge *b = argument;
  struct epoll_event ready[AT_ONCE];
  for (;;) {
    int i, count = epoll_wait(b->epoll, ready, AT_ONCE, -1);
    for (i = 0; i < count; i++) {
      if (ready[i].data.fd == b->stop || !tell(b, ready[i].data.fd))
        return NULL;
    }
    if (count < 0 && errno != EINTR) return NULL;
  }
}

static bool start (strand_bridge *b, strand_failure *failure) {
  struct epoll_event event;
  memset(&event, 0, sizeof(event));
  event.events = EPOLLIN;
  b->epoll = epoll_create1(EPOLL_CLOEXEC);
  b->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  event.data.fd = b->stop;
  if (b->epoll < 0 || b->stop < 0
      || epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->stop, &event) < 0) {
    strand_fail_descriptor(failure, "a bridge's epoll", errno);
    return false;
  }
  if (strand_thread_start(&b->thread, run, b) == 0) {
    strand_fail_thread(failure, "a bridge's thread", errno);
    return false;
  }
  b->started = true;
  return true;
}

bool strand_bridge_accept (strand_bridge *b, strand_failure *failure) {
  bool started;
  b->peer = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC);
  if (b->peer < 0) {
    strand_fail(failure, "SOCKET", "nobody has connected to %s: %s", b->path,
                strerror(errno));
    return false;
  }
  close(b->listener);
  b->listener = -1;
  remove_path(b);
  started = start(b, failure);
  strand_bridge_check(b);
  return started;
}

/* One that is readable needs no thread. */
bool strand_bridge_arm (strand_bridge *b, int fd) {
  struct pollfd now = { fd, POLLIN, 0 };
  struct epoll_event event;
  if (poll(&now, 1, 0) > 0 && (now.revents & POLLNVAL) == 0)
    return tell(b, fd);
  memset(&event, 0, sizeof(event));
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.fd = fd;
  if (epoll_ctl(b->epoll, EPOLL_CTL_MOD, fd, &event) == 0) return true;
  return errno == ENOENT
         && epoll_ctl(b->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool strand_bridge_tell (strand_bridge *b, int fd) {
  return tell(b, fd);
}

/*
** Its end
*/

static void close_one (int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void strand_bridge_forget (strand_bridge *b) {
  close_one(&b->listener);
  close_one(&b->peer);
  close_one(&b->epoll);
  close_one(&b->stop);
  b->path[0] = b->folder[0] = '\0';
  b->started = false;
  strand_bridge_check(b);
}

void strand_bridge_close (strand_bridge *b) {
  if (b->started) {
    uint64_t one = 1;
    ssize_t written = write(b->stop, &one, sizeof(one));
    (void)written;
    pthread_join(b->thread, NULL);
  }
  remove_path(b);
  strand_bridge_forget(b);
}
