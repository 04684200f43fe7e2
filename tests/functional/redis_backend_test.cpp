// The Redis log against real servers: what it refuses and says, and what it survives.

#include "daemon/store/redis_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "adapters/redis/redis_refusal.hpp"
#include "daemon/store/group_commit.hpp"
#include "daemon/store/instance_file.hpp"
#include "tests/support/redis_fixture.hpp"

namespace paretod {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string url_error(const std::string& url) {
  auto address = parse_redis_url(url);
  return address ? "no error" : address.error().message;
}

RedisBackendOptions options_for(const RedisAddress& address) {
  RedisBackendOptions options;
  options.address = address;
  return options;
}

/// Of a server that must be accepted.
std::unique_ptr<RedisBackend> connect(RedisBackendOptions options) {
  auto backend = RedisBackend::connect(std::move(options));
  if (!backend) throw std::runtime_error(backend.error().message);
  return std::move(*backend);
}

/// Of one that must not.
Error refusal(const RedisAddress& address) {
  auto backend = RedisBackend::connect(options_for(address));
  return backend ? Error{ErrorKind::internal, "no error"} : backend.error();
}

std::vector<std::string> read_all(LogBackend& backend, const std::string& job) {
  std::vector<std::string> events;
  auto top = backend.read(job, {}, [&](EventId, std::string_view e) {
    events.emplace_back(e);
    return true;
  });
  EXPECT_TRUE(top.ok()) << top.error().message;
  return events;
}

/// A server that answers every command with the same text.
class FakeServer {
 public:
  explicit FakeServer(std::string reply) : reply_(std::move(reply)) {
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address().path.copy(name.sun_path, sizeof name.sun_path - 1);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
        listen(listener_, 8) != 0) {
      throw std::runtime_error("cannot listen");
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  [[nodiscard]] RedisAddress address() const {
    RedisAddress address;
    address.path = (directory_.path() / "socket").string();
    return address;
  }

 private:
  void serve() {
    while (true) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      std::array<char, 4096> buffer;
      while (recv(client, buffer.data(), buffer.size(), 0) > 0) {
        if (send(client, reply_.data(), reply_.size(), MSG_NOSIGNAL) < 0) break;
      }
      close(client);
    }
  }

  test::ScratchDirectory directory_;
  std::string reply_;
  int listener_ = -1;
  std::thread thread_;
};

std::string bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

/// A server answers clients only once in 1024 commands that it loads: gives it that much to do.
constexpr const char* slow_loading = "key-load-delay 300";
void make_loading_long(const test::RedisServer& server) {
  auto connection = RedisConnection::connect(server.address());
  ASSERT_TRUE(connection.ok());
  constexpr int commands = 6000;
  for (int i = 0; i < commands; ++i) connection->append({"SET", "padding", "x"});
  for (int i = 0; i < commands; ++i) ASSERT_TRUE(connection->read().ok());
}

// ---------------------------------------------------------------------------------- addresses

TEST(RedisUrl, NamesHostPortLoginAndDatabase) {
  auto address = parse_redis_url("redis://me:p%40ss%2Fw@example.org:7000/3");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->host, "example.org");
  EXPECT_EQ(address->port, 7000);
  EXPECT_EQ(address->user, "me");
  EXPECT_EQ(address->password, "p@ss/w");
  EXPECT_EQ(address->database, 3);
  EXPECT_EQ(address->text(), "redis://example.org:7000");
  EXPECT_EQ(parse_redis_url("redis://localhost")->port, 6379);
  EXPECT_EQ(parse_redis_url("redis://:secret@localhost/")->password, "secret");
  EXPECT_EQ(parse_redis_url("redis://[::1]:7000")->host, "::1");
  EXPECT_EQ(parse_redis_url("redis://[::1]:7000")->text(), "redis://[::1]:7000");
}

TEST(RedisUrl, NamesASocket) {
  EXPECT_EQ(parse_redis_url("unix:///run/redis.sock")->path, "/run/redis.sock");
  auto address = parse_redis_url("redis+unix://u:p@/run/my%20redis.sock?db=2");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->path, "/run/my redis.sock");
  EXPECT_EQ(address->user, "u");
  EXPECT_EQ(address->password, "p");
  EXPECT_EQ(address->database, 2);
}

