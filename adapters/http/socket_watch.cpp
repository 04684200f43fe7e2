#include "adapters/http/socket_watch.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace paretod {
namespace {

void control(int epoll, int operation, int socket, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = socket;
  // One that was closed behind our back is no longer known there.
  if (epoll_ctl(epoll, operation, socket, &event) != 0 && operation == EPOLL_CTL_MOD &&
      errno == ENOENT) {
    epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
  }
}

}  // namespace

SocketWatch::SocketWatch()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), knocks_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (epoll_ < 0 || knocks_ < 0) {
    throw std::system_error(errno, std::generic_category(), "cannot watch sockets");
  }
  // Every knock is told once, and need not be read.
  control(epoll_, EPOLL_CTL_ADD, knocks_, EPOLLIN | EPOLLET);
}

SocketWatch::~SocketWatch() {
  close(knocks_);
  close(epoll_);
}

void SocketWatch::opened(int socket) {
  entries_[socket] = {.stays = true};
}

void SocketWatch::closed(int socket) {
  entries_.erase(socket);  // closing it is what withdraws it
}

void SocketWatch::want(int socket, bool in, bool out) {
  Entry& entry = entries_[socket];
  entry.wanted = (in ? std::uint32_t{EPOLLIN} : 0U) | (out ? std::uint32_t{EPOLLOUT} : 0U);
  if (entry.wanted == 0) {
    if (entry.stays) return;
    withdraw(socket, entry);
    entries_.erase(socket);
  } else if (entry.wanted != entry.registered) {
    control(epoll_, entry.registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, entry.wanted);
    entry.registered = entry.wanted;
  }
}

void SocketWatch::withdraw(int socket, Entry& entry) {
  if (entry.registered != 0) control(epoll_, EPOLL_CTL_DEL, socket, 0);
  entry.registered = 0;
}

const std::vector<SocketWatch::Ready>& SocketWatch::wait(int timeout_ms) {
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(epoll_, events.data(), events.size(), timeout_ms);
  ready_.clear();
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int socket = event.data.fd;
    if (socket == knocks_) continue;
    const auto found = entries_.find(socket);
    if (found == entries_.end()) continue;
    if (found->second.wanted == 0) {
      withdraw(socket, found->second);
      continue;
    }
    ready_.push_back({socket, (event.events & EPOLLIN) != 0, (event.events & EPOLLOUT) != 0,
                      (event.events & (EPOLLERR | EPOLLHUP)) != 0});
  }
  return ready_;
}

void SocketWatch::knock() {
  const std::uint64_t one = 1;
  static_cast<void>(!write(knocks_, &one, sizeof one));
}

}  // namespace paretod
