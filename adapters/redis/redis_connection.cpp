#include "adapters/redis/redis_connection.hpp"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>
#include <utility>

#include "adapters/redis/redis_refusal.hpp"

namespace paretod {
namespace {

using Clock = std::chrono::steady_clock;

struct ReaderDeleter {
  void operator()(redisReader* reader) const { redisReaderFree(reader); }
};

struct ReplyDeleter {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};

std::string system_text(int code) {
  return std::generic_category().message(code);
}

RedisReply convert(const redisReply& raw) {
  RedisReply reply;
  switch (raw.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      reply.kind = RedisReply::Kind::text;
      reply.text.assign(raw.str, static_cast<std::size_t>(raw.len));
      break;
    case REDIS_REPLY_ERROR:
      reply.kind = RedisReply::Kind::error;
      reply.text.assign(raw.str, static_cast<std::size_t>(raw.len));
      break;
    case REDIS_REPLY_INTEGER:
      reply.kind = RedisReply::Kind::integer;
      reply.integer = raw.integer;
      break;
    case REDIS_REPLY_ARRAY:
      reply.kind = RedisReply::Kind::array;
      reply.elements.reserve(raw.elements);
      for (std::size_t i = 0; i < raw.elements; ++i) {
        reply.elements.push_back(convert(*raw.element[i]));
      }
      break;
    default:
      break;
  }
  return reply;
}

/// Whether `fd` became ready for `events` before the deadline.
bool wait_for(int fd, short events, Clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd polled{fd, events, 0};
    const int ready = poll(&polled, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

/// Connects a non-blocking socket; 0, or the errno of the failure.
int connect_socket(int fd, const sockaddr* address, socklen_t length, Clock::time_point deadline) {
  if (::connect(fd, address, length) == 0) return 0;
  // A unix socket whose backlog is full says EAGAIN and does not go on by itself.
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(fd, POLLOUT, deadline)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

Error unreachable(const RedisAddress& address, const std::string& why) {
  return Error{ErrorKind::unavailable, "cannot reach Redis at " + address.text() + ": " + why};
}

Result<int> open_unix(const RedisAddress& address, Clock::time_point deadline) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (address.path.size() >= sizeof name.sun_path) {
    return invalid("the Redis socket path '" + address.path + "' is longer than " +
                   std::to_string(sizeof name.sun_path - 1) + " bytes");
  }
  address.path.copy(name.sun_path, address.path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return unreachable(address, system_text(errno));
  const int error =
      connect_socket(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name, deadline);
  if (error != 0) {
    close(fd);
    return unreachable(address, system_text(error));
  }
  return fd;
}

Result<int> open_tcp(const RedisAddress& address, Clock::time_point deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (failure != 0) return unreachable(address, gai_strerror(failure));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  int error = EADDRNOTAVAIL;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const int fd =
        socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    if (fd < 0) {
      error = errno;
      continue;
    }
    error = connect_socket(fd, at->ai_addr, at->ai_addrlen, deadline);
    if (error == 0) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      return fd;
    }
    close(fd);
  }
  return unreachable(address, system_text(error));
}

void append_number(std::string& out, char mark, std::size_t value) {
  std::array<char, 24> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out += mark;
  out.append(digits.data(), end);
  out += "\r\n";
}

}  // namespace

struct RedisConnection::State {
  State(int descriptor, RedisAddress where, RedisTimeouts limits)
      : fd(descriptor), address(std::move(where)), timeouts(limits), reader(redisReaderCreate()) {}
  ~State() { shut(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void shut() {
    if (fd >= 0) close(std::exchange(fd, -1));
  }

  Error fail(const std::string& why) {
    shut();
    return Error{ErrorKind::unavailable, "lost Redis at " + address.text() + ": " + why};
  }

  /// Sends all of `out`.
  Result<void> flush(Clock::time_point deadline) {
    std::size_t sent = 0;
    while (sent < out.size()) {
      const ssize_t n = send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n >= 0) {
        sent += static_cast<std::size_t>(n);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!wait_for(fd, POLLOUT, deadline)) return fail(late());
      } else if (errno != EINTR) {
        return fail(system_text(errno));
      }
    }
    out.clear();
    return {};
  }

