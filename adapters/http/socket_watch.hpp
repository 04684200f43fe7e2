#pragma once
// Waits until one of many sockets can be read or written, or another thread knocks (epoll(7),
// eventfd(2)).  Kept connections go back and forth between use and idleness with every request; so
// that this costs no system call, a socket stays registered while it is idle, until it has
// something to say that nobody wants to hear.  All but knock() is for one thread.

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace paretod {

class SocketWatch {
 public:
  SocketWatch();
  ~SocketWatch();
  SocketWatch(const SocketWatch&) = delete;
  SocketWatch& operator=(const SocketWatch&) = delete;

  /// A socket whose end closed() will tell; only these stay registered while idle.
  void opened(int socket);
  void closed(int socket);
  /// What is waited for from now on; neither: it is idle.
  void want(int socket, bool in, bool out);

  struct Ready {
    int socket;
    bool in;
    bool out;
    bool error;
  };
  /// Valid until the next call; empty after `timeout_ms`, or when there was only a knock.
  const std::vector<Ready>& wait(int timeout_ms);
  /// Any thread: ends the wait, or the next one.
  void knock();

 private:
  struct Entry {
    std::uint32_t wanted = 0;
    std::uint32_t registered = 0;
    bool stays = false;
  };
  void withdraw(int socket, Entry& entry);

  int epoll_;
  int knocks_;
  std::unordered_map<int, Entry> entries_;
  std::vector<Ready> ready_;
};

}  // namespace paretod