TEST(RedisUrl, SaysWhatIsWrongWithoutThePassword) {
  EXPECT_THAT(url_error("localhost:6379"), HasSubstr("has no scheme"));
  EXPECT_THAT(url_error("http://localhost"), HasSubstr("unknown scheme"));
  EXPECT_THAT(url_error("rediss://localhost"), HasSubstr("TLS"));
  EXPECT_THAT(url_error("redis://"), HasSubstr("has no host"));
  EXPECT_THAT(url_error("redis://user@host"), HasSubstr("without a password"));
  EXPECT_THAT(url_error("redis://host:99999"), HasSubstr("port"));
  EXPECT_THAT(url_error("redis://host/x"), HasSubstr("database"));
  EXPECT_THAT(url_error("redis://[::1"), HasSubstr("']'"));
  EXPECT_THAT(url_error("unix://relative"), HasSubstr("absolute path"));
  EXPECT_THAT(url_error("unix:///s?x=1"), HasSubstr("?db="));
  for (const char* url : {"redis://u:geheim%zz@host", "redis://u:geheim@host:x",
                          "redis://u:geheim@", "rediss://u:geheim@host", "unix://u:geheim@x"}) {
    EXPECT_THAT(url_error(url), AllOf(Not("no error"), Not(HasSubstr("geheim")))) << url;
  }
}

// ----------------------------------------------------------------------------- refused servers

TEST(RedisCheck, NobodyThere) {
  RedisAddress address;
  address.path = "/nowhere/redis.sock";
  const Error error = refusal(address);
  EXPECT_EQ(error.kind, ErrorKind::unavailable);
  EXPECT_THAT(error.message, HasSubstr("cannot reach Redis at unix:///nowhere/redis.sock"));
  address.path = std::string(200, '/');
  EXPECT_EQ(refusal(address).kind, ErrorKind::invalid);
}

TEST(RedisCheck, EvictionIsRefused) {
  const test::RedisServer server("maxmemory-policy allkeys-lru");
  const Error error = refusal(server.address());
  EXPECT_EQ(error.kind, ErrorKind::invalid);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("allkeys-lru"), HasSubstr("CONFIG SET maxmemory-policy noeviction")));
}

TEST(RedisCheck, AReplicaIsRefused) {
  const test::RedisServer server("replicaof 127.0.0.1 1");
  const Error error = refusal(server.address());
  EXPECT_EQ(error.kind, ErrorKind::invalid);
  EXPECT_THAT(error.message, HasSubstr("read-only replica of 127.0.0.1:1"));
}

TEST(RedisCheck, AnOldVersionIsRefused) {
  const FakeServer server(bulk("# Server\r\nredis_version:5.0.0\r\nrole:master\r\n"));
  const Error error = refusal(server.address());
  EXPECT_EQ(error.kind, ErrorKind::invalid);
  EXPECT_THAT(error.message, AllOf(HasSubstr("version 5.0.0"), HasSubstr("6.2 or later")));
}

TEST(RedisCheck, SomethingElseIsRefused) {
  const FakeServer server("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_THAT(refusal(server.address()).message, HasSubstr("not a Redis reply"));
}

TEST(RedisCheck, APasswordIsAskedFor) {
  const test::RedisServer server("user default on >geheim ~* &* +@all");
  RedisAddress address = server.address();
  Error error = refusal(address);
  EXPECT_EQ(error.kind, ErrorKind::denied);
  EXPECT_THAT(error.message, HasSubstr("needs a password"));

  address.password = "falsch";
  error = refusal(address);
  EXPECT_EQ(error.kind, ErrorKind::denied);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("password in the URL is wrong"), Not(HasSubstr("falsch"))));

  address.password = "geheim";
  EXPECT_EQ(connect(options_for(address))->durability(), "strict");
}

TEST(RedisCheck, APasswordTooManyIsNamed) {
  const test::RedisServer server;
  RedisAddress address = server.address();
  address.password = "geheim";
  EXPECT_THAT(refusal(address).message, HasSubstr("remove the password"));
}

TEST(RedisCheck, AMissingPermissionIsNamed) {
  for (const std::string command :
       {"info", "xadd", "xrange", "xrevrange", "exists", "smembers", "get", "multi"}) {
    const test::RedisServer server("user me on >pw " + redis_acl_rules("pd:") + " -" + command);
    RedisAddress address = server.address();
    address.user = "me";
    address.password = "pw";
    const Error error = refusal(address);
    EXPECT_EQ(error.kind, ErrorKind::denied);
    EXPECT_THAT(error.message, AllOf(HasSubstr("'" + command + "'"), HasSubstr("user 'me'"),
                                     HasSubstr("ACL SETUSER me")));
  }
}

