// What must survive: Redis killed at any instant, replies lost, owners racing.  A writer appends
// 0, 1, 2, ...; afterwards nothing may be lost, doubled, reordered or altered.
//
// PARETOD_CHAOS_CYCLES sets how often each fault is tried: a few times by default, 1000 for the
// full test.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/redis/embedded_redis.hpp"
#include "daemon/store/group_commit.hpp"
#include "daemon/store/redis_backend.hpp"
#include "tests/support/redis_fixture.hpp"

namespace paretod {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

int chaos_cycles(int by_default) {
  const char* const cycles = std::getenv("PARETOD_CHAOS_CYCLES");
  return cycles == nullptr ? by_default : std::atoi(cycles);
}

std::unique_ptr<RedisBackend> connect(const RedisAddress& address) {
  RedisBackendOptions options;
  options.address = address;
  options.declared_durability = "strict";
  options.timeouts.command = milliseconds(2000);
  auto backend = RedisBackend::connect(std::move(options));
  if (!backend) throw std::runtime_error(backend.error().message);
  return std::move(*backend);
}

/// To a server that may be down or cut the connection just now.
std::unique_ptr<RedisBackend> connect_when_up(const RedisAddress& address) {
  std::unique_ptr<RedisBackend> backend;
  const bool connected = test::eventually([&] {
    try {
      backend = connect(address);
    } catch (const std::runtime_error&) {
      return false;
    }
    return true;
  });
  if (!connected) throw std::runtime_error("no connection");
  return backend;
}

/// An owner of one log that appends "<name>:0", "<name>:1", ... as fast as they become durable.
class Writer {
 public:
  Writer(LogBackend& backend, const std::string& job, EventId top, std::string name)
      : name_(std::move(name)) {
    log_ = group_.emplace(backend).open(job, top,
                                        [this](const Result<EventId>& last, std::size_t events) {
                                          if (last) {
                                            committed_ += events;
                                          } else {
                                            error_ = last.error();
                                            lost_ = true;
                                          }
                                        });
    thread_ = std::thread([this] {
      while (!stop_ && !lost_) {
        // Fast enough to be met in the middle, slow enough that a thousand restarts load quickly.
        if (log_->backlog() > 10) {
          std::this_thread::sleep_for(milliseconds(2));
          continue;
        }
        const std::string event = name_ + ":" + std::to_string(appended_);
        // Some need another one to go; all arrive in order.
        if (++appended_ % 5 == 0) {
          log_->append_lazily(event);
        } else {
          log_->append(event);
        }
      }
    });
  }
  ~Writer() { finish(); }

