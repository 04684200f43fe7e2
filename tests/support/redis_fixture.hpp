#pragma once
// A redis-server of the test's own, on a unix socket in a temporary directory.

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/redis/child_process.hpp"
#include "adapters/redis/redis_connection.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod::test {

/// Waits until `condition` holds; false if it does not within a minute.
template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

class RedisServer {
 public:
  /// Appends durably (appendfsync always) unless `settings`, lines of redis.conf, say otherwise.
  explicit RedisServer(std::string settings = {}) : settings_(std::move(settings)) { start(); }
  ~RedisServer() { kill(); }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  /// Starts the server (again, on the same files) and waits until it answers, maybe with LOADING.
  void start() {
    launch();
    const bool answers =
        eventually([this] { return RedisConnection::connect(address()).ok() || !running(); });
    if (!answers || !running()) throw std::runtime_error("redis-server does not start");
  }

  /// For the next start.
  void configure(std::string settings) { settings_ = std::move(settings); }

  /// Starts the server without waiting for anything.
  void launch() {
    const std::string text = "port 0\nsave \"\"\nappendonly yes\nappendfsync always\nunixsocket " +
                             address().path + "\ndir " + directory_.path().string() + "\n" +
                             settings_ + "\n";
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw std::runtime_error("pipe failed");
    const bool fed =
        ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    close(ends[1]);
    ChildOptions options;
    options.arguments = {find_program("redis-server"), "-"};
    options.input = ends[0];
    options.ends_with_thread = true;
    auto pid = start_child(options);
    close(ends[0]);
    if (!fed || !pid) throw std::runtime_error("redis-server cannot be started: is it installed?");
    pid_ = *pid;
  }

  /// SIGKILL, and waits for the end.
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }

  bool running() {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_.path(); }
  [[nodiscard]] RedisAddress address() const {
    RedisAddress address;
    address.path = (directory_.path() / "socket").string();
    return address;
  }

  /// One command on a connection of its own, as the default user.
  RedisReply command(std::initializer_list<std::string_view> arguments) const {
    auto connection = RedisConnection::connect(address());
    if (!connection) throw std::runtime_error(connection.error().message);
    auto reply = connection->command(arguments);
    if (!reply) throw std::runtime_error(reply.error().message);
    return *reply;
  }

 private:
  ScratchDirectory directory_;
  std::string settings_;
  pid_t pid_ = 0;
};

}  // namespace paretod::test