TEST(RedisCheck, ForeignKeysAreNamed) {
  const test::RedisServer server("user me on >pw " + redis_acl_rules("other:"));
  RedisAddress address = server.address();
  address.user = "me";
  address.password = "pw";
  EXPECT_THAT(refusal(address).message, HasSubstr("keys"));
  RedisBackendOptions options = options_for(address);
  options.prefix = "other:";
  EXPECT_TRUE(connect(options)->create("a", {"owner"}).ok());
}

TEST(RedisCheck, ThePrefixMustNotMeddleWithTheHashTag) {
  RedisBackendOptions options;
  options.prefix = "a{b";
  EXPECT_EQ(RedisBackend::connect(options).error().kind, ErrorKind::invalid);
}

// --------------------------------------------------------------------------------- durability

TEST(RedisCheck, TellsTheLossWindow) {
  const test::RedisServer always;
  EXPECT_EQ(connect(options_for(always.address()))->durability(), "strict");
  const test::RedisServer second("appendfsync everysec");
  EXPECT_THAT(connect(options_for(second.address()))->durability(), StartsWith("bounded: "));
  const test::RedisServer lax("appendfsync no");
  EXPECT_THAT(connect(options_for(lax.address()))->durability(), StartsWith("none: "));
  const test::RedisServer none("appendonly no");
  EXPECT_THAT(connect(options_for(none.address()))->durability(),
              AllOf(StartsWith("none: "), HasSubstr("appendonly yes")));
}

TEST(RedisCheck, WithoutConfigTheOperatorDeclares) {
  const test::RedisServer server("user me on >pw " + redis_acl_rules("pd:"));
  RedisBackendOptions options = options_for(server.address());
  options.address.user = "me";
  options.address.password = "pw";
  EXPECT_THAT(connect(options)->durability(), AllOf(StartsWith("none: "), HasSubstr("declare")));
  options.declared_durability = "strict";
  EXPECT_EQ(connect(options)->durability(), "strict");
  options.declared_durability = "bounded";
  EXPECT_THAT(connect(options)->durability(), StartsWith("bounded: "));
  options.declared_durability = "perfect";
  EXPECT_EQ(RedisBackend::connect(options).error().kind, ErrorKind::invalid);
  // What the server itself tells counts more.
  const test::RedisServer open("appendfsync everysec");
  RedisBackendOptions frank = options_for(open.address());
  frank.declared_durability = "strict";
  EXPECT_THAT(connect(frank)->durability(), StartsWith("bounded: "));
}

// ----------------------------------------------------------------------------------- instance

TEST(RedisInstance, RecognisesItsServer) {
  const test::RedisServer server;
  const auto backend = connect(options_for(server.address()));
  auto id = backend->check_instance(std::nullopt);
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(id->size(), 36u);
  EXPECT_EQ(*backend->check_instance(std::nullopt), *id);
  EXPECT_EQ(*backend->check_instance(*id), *id);
  EXPECT_EQ(backend->check_instance("another").error().kind, ErrorKind::conflict);

  server.command({"FLUSHALL"});
  auto lost = backend->check_instance(*id);
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().kind, ErrorKind::corrupt);
  EXPECT_THAT(lost.error().message, HasSubstr(*id));
}

TEST(RedisInstance, TheStateDirectoryRemembersIt) {
  const test::ScratchDirectory state;
  const test::RedisServer server;
  const auto backend = connect(options_for(server.address()));
  ASSERT_TRUE(check_instance_file(*backend, state.path()).ok());
  ASSERT_TRUE(check_instance_file(*backend, state.path()).ok());
  // Another state directory that has met no server yet adopts this one's data.
  const test::ScratchDirectory moved;
  EXPECT_TRUE(check_instance_file(*backend, moved.path()).ok());

  const test::RedisServer other;
  const auto stranger = connect(options_for(other.address()));
  EXPECT_EQ(check_instance_file(*stranger, state.path()).error().kind, ErrorKind::corrupt);
  ASSERT_TRUE(stranger->check_instance(std::nullopt).ok());
  EXPECT_EQ(check_instance_file(*stranger, state.path()).error().kind, ErrorKind::conflict);

  std::ofstream(state.path() / "instance", std::ios::trunc).flush();
  EXPECT_EQ(check_instance_file(*backend, state.path()).error().kind, ErrorKind::denied);
  EXPECT_EQ(check_instance_file(*backend, state.path() / "missing").error().kind,
            ErrorKind::denied);
}

// ------------------------------------------------------------------- logs that are not as left