  /// Until everything is written, or the log is lost.
  void finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    log_.reset();
    group_.reset();
  }
  [[nodiscard]] bool flows() {
    const std::size_t before = committed_;
    return test::eventually([&] { return committed_ > before + 10 || lost_; }) && !lost_;
  }
  [[nodiscard]] std::size_t committed() const { return committed_; }
  [[nodiscard]] std::size_t appended() const { return appended_; }
  [[nodiscard]] bool lost() const { return lost_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  /// Precondition: lost().
  [[nodiscard]] const Error& error() const { return *error_; }

 private:
  const std::string name_;
  std::optional<GroupCommit> group_;
  std::shared_ptr<GroupCommit::Log> log_;
  std::atomic<std::size_t> appended_ = 0;
  std::atomic<std::size_t> committed_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> lost_ = false;
  std::optional<Error> error_;
  std::thread thread_;
};

/// Reads a log; each writer's events must be 0, 1, 2, ... in one epoch.  How many of whom.
std::map<std::string, std::size_t> check_log(LogBackend& backend, const std::string& job) {
  std::map<std::string, std::size_t> counts;
  std::map<std::uint64_t, std::string> authors;
  auto top = backend.read(job, {}, [&](EventId id, std::string_view event) {
    const std::size_t colon = event.find(':');
    if (colon == std::string_view::npos) {
      EXPECT_EQ(id.number, 1u) << event;
      return true;
    }
    const std::string author(event.substr(0, colon));
    EXPECT_EQ(event.substr(colon + 1), std::to_string(counts[author]++)) << id.text();
    EXPECT_EQ(authors.try_emplace(id.epoch, author).first->second, author) << id.text();
    return true;
  });
  EXPECT_TRUE(top.ok()) << top.error().message;
  return counts;
}

TEST(Chaos, RedisIsKilledUnderLoad) {
  test::ScratchDirectory scratch;
  EmbeddedRedisOptions options;
  options.state_directory = scratch.path();
  options.longest_restart_delay = milliseconds(10);
  auto server = EmbeddedRedis::start(options);
  ASSERT_TRUE(server.ok()) << server.error().message;
  const auto backend = connect((*server)->address());
  std::vector<std::unique_ptr<Writer>> writers;
  for (const std::string job : {"a", "b", "c"}) {
    auto top = backend->create(job, {"owner"});
    ASSERT_TRUE(top.ok());
  }
  // Each with a connection of its own, so that a kill meets them at different steps.
  std::vector<std::unique_ptr<RedisBackend>> backends;
  for (const std::string job : {"a", "b", "c"}) {
    backends.push_back(connect((*server)->address()));
    writers.push_back(std::make_unique<Writer>(*backends.back(), job, EventId{1, 1}, job));
  }
  std::mt19937 random(1);
  for (int cycle = chaos_cycles(15); cycle > 0; --cycle) {
    for (const auto& writer : writers) ASSERT_TRUE(writer->flows());
    std::this_thread::sleep_for(microseconds(random() % 20'000));
    const pid_t pid = (*server)->server_pid();
    if (pid > 0) kill(pid, SIGKILL);
  }
  for (const auto& writer : writers) {
    ASSERT_TRUE(writer->flows());
    writer->finish();
    EXPECT_FALSE(writer->lost());
    EXPECT_EQ(writer->committed(), writer->appended());
    EXPECT_EQ(check_log(*backend, writer->name()),
              (std::map<std::string, std::size_t>{{writer->name(), writer->appended()}}));
  }
}

TEST(Chaos, OwnersRaceWhileRedisIsKilled) {
  test::ScratchDirectory scratch;
  EmbeddedRedisOptions options;
  options.state_directory = scratch.path();
  options.longest_restart_delay = milliseconds(10);
  auto server = EmbeddedRedis::start(options);
  ASSERT_TRUE(server.ok()) << server.error().message;
  const auto first = connect((*server)->address());
  ASSERT_TRUE(first->create("a", {"owner"}).ok());

  std::vector<std::unique_ptr<RedisBackend>> backends;
  std::vector<std::unique_ptr<Writer>> writers;
  std::mt19937 random(2);
  for (int cycle = chaos_cycles(8); cycle > 0; --cycle) {
    const std::string name = "w" + std::to_string(writers.size());
    backends.push_back(connect_when_up((*server)->address()));
    auto epoch = backends.back()->take_over("a", "owner " + name);
    ASSERT_TRUE(epoch.ok()) << epoch.error().message;
    writers.push_back(std::make_unique<Writer>(*backends.back(), "a", *epoch, name));
    ASSERT_TRUE(writers.back()->flows());
    std::this_thread::sleep_for(microseconds(random() % 10'000));
    const pid_t pid = (*server)->server_pid();
    if (pid > 0 && cycle % 3 != 0) kill(pid, SIGKILL);
    if (writers.size() < 2) continue;
    // Its predecessor has been fenced, at the latest by its next write.
    Writer& old = *writers[writers.size() - 2];
    ASSERT_TRUE(test::eventually([&] { return old.lost(); }));
    EXPECT_EQ(old.error().kind, ErrorKind::conflict) << old.error().message;
    old.finish();
  }
  writers.back()->finish();
  EXPECT_FALSE(writers.back()->lost());
  const auto counts = check_log(*first, "a");
  for (const auto& writer : writers) {
    const auto found = counts.find(writer->name());
    ASSERT_NE(found, counts.end());
    EXPECT_EQ(found->second, writer->committed()) << writer->name();
  }
}

/// Passes bytes to a server and back, and cuts connections in the middle of either.
class CuttingProxy {
 public:
  CuttingProxy(RedisAddress server, unsigned seed) : server_(std::move(server)), random_(seed) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address().path.copy(name.sun_path, sizeof name.sun_path - 1);
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
        listen(listener_, 8) != 0) {
      throw std::runtime_error("cannot listen");
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~CuttingProxy() {
    stop_ = true;
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  [[nodiscard]] RedisAddress address() const {
    RedisAddress address;
    address.path = (directory_.path() / "socket").string();
    return address;
  }
  [[nodiscard]] int cuts() const { return cuts_; }
  /// From the next connection or byte on; before, everything passes.
  void misbehave() { cutting_ = true; }

 private:
  void serve() {
    std::vector<std::thread> connections;
    while (true) {
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) break;
      const auto seed = static_cast<unsigned>(random_());
      connections.emplace_back([this, client, seed] { pass(client, seed); });
    }
    for (std::thread& connection : connections) connection.join();
  }

  void pass(int client, unsigned seed) {
    std::mt19937 random(seed);
    const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    server_.path.copy(name.sun_path, sizeof name.sun_path - 1);
    bool open = ::connect(server, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
    // Replies to batches are short, so most cuts lose the reply to a batch that was appended; some
    // tear a batch on its way in.  Every other connection is good enough to look at a whole batch.
    auto replies_left = static_cast<std::ptrdiff_t>(random() % 2 == 0 ? 4'000 : random() % 300);
    auto requests_left = static_cast<std::ptrdiff_t>(random() % 40'000);
    std::array<pollfd, 2> polled = {{{client, POLLIN, 0}, {server, POLLIN, 0}}};
    std::array<char, 4096> buffer;
    while (open && !stop_) {
      poll(polled.data(), polled.size(), 50);
      for (int from = 0; from < 2 && open; ++from) {
        if (polled[static_cast<std::size_t>(from)].revents == 0) continue;
        std::ptrdiff_t& left = from == 0 ? requests_left : replies_left;
        const ssize_t got = recv(from == 0 ? client : server, buffer.data(), buffer.size(), 0);
        if (got <= 0) {
          open = false;
          break;
        }
        const ssize_t allowed = cutting_ ? std::min<ssize_t>(got, left) : got;
        if (allowed > 0 && send(from == 0 ? server : client, buffer.data(),
                                static_cast<std::size_t>(allowed), MSG_NOSIGNAL) != allowed) {
          open = false;
        }
        left -= allowed;
        if (allowed < got) {
          ++cuts_;
          open = false;
        }
      }
    }
    close(client);
    close(server);
  }

  test::ScratchDirectory directory_;
  RedisAddress server_;
  std::mt19937 random_;
  int listener_ = -1;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> cutting_ = false;
  std::atomic<int> cuts_ = 0;
  std::thread thread_;
};

TEST(Chaos, RepliesAreLost) {
  const test::RedisServer server;
  const auto direct = connect(server.address());
  ASSERT_TRUE(direct->create("a", {"owner"}).ok());
  CuttingProxy proxy(server.address(), 3);
  const auto backend = connect(proxy.address());
  proxy.misbehave();
  Writer writer(*backend, "a", {1, 1}, "w");
  const int cuts = chaos_cycles(50);
  ASSERT_TRUE(test::eventually([&] { return proxy.cuts() >= cuts; }));
  ASSERT_TRUE(writer.flows());
  writer.finish();
  EXPECT_FALSE(writer.lost());
  EXPECT_EQ(writer.committed(), writer.appended());
  EXPECT_EQ(check_log(*direct, "a"),
            (std::map<std::string, std::size_t>{{"w", writer.appended()}}));
}

TEST(Chaos, CreatingAndTakingOverSurviveLostReplies) {
  const test::RedisServer server;
  const auto direct = connect(server.address());
  CuttingProxy proxy(server.address(), 4);
  const auto backend = connect(proxy.address());
  proxy.misbehave();
  for (int i = chaos_cycles(60); i > 0; --i) {
    const std::string job = "job" + std::to_string(i);
    ASSERT_TRUE(backend->create(job, {"owner " + job, "created", "asked"}).ok());
    auto taken = backend->take_over(job, "second owner " + job);
    ASSERT_TRUE(taken.ok()) << taken.error().message;
    std::vector<std::string> events;
    auto top = direct->read(job, {}, [&](EventId, std::string_view e) {
      events.emplace_back(e);
      return true;
    });
    EXPECT_EQ(*top, *taken);
    EXPECT_THAT(events,
                testing::ElementsAre("owner " + job, "created", "asked", "second owner " + job));
  }
  EXPECT_GT(proxy.cuts(), 0);
}

}  // namespace
}  // namespace paretod
