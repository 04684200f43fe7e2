#pragma once
// An HTTP/1.1 server for tests of clients: scripted answers, recorded requests, and the
// misbehaviour that a client has to survive.  Loopback; a thread per connection, which is kept open
// for further requests.

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace paretod::testing {

struct FakeRequest {
  std::string method;
  std::string target;
  std::string head;  ///< request line and fields
  std::string body;

  /// The value of a header field, whatever its case; "" without it.
  [[nodiscard]] std::string header(const std::string& name) const;
};

struct FakeReply {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
  /// Instead of answering, close the connection.
  bool hang_up = false;
  /// Instead of answering, wait until the client closes the connection.
  bool never = false;
  /// Announce so many bytes more than are sent.
  std::size_t missing_bytes = 0;
  /// Close the connection after so many bytes of the answer.
  std::optional<std::size_t> cut_after = {};
};

/// What a handler answers until the test says otherwise, between two requests.
class ScriptedReply {
 public:
  ScriptedReply() = default;
  explicit ScriptedReply(FakeReply reply) : reply_(std::move(reply)) {}
  ScriptedReply& operator=(FakeReply reply) {
    const std::lock_guard lock(mutex_);
    reply_ = std::move(reply);
    return *this;
  }
  [[nodiscard]] FakeReply get() const {
    const std::lock_guard lock(mutex_);
    return reply_;
  }

 private:
  mutable std::mutex mutex_;
  FakeReply reply_;
};

class FakeHttpServer {
 public:
  using Handler = std::function<FakeReply(const FakeRequest&)>;

  /// The handler is called on the connections' threads, one call at a time.
  explicit FakeHttpServer(Handler handler);
  ~FakeHttpServer();
  FakeHttpServer(const FakeHttpServer&) = delete;
  FakeHttpServer& operator=(const FakeHttpServer&) = delete;

  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::vector<FakeRequest> requests() const;
  /// How many connections were opened so far.
  [[nodiscard]] std::size_t connections() const;

 private:
  void accept_all();
  void serve(int connection);

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::mutex handling_;
  mutable std::mutex mutex_;
  std::vector<FakeRequest> requests_;
  std::vector<std::pair<int, std::thread>> connections_;  // closed when the server ends
  std::thread acceptor_;
};

}  // namespace paretod::testing