class DamagedLog : public testing::Test {
 protected:
  ErrorKind read_error() {
    auto top = backend_->read("a", {}, [](EventId, std::string_view) { return true; });
    return top ? ErrorKind::internal : top.error().kind;
  }

  test::RedisServer server_;
  std::unique_ptr<RedisBackend> backend_ = connect(options_for(server_.address()));
  const std::string key_ = "pd:{a}:log";
};

TEST_F(DamagedLog, ReadersRefuseGapsOverlapsAndStrangers) {
  const std::vector<std::function<void()>> damages = {
      [&] {
        server_.command({"XADD", key_, "1-4", "e", "x"});
      },  // a gap
      [&] {
        server_.command({"XADD", key_, "1-3", "e", "x", "e", "y"});
      },  // an overlap
      [&] {
        server_.command({"XADD", key_, "1-3", "f", "x"});
      },  // another field
      [&] {
        server_.command({"XADD", key_, "2-2", "e", "x"});
      },  // no owner
      [&] {
        server_.command({"XADD", key_, "2-1", "e", "x", "e", "y"});
      },  // number below 1
      [&] {
        server_.command({"XADD", key_, "*", "e", "x"});
      },  // a clock's id
      [&] {
        server_.command({"XDEL", key_, "1-1"});
      },  // the front gone
  };
  for (std::size_t i = 0; i < damages.size(); ++i) {
    server_.command({"FLUSHALL"});
    ASSERT_TRUE(backend_->create("a", {"owner", "b"}).ok());
    damages[i]();
    EXPECT_EQ(read_error(), ErrorKind::corrupt) << i;
  }
}

TEST_F(DamagedLog, WritersStop) {
  const std::vector<std::function<void()>> damages = {
      [&] {
        server_.command({"DEL", key_});
      },
      [&] {
        server_.command({"XADD", key_, "1-3", "e", "somebody else"});
      },
      [&] {
        server_.command({"XADD", key_, "1-3", "e", "c"});
        server_.command({"XDEL", key_, "1-3"});
      },
      [&] {
        server_.command({"DEL", key_});
        server_.command({"SET", key_, "a string"});
      },
      [&] {
        server_.command({"XADD", key_, "18446744073709551615-18446744073709551615", "e", "x"});
      },
  };
  for (std::size_t i = 0; i < damages.size(); ++i) {
    // With and without having written on this connection before.
    for (const bool warm : {false, true}) {
      server_.command({"FLUSHALL"});
      const auto backend = connect(options_for(server_.address()));
      ASSERT_TRUE(backend->create("a", {"owner"}).ok());
      const Batch first{"a", {1, 1}, {1, 2}, {"b"}};
      const Batch second{"a", {1, 2}, {1, 3}, {"c"}};
      ASSERT_TRUE(backend->write(std::span(&first, 1)).front().ok());
      if (!warm) server_.command({"CLIENT", "KILL", "TYPE", "normal"});
      damages[i]();
      auto answer = std::move(backend->write(std::span(&second, 1)).front());
      ASSERT_FALSE(answer.ok()) << i;
      EXPECT_EQ(answer.error().kind, ErrorKind::corrupt) << i << ": " << answer.error().message;
    }
  }
}

TEST_F(DamagedLog, AServerThatWentBackIsNoticed) {
  ASSERT_TRUE(backend_->create("a", {"owner"}).ok());
  const Batch first{"a", {1, 1}, {1, 2}, {"b"}};
  const Batch second{"a", {1, 2}, {1, 3}, {"c"}};
  ASSERT_TRUE(backend_->write(std::span(&first, 1)).front().ok());
  // What a crash under everysec does.
  server_.command({"DEL", key_});
  server_.command({"XADD", key_, "1-1", "e", "owner"});
  server_.command({"CLIENT", "KILL", "TYPE", "normal"});
  auto answer = std::move(backend_->write(std::span(&second, 1)).front());
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().kind, ErrorKind::corrupt);
  EXPECT_THAT(answer.error().message, HasSubstr("Redis has lost data"));
}

TEST_F(DamagedLog, AListedJobWithoutALogIsSkipped) {
  ASSERT_TRUE(backend_->create("a", {"owner"}).ok());
  server_.command({"SADD", "pd:jobs", "ghost"});
  EXPECT_THAT(*backend_->jobs(), testing::ElementsAre("a"));
}

// ----------------------------------------------------------------------- refusals under load