  [[nodiscard]] std::string late() const {
    return "no answer within " + std::to_string(timeouts.command.count()) + " ms";
  }

  int fd;
  RedisAddress address;
  RedisTimeouts timeouts;
  std::unique_ptr<redisReader, ReaderDeleter> reader;
  std::string out;                 ///< not yet sent
  std::size_t outstanding = 0;     ///< replies not yet read
  std::array<char, 64 * 1024> in;  ///< scratch
};

RedisConnection::RedisConnection(std::unique_ptr<State> state) : state_(std::move(state)) {}
RedisConnection::~RedisConnection() = default;
RedisConnection::RedisConnection(RedisConnection&&) noexcept = default;
RedisConnection& RedisConnection::operator=(RedisConnection&&) noexcept = default;

Result<RedisConnection> RedisConnection::connect(const RedisAddress& address,
                                                 RedisTimeouts timeouts) {
  const auto deadline = Clock::now() + timeouts.connect;
  Result<int> fd =
      address.path.empty() ? open_tcp(address, deadline) : open_unix(address, deadline);
  if (!fd) return fd.error();
  RedisConnection connection(std::make_unique<State>(*fd, address, timeouts));
  if (!address.password.empty()) {
    auto reply = address.user.empty()
                     ? connection.command({"AUTH", address.password})
                     : connection.command({"AUTH", address.user, address.password});
    if (!reply) return reply.error();
    if (reply->is_error()) return RedisRefusal(reply->text).error(address);
  }
  if (address.database != 0) {
    auto reply = connection.command({"SELECT", std::to_string(address.database)});
    if (!reply) return reply.error();
    if (reply->is_error()) return RedisRefusal(reply->text).error(address);
  }
  return connection;
}

void RedisConnection::append(std::span<const std::string_view> arguments) {
  std::string& out = state_->out;
  ++state_->outstanding;
  append_number(out, '*', arguments.size());
  for (const std::string_view argument : arguments) {
    append_number(out, '$', argument.size());
    out += argument;
    out += "\r\n";
  }
}

void RedisConnection::append(std::initializer_list<std::string_view> arguments) {
  append(std::span(arguments.begin(), arguments.size()));
}

Result<RedisReply> RedisConnection::read() {
  State& state = *state_;
  if (state.fd < 0) return state.fail("the connection is closed");
  const auto deadline = Clock::now() + state.timeouts.command;
  if (auto sent = state.flush(deadline); !sent) return sent.error();
  while (true) {
    void* raw = nullptr;
    if (redisReaderGetReply(state.reader.get(), &raw) != REDIS_OK) {
      Error error =
          state.fail("it sent what is not a Redis reply: " + std::string(state.reader->errstr));
      error.kind = ErrorKind::invalid;
      return error;
    }
    if (raw != nullptr) {
      const std::unique_ptr<redisReply, ReplyDeleter> reply(static_cast<redisReply*>(raw));
      --state.outstanding;
      return convert(*reply);
    }
    const ssize_t n = recv(state.fd, state.in.data(), state.in.size(), 0);
    if (n > 0) {
      if (redisReaderFeed(state.reader.get(), state.in.data(), static_cast<std::size_t>(n)) !=
          REDIS_OK) {
        return state.fail("out of memory");
      }
    } else if (n == 0) {
      return state.fail("it closed the connection");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(state.fd, POLLIN, deadline)) return state.fail(state.late());
    } else if (errno != EINTR) {
      return state.fail(system_text(errno));
    }
  }
}

Result<RedisReply> RedisConnection::command(std::initializer_list<std::string_view> arguments) {
  append(arguments);
  return read();
}

bool RedisConnection::usable() const {
  return state_->fd >= 0;
}

bool RedisConnection::idle() const {
  return usable() && state_->outstanding == 0;
}

}  // namespace paretod