/// Appends numbers to one log until stopped.
class Load {
 public:
  explicit Load(LogBackend& backend) {
    auto top = backend.create("load", {"owner"});
    EXPECT_TRUE(top.ok());
    log_ = group_.emplace(backend).open("load", *top,
                                        [this](const Result<EventId>& last, std::size_t events) {
                                          if (last) {
                                            committed_ += events;
                                          } else {
                                            error_ = last.error();
                                            failed_ = true;
                                          }
                                        });
    thread_ = std::thread([this] {
      while (!stop_ && !failed_) {
        if (log_->backlog() > 500) {
          std::this_thread::yield();
          continue;
        }
        log_->append(std::to_string(appended_++));
      }
    });
  }
  ~Load() { finish(); }

  [[nodiscard]] std::size_t committed() const { return committed_; }
  /// Waits for further commits, to know that it flows.
  bool flows() {
    const std::size_t before = committed_;
    return test::eventually([&] { return committed_ > before + 20 || failed_; }) && !failed_;
  }
  /// Everything is written, or the log is lost.
  void finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    log_.reset();
    group_.reset();
  }
  [[nodiscard]] std::optional<Error> error() const { return failed_ ? error_ : std::nullopt; }

  /// After finish(): the log is the owner, then 0, 1, 2, ...: returns how many.
  std::size_t check(LogBackend& backend) {
    const auto events = read_all(backend, "load");
    for (std::size_t i = 1; i < events.size(); ++i) EXPECT_EQ(events[i], std::to_string(i - 1));
    return events.size() - 1;
  }
  [[nodiscard]] std::size_t appended() const { return appended_; }

 private:
  std::optional<GroupCommit> group_;
  std::shared_ptr<GroupCommit::Log> log_;
  std::atomic<std::size_t> appended_ = 0;
  std::atomic<std::size_t> committed_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  std::optional<Error> error_;
  std::thread thread_;
};

class Refusals : public testing::Test {
 protected:
  /// Refuses and accepts again, five times; nothing may be lost, doubled or reordered.
  void toggle(const std::function<void()>& on, const std::function<void()>& off,
              const std::string& sentence) {
    Load load(*backend_);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(load.flows());
      on();
      ASSERT_TRUE(test::eventually([&] { return !backend_->health().ok; }));
      EXPECT_THAT(backend_->health().reason, HasSubstr(sentence));
      off();
      ASSERT_TRUE(load.flows());
      ASSERT_TRUE(test::eventually([&] { return backend_->health().ok; }));
    }
    load.finish();
    EXPECT_EQ(load.check(*backend_), load.appended());
    EXPECT_EQ(load.committed(), load.appended());
  }

  test::RedisServer server_;
  std::unique_ptr<RedisBackend> backend_ = connect(options_for(server_.address()));
};

TEST_F(Refusals, OutOfMemory) {
  toggle(
      [&] {
        server_.command({"CONFIG", "SET", "maxmemory", "1"});
      },
      [&] {
        server_.command({"CONFIG", "SET", "maxmemory", "0"});
      },
      "maxmemory");
}

TEST_F(Refusals, ReadOnlyReplica) {
  toggle(
      [&] {
        server_.command({"REPLICAOF", "127.0.0.1", "1"});
      },
      [&] {
        server_.command({"REPLICAOF", "NO", "ONE"});
      },
      "read-only replica");
}

TEST_F(Refusals, TooFewReplicas) {
  toggle(
      [&] {
        server_.command({"CONFIG", "SET", "min-replicas-to-write", "1"});
      },
      [&] {
        server_.command({"CONFIG", "SET", "min-replicas-to-write", "0"});
      },
      "replicas");
}

TEST_F(Refusals, Frozen) {
  RedisBackendOptions options = options_for(server_.address());
  options.timeouts.command = std::chrono::milliseconds(100);
  backend_ = connect(options);
  toggle([&] { ::kill(server_.pid(), SIGSTOP); }, [&] { ::kill(server_.pid(), SIGCONT); },
         "no answer within 100 ms");
}

TEST_F(Refusals, Killed) {
  toggle([&] { server_.kill(); }, [&] { server_.start(); }, "Redis at");
}

TEST_F(Refusals, Disconnected) {
  Load load(*backend_);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(load.flows());
    server_.command({"CLIENT", "KILL", "TYPE", "normal"});
  }
  load.finish();
  EXPECT_EQ(load.check(*backend_), load.appended());
}

TEST_F(Refusals, Loading) {
  make_loading_long(server_);
  Load load(*backend_);
  ASSERT_TRUE(load.flows());
  server_.kill();
  server_.configure(slow_loading);
  server_.launch();
  ASSERT_TRUE(test::eventually(
      [&] { return backend_->health().reason.find("still loading") != std::string::npos; }));
  ASSERT_TRUE(load.flows());
  load.finish();
  EXPECT_EQ(load.check(*backend_), load.appended());
}

TEST_F(Refusals, WithoutPermissionItStops) {
  server_.command({"ACL", "SETUSER", "me", "on", ">pw", "~*", "+@all"});
  RedisBackendOptions options = options_for(server_.address());
  options.address.user = "me";
  options.address.password = "pw";
  const auto backend = connect(options);
  Load load(*backend);
  ASSERT_TRUE(load.flows());
  server_.command({"ACL", "SETUSER", "me", "-xadd"});
  ASSERT_FALSE(load.flows());
  load.finish();
  ASSERT_TRUE(load.error().has_value());
  EXPECT_EQ(load.error()->kind, ErrorKind::denied);
  EXPECT_THAT(load.error()->message, HasSubstr("xadd"));
  EXPECT_EQ(load.check(*backend_), load.committed());
}

TEST_F(Refusals, AStaleWriterIsFenced) {
  Load load(*backend_);
  ASSERT_TRUE(load.flows());
  const auto rival = connect(options_for(server_.address()));
  auto taken = rival->take_over("load", "rival");
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(*taken, (EventId{2, 1}));
  ASSERT_TRUE(test::eventually([&] { return load.error().has_value(); }));
  load.finish();
  EXPECT_EQ(load.error()->kind, ErrorKind::conflict);
  std::size_t old_events = 0;
  std::vector<std::string> new_events;
  auto top = rival->read("load", {1, 1}, [&](EventId id, std::string_view event) {
    if (id.epoch == 1) {
      EXPECT_EQ(event, std::to_string(old_events++));
    } else {
      new_events.emplace_back(event);
    }
    return true;
  });
  ASSERT_TRUE(top.ok());
  EXPECT_EQ(old_events, load.committed());
  EXPECT_THAT(new_events, testing::ElementsAre("rival"));
}

TEST_F(Refusals, CloseEndsAWriteThatRetries) {
  Load load(*backend_);
  ASSERT_TRUE(load.flows());
  server_.kill();
  ASSERT_TRUE(test::eventually([&] { return !backend_->health().ok; }));
  backend_->close();
  load.finish();
  ASSERT_TRUE(load.error().has_value());
  EXPECT_EQ(load.error()->kind, ErrorKind::unavailable);
}

TEST(RedisBackendTest, ConnectWaitsWhileTheServerLoads) {
  test::RedisServer server;
  ASSERT_TRUE(connect(options_for(server.address()))->create("a", {"owner", "created"}).ok());
  make_loading_long(server);
  server.configure(slow_loading);
  server.kill();
  server.launch();
  ASSERT_TRUE(test::eventually([&] { return RedisConnection::connect(server.address()).ok(); }));
  std::vector<std::string> progress;
  RedisBackendOptions options = options_for(server.address());
  options.on_progress = [&](const std::string& text) { progress.push_back(text); };
  const auto backend = connect(options);
  EXPECT_THAT(read_all(*backend, "a"), testing::ElementsAre("owner", "created"));
  ASSERT_FALSE(progress.empty());
  EXPECT_THAT(progress.front(), HasSubstr("is loading its data"));
}

TEST(RedisBackendTest, WithoutAServerOthersGiveUpAfterTheirPatience) {
  test::RedisServer server;
  RedisBackendOptions options = options_for(server.address());
  options.patience = std::chrono::milliseconds(20);
  const auto backend = connect(options);
  server.kill();
  EXPECT_EQ(backend->create("a", {"owner"}).error().kind, ErrorKind::unavailable);
  EXPECT_EQ(backend->take_over("a", "owner").error().kind, ErrorKind::unavailable);
  EXPECT_EQ(backend->jobs().error().kind, ErrorKind::unavailable);
  EXPECT_EQ(backend->read("a", {}, [](EventId, std::string_view) { return true; }).error().kind,
            ErrorKind::unavailable);
}

TEST(RedisBackendTest, BadJobNamesAreRefused) {
  const test::RedisServer server;
  const auto backend = connect(options_for(server.address()));
  for (const std::string& name :
       {std::string(), std::string("a}b"), std::string("a b"), std::string(65, 'a')}) {
    EXPECT_EQ(backend->create(name, {"owner"}).error().kind, ErrorKind::invalid);
  }
}

}  // namespace
}  // namespace paretod
