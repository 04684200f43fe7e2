// The HTTP server on loopback, driven through plain sockets so that every byte is the test's own.
#include "daemon/rest/http_server.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace paretod {
namespace {

using namespace std::chrono_literals;

/// Only how long a failing test may hang; no passing test waits for it.
constexpr auto patience = 30s;

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

struct Reply {
  int status = 0;  ///< 0: the connection ended instead
  std::string head;
  std::string body;
};

class Client {
 public:
  explicit Client(std::uint16_t port, int receive_buffer = 0)
      : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    const timeval limit{std::chrono::seconds(patience).count(), 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { hang_up(); }
  Client(Client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_), buffer_(other.buffer_) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  Client& operator=(Client&&) = delete;

  bool connected() const { return connected_; }
  bool was_reset() const { return reset_; }

  void hang_up() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  void end_of_input() { shutdown(fd_, SHUT_WR); }

  /// False once the server has gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// False at the end of the connection (or when patience is over: see timed_out()).
  bool receive() {
    std::vector<char> bytes(64 * 1024);
    const ssize_t got = recv(fd_, bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) timed_out_ = true;
    if (got < 0 && errno == ECONNRESET) reset_ = true;
    if (got <= 0) return false;
    buffer_.append(bytes.data(), static_cast<std::size_t>(got));
    return true;
  }

  bool readable_within(std::chrono::milliseconds time) const {
    pollfd entry{fd_, POLLIN, 0};
    return poll(&entry, 1, static_cast<int>(time.count())) > 0;
  }

  /// Everything up to and including `mark`, or what came before the end.
  std::string read_until(std::string_view mark) {
    std::size_t found = 0;
    while ((found = buffer_.find(mark)) == std::string::npos) {
      if (!receive()) return std::exchange(buffer_, "");
    }
    std::string out = buffer_.substr(0, found + mark.size());
    buffer_.erase(0, out.size());
    return out;
  }

  std::string read_to_end() {
    while (receive()) {
    }
    return std::exchange(buffer_, "");
  }

  /// True if the server closes the connection without another byte.
  bool closed() { return read_to_end().empty() && !timed_out_; }

  Reply read_reply(bool head_only = false) {
    Reply reply;
    reply.head = read_until("\r\n\r\n");
    if (reply.head.size() < 12) return reply;
    reply.status = std::stoi(reply.head.substr(9, 3));
    const std::size_t field = reply.head.find("Content-Length: ");
    if (head_only || field == std::string::npos) return reply;
    const std::size_t length = std::stoul(reply.head.substr(field + 16));
    while (buffer_.size() < length && receive()) {
    }
    reply.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return reply;
  }

 private:
  int fd_;
  bool connected_ = false;
  bool timed_out_ = false;
  bool reset_ = false;
  std::string buffer_;
};

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

std::string post(const std::string& path, const std::string& body, const std::string& fields = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// A server whose handler answers with the request's body and records what it saw.
class HttpServerTest : public testing::Test {
 protected:
  void start(HttpLimits limits = {}, std::vector<std::string> names = {}) {
    HttpHooks hooks;
    hooks.handler = [this](const HttpRequest& request) { return handle(request); };
    hooks.before_body = [this](const HttpRequest& head) {
      return before_body ? before_body(head) : BodyDecision{};
    };
    hooks.failed = [this](const HttpRequest&, const std::string& what) {
      const std::lock_guard lock(mutex_);
      failures_.push_back(what);
    };
    server = std::make_unique<HttpServer>(std::move(hooks), limits, std::move(names));
    const auto listening = server->listen("127.0.0.1", 0);
    ASSERT_TRUE(listening.ok()) << listening.error().message;
    server->start(2);
  }

  ~HttpServerTest() override { server.reset(); }

  Client connect(int receive_buffer = 0) const { return Client(server->port(), receive_buffer); }

  Reply ask(const std::string& bytes) const {
    Client client = connect();
    client.send(bytes);
    return client.read_reply();
  }

  std::vector<HttpRequest> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  std::vector<std::string> failures() const {
    const std::lock_guard lock(mutex_);
    return failures_;
  }
  std::vector<std::shared_ptr<EventStream>> streams() const {
    const std::lock_guard lock(mutex_);
    return streams_;
  }

  /// Opens an event stream and waits for the response head.
  Client listen_to_events(int receive_buffer = 0) {
    Client client = connect(receive_buffer);
    client.send(get("/events"));
    const std::string head = client.read_until("\r\n\r\n");
    EXPECT_NE(head.find("200 OK"), std::string::npos) << head;
    EXPECT_NE(head.find("Content-Type: text/event-stream"), std::string::npos);
    return client;
  }

  std::function<HttpResponse(const HttpRequest&)> handler;  ///< set before start, or empty
  std::function<BodyDecision(const HttpRequest&)> before_body;
  std::unique_ptr<HttpServer> server;

 private:
  HttpResponse handle(const HttpRequest& request) {
    HttpResponse response;
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(request);
      if (request.path == "/events") {
        response.stream = std::make_shared<EventStream>();
        streams_.push_back(response.stream);
      }
    }
    if (handler) return handler(request);
    response.content_type = "application/json";
    response.body = request.body.empty() ? "{}" : request.body;
    return response;
  }

  mutable std::mutex mutex_;
  std::vector<HttpRequest> seen_;
  std::vector<std::string> failures_;
  std::vector<std::shared_ptr<EventStream>> streams_;
};

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  start();
  Client client = connect();
  ASSERT_TRUE(client.send(get("/v1/jobs?a=b%20c")));
  const Reply first = client.read_reply();
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, "{}");
  for (const char* field :
       {"\r\nDate: ", "\r\nX-Content-Type-Options: nosniff\r\n", "\r\nCache-Control: no-store\r\n",
        "\r\nContent-Type: application/json\r\n"}) {
    EXPECT_NE(first.head.find(field), std::string::npos) << field;
  }
  EXPECT_EQ(first.head.find("Access-Control"), std::string::npos);
  EXPECT_EQ(first.head.find("Connection: close"), std::string::npos);
  ASSERT_TRUE(client.send(post("/v1/jobs", "{\"x\":1}")));
  EXPECT_EQ(client.read_reply().body, "{\"x\":1}");

  const auto requests = seen();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].method, "GET");
  EXPECT_EQ(requests[0].path, "/v1/jobs");
  EXPECT_EQ(requests[0].query_value("a"), "b c");
  EXPECT_EQ(requests[0].header("host"), "localhost");
  EXPECT_EQ(requests[0].peer, "127.0.0.1");
  EXPECT_EQ(requests[1].body, "{\"x\":1}");
}

TEST_F(HttpServerTest, ServesPipelinedRequestsInOrder) {
  start();
  Client client = connect();
  client.send(post("/1", "{\"n\":1}") + get("/2") + post("/3", "{\"n\":3}"));
  EXPECT_EQ(client.read_reply().body, "{\"n\":1}");
  EXPECT_EQ(client.read_reply().body, "{}");
  EXPECT_EQ(client.read_reply().body, "{\"n\":3}");
  EXPECT_EQ(seen()[1].path, "/2");
}

TEST_F(HttpServerTest, ReadsARequestSentByteByByte) {
  start();
  Client client = connect();
  for (const char c : post("/slow", "{\"n\":1}")) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_EQ(client.read_reply().body, "{\"n\":1}");
}

TEST_F(HttpServerTest, ClosesWhenAsked) {
  start();
  for (const char* request : {"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                              "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"}) {
    Client client = connect();
    client.send(request + get("/second"));
    const Reply reply = client.read_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.head.find("Connection: close"), std::string::npos);
    EXPECT_TRUE(client.closed());
  }
  EXPECT_EQ(seen().size(), 2U);
}

TEST_F(HttpServerTest, HeadHasNoBodyButItsLength) {
  start();
  Client client = connect();
  client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/next"));
  const Reply head = client.read_reply(true);
  EXPECT_NE(head.head.find("Content-Length: 2\r\n"), std::string::npos);
  EXPECT_EQ(client.read_reply().body, "{}");
}

TEST_F(HttpServerTest, HeadOfAnEventStreamEndsIt) {
  start();
  Client client = connect();
  client.send("HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/next"));
  EXPECT_NE(client.read_reply(true).head.find("text/event-stream"), std::string::npos);
  EXPECT_EQ(client.read_reply().body, "{}");
  EXPECT_TRUE(streams().at(0)->ended());
  EXPECT_EQ(server->counters().event_streams_open, 0U);
}

TEST_F(HttpServerTest, AnswersOptionsForTheWholeServer) {
  start();
  EXPECT_EQ(ask("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 204);
  EXPECT_TRUE(seen().empty());
}

TEST_F(HttpServerTest, HidesWhatAHandlerThrows) {
  handler = [](const HttpRequest& request) -> HttpResponse {
    if (request.path == "/odd") throw 7;
    throw std::runtime_error("secret");
  };
  start();
  Client client = connect();
  client.send(get("/"));
  const Reply reply = client.read_reply();
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.body.find("secret"), std::string::npos);
  EXPECT_NE(reply.head.find("application/problem+json"), std::string::npos);
  client.send(get("/odd"));
  EXPECT_EQ(client.read_reply().status, 500);
  EXPECT_EQ(failures(), (std::vector<std::string>{"secret", "unknown exception"}));
  EXPECT_EQ(server->counters().handler_failures, 2U);
}

TEST_F(HttpServerTest, DropsResponseFieldsThatHoldALineEnd) {
  handler = [](const HttpRequest&) {
    HttpResponse response;
    response.headers = {{"Location", "/a\r\nEvil: 1"}, {"ETag", "\"1\""}};
    return response;
  };
  start();
  const Reply reply = ask(get("/"));
  EXPECT_EQ(reply.head.find("Evil"), std::string::npos);
  EXPECT_NE(reply.head.find("ETag: \"1\""), std::string::npos);
}

TEST_F(HttpServerTest, SendsLargeBodies) {
  handler = [](const HttpRequest&) {
    HttpResponse response;
    for (int i = 0; i < 300'000; ++i) response.body += std::to_string(i);
    return response;
  };
  start();
  std::string expected;
  for (int i = 0; i < 300'000; ++i) expected += std::to_string(i);
  EXPECT_TRUE(ask(get("/")).body == expected);
}

// Bodies --------------------------------------------------------------------------------------

std::string chunked(const std::string& chunks, const std::string& path = "/chunked") {
  return "POST " + path +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\n" +
         chunks;
}

TEST_F(HttpServerTest, ReadsChunkedBodiesAndIgnoresTrailers) {
  start();
  Client client = connect();
  client.send(chunked("3;note=x\r\n{\"a\r\n4\r\n\":1}\r\n0\r\nAuthorization: Bearer x\r\n\r\n") +
              get("/next"));
  EXPECT_EQ(client.read_reply().body, "{\"a\":1}");
  EXPECT_EQ(client.read_reply().body, "{}");
  EXPECT_FALSE(seen()[0].header("authorization"));
}

TEST_F(HttpServerTest, CodingNamesAreCaseInsensitive) {
  start();
  EXPECT_EQ(ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "transfer-ENCODING: Chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n")
                .body,
            "[]");
}

TEST_F(HttpServerTest, BodiesMustBeJson) {
  start();
  const auto with_type = [&](const std::string& field) {
    return ask("POST / HTTP/1.1\r\nHost: localhost\r\n" + field + "Content-Length: 2\r\n\r\n{}")
        .status;
  };
  EXPECT_EQ(with_type("Content-Type: application/json\r\n"), 200);
  EXPECT_EQ(with_type("Content-Type: Application/JSON ; charset=utf-8\r\n"), 200);
  EXPECT_EQ(with_type("Content-Type: application/merge-patch+json\r\n"), 200);
  EXPECT_EQ(with_type(""), 415);
  EXPECT_EQ(with_type("Content-Type: text/plain\r\n"), 415);
  EXPECT_EQ(with_type("Content-Type: application/jsonx\r\n"), 415);
  EXPECT_EQ(with_type("Content-Type: application/+json\r\n"), 415);
  EXPECT_EQ(with_type("Content-Type: application/json\r\nContent-Encoding: gzip\r\n"), 415);
  EXPECT_EQ(ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").status, 200);
  EXPECT_EQ(ask("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
}

TEST_F(HttpServerTest, BodyLimitIsDecidedPerRequest) {
  before_body = [](const HttpRequest& head) {
    return BodyDecision{head.path == "/large" ? 100'000U : 10U, std::nullopt};
  };
  start();
  EXPECT_EQ(ask(post("/small", "[1,2,3,45]")).status, 200);
  const Reply reply = ask(post("/small", "[1,2,3,456]"));
  EXPECT_EQ(reply.status, 413);
  EXPECT_NE(reply.body.find("/problems/payload-too-large"), std::string::npos);
  EXPECT_NE(reply.body.find("10 bytes"), std::string::npos);
  EXPECT_EQ(ask(post("/large", std::string(100'000, '1'))).status, 200);
  EXPECT_EQ(ask(post("/large", std::string(100'001, '1'))).status, 413);
  EXPECT_EQ(ask(chunked("a\r\n[1,2,3,45]\r\n0\r\n\r\n", "/small")).status, 200);
  EXPECT_EQ(ask(chunked("6\r\n[1,2,3\r\n5\r\n,456]\r\n0\r\n\r\n", "/small")).status, 413);
  EXPECT_EQ(seen().size(), 3U);
}

TEST_F(HttpServerTest, AnUnreadBodyIsNotTheNextRequest) {
  HttpLimits limits;
  limits.linger = patience;
  start(limits);
  Client client = connect();
  // The server reads on, so that a client which writes before it reads gets its answer.
  EXPECT_TRUE(client.send(post("/", std::string(512 * 1024, 'x') + get("/smuggled"))));
  EXPECT_EQ(client.read_reply().status, 413);
  EXPECT_TRUE(client.closed());
  EXPECT_FALSE(client.was_reset());
  EXPECT_TRUE(seen().empty());
}

TEST_F(HttpServerTest, HeadsAreJudgedBeforeTheBodyIsRead) {
  before_body = [](const HttpRequest& head) {
    EXPECT_TRUE(head.body.empty());
    BodyDecision decision;
    if (head.header("authorization") != "Bearer good") {
      decision.refusal = problem_response(401, "/problems/unauthorized", "Unauthorized", "Token.");
    }
    return decision;
  };
  start();
  Client refused = connect();
  // The body is announced and never sent.
  refused.send(
      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 1000\r\n\r\n");
  EXPECT_EQ(refused.read_reply().status, 401);
  EXPECT_TRUE(refused.closed());
  Client client = connect();
  client.send(get("/"));
  EXPECT_EQ(client.read_reply().status, 401);
  client.send(post("/", "[]", "Authorization: Bearer good\r\n"));
  EXPECT_EQ(client.read_reply().status, 200);
  EXPECT_EQ(seen().size(), 1U);
}

TEST_F(HttpServerTest, AFailingBeforeBodyIsA500) {
  before_body = [](const HttpRequest&) -> BodyDecision { throw std::runtime_error("secret"); };
  start();
  EXPECT_EQ(ask(get("/")).status, 500);
  EXPECT_EQ(failures(), std::vector<std::string>{"secret"});
  EXPECT_TRUE(seen().empty());
}

TEST_F(HttpServerTest, MeetsTheExpectationOf100) {
  start();
  const std::string head =
      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  Client client = connect();
  client.send(head + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("[]");
  EXPECT_EQ(client.read_reply().body, "[]");

  EXPECT_EQ(ask(head + "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n").status, 413);
  EXPECT_EQ(ask(head + "Expect: miracles\r\nContent-Length: 2\r\n\r\n[]").status, 417);
}

// Framing -------------------------------------------------------------------------------------

struct Attack {
  const char* name;
  std::string bytes;
  int status = 400;
};

void PrintTo(const Attack& attack, std::ostream* out) {
  *out << attack.name;
}

std::string with(const std::string& fields, const std::string& rest = "") {
  return "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + fields +
         "\r\n" + rest;
}

std::vector<Attack> attacks() {
  const std::string te = "Transfer-Encoding: chunked\r\n";
  const std::string empty = "0\r\n\r\n";
  return {
      {"te_gzip", with("Transfer-Encoding: gzip\r\n")},
      {"te_identity", with("Transfer-Encoding: identity\r\n")},
      {"te_empty", with("Transfer-Encoding:\r\n")},
      {"te_chunked_gzip", with("Transfer-Encoding: chunked, gzip\r\n", empty)},
      {"te_gzip_chunked", with("Transfer-Encoding: gzip, chunked\r\n", empty)},
      {"te_chunked_twice", with("Transfer-Encoding: chunked, chunked\r\n", empty)},
      {"te_repeated", with(te + te, empty)},
      {"te_repeated_gzip", with(te + "Transfer-Encoding: gzip\r\n", empty)},
      {"te_x", with("Transfer-Encoding: xchunked\r\n", empty)},
      {"te_quoted", with("Transfer-Encoding: \"chunked\"\r\n", empty)},
      {"te_parameter", with("Transfer-Encoding: chunked;q=1\r\n", empty)},
      {"te_comma", with("Transfer-Encoding: ,chunked\r\n", empty)},
      {"te_vertical_tab", with("Transfer-Encoding: \vchunked\r\n", empty)},
      {"te_folded", with("Transfer-Encoding:\r\n chunked\r\n", empty)},
      {"te_space_before_colon", with("Transfer-Encoding : chunked\r\n", empty)},
      {"te_leading_space", with(" Transfer-Encoding: chunked\r\n", empty)},
      {"te_after_bare_lf", with("X: y\nTransfer-Encoding: chunked\r\n", empty)},
      {"te_after_bare_cr", with("X: y\rTransfer-Encoding: chunked\r\n", empty)},
      {"te_and_cl", with(te + "Content-Length: 5\r\n", empty)},
      {"cl_and_te", with("Content-Length: 5\r\n" + te, empty)},
      {"te_gzip_and_cl", with("Transfer-Encoding: gzip\r\nContent-Length: 0\r\n")},
      {"te_http10", "POST /a HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
                        te + "\r\n" + empty},
      {"cl_repeated", with("Content-Length: 2\r\nContent-Length: 2\r\n", "[]")},
      {"cl_differs", with("Content-Length: 0\r\nContent-Length: 2\r\n", "[]")},
      {"cl_list", with("Content-Length: 2, 2\r\n", "[]")},
      {"cl_plus", with("Content-Length: +2\r\n", "[]")},
      {"cl_minus", with("Content-Length: -2\r\n", "[]")},
      {"cl_hex", with("Content-Length: 0x2\r\n", "[]")},
      {"cl_blank", with("Content-Length: 2 2\r\n", "[]")},
      {"cl_empty", with("Content-Length:\r\n", "[]")},
      {"cl_overflow", with("Content-Length: 18446744073709551618\r\n", "[]")},
      {"host_missing", "GET /a HTTP/1.1\r\n\r\n"},
      {"host_missing_http10", "GET /a HTTP/1.0\r\n\r\n"},
      {"host_repeated", "GET /a HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"},
      {"host_two", "GET /a HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n"},
      {"host_empty", "GET /a HTTP/1.1\r\nHost:\r\n\r\n"},
      {"host_user", "GET /a HTTP/1.1\r\nHost: evil@localhost\r\n\r\n"},
      {"host_list", "GET /a HTTP/1.1\r\nHost: localhost, evil\r\n\r\n"},
      {"host_port_name", "GET /a HTTP/1.1\r\nHost: localhost:http\r\n\r\n"},
      {"host_open_bracket", "GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n"},
      {"host_other", "GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
      {"host_suffix", "GET /a HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n", 421},
      {"authorization_repeated", with("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n")},
      {"nul", with(std::string("X: a\0b\r\n", 8))},
      {"no_name", with(": x\r\n")},
      {"no_colon", with("Nonsense\r\n")},
      {"name_with_nonsense", with("X{}: y\r\n")},
      {"leading_crlf", "\r\n\r\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"two_spaces", "GET  /a HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"no_version", "GET /a\r\nHost: localhost\r\n\r\n"},
      {"space_in_target", "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 505},
      {"http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"http09_version", "GET /a HTTP/0.9\r\nHost: localhost\r\n\r\n", 505},
      {"http12", "GET /a HTTP/1.2\r\nHost: localhost\r\n\r\n", 505},
      {"target_absolute", "GET http://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"target_authority", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"target_star", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"target_fragment", "GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"target_percent", "GET /a%2 HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"target_nul", "GET /a%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {"chunk_size_word", with(te, "zz\r\n[]\r\n" + empty)},
      {"chunk_size_minus", with(te, "-2\r\n[]\r\n" + empty)},
      {"chunk_size_prefix", with(te, "0x2\r\n[]\r\n" + empty)},
      {"chunk_size_empty", with(te, "\r\n[]\r\n" + empty)},
      {"chunk_size_overflow", with(te, "10000000000000002\r\n[]\r\n" + empty)},
      {"chunk_too_long", with(te, "2\r\n[]]\r\n" + empty)},
      {"chunk_bare_lf", with(te, "2\n[]\n0\n\n\r\n\r\n")},
      {"chunk_extension_flood",
       with(te, "2;x=" + std::string(100'000, 'x') + "\r\n[]\r\n" + empty)},
      {"trailer_flood", with(
                            te, "2\r\n[]\r\n0\r\n" +
                                    [] {
                                      std::string trailers;
                                      for (int i = 0; i < 2'000; ++i)
                                        trailers += "X-Trailer: 0123456789\r\n";
                                      return trailers + "\r\n";
                                    }())},
  };
}

class Smuggling : public HttpServerTest, public testing::WithParamInterface<Attack> {};

TEST_P(Smuggling, IsRefusedAndNothingAfterItIsSeen) {
  HttpLimits limits;
  limits.linger = 200ms;
  start(limits);
  Client client = connect();
  client.send(GetParam().bytes + get("/smuggled") + get("/smuggled"));
  const Reply reply = client.read_reply();
  EXPECT_EQ(reply.status, GetParam().status) << reply.body;
  EXPECT_NE(reply.head.find("application/problem+json"), std::string::npos);
  EXPECT_NE(reply.head.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(seen().empty());
}

INSTANTIATE_TEST_SUITE_P(Corpus, Smuggling, testing::ValuesIn(attacks()),
                         [](const auto& attack) { return std::string(attack.param.name); });

TEST_F(HttpServerTest, SurvivesMutatedRequests) {
  HttpLimits limits;
  limits.linger = 10ms;
  start(limits);
  std::vector<std::string> seeds = {get("/a"), post("/a", "[1,2]"),
                                    chunked("3;a=b\r\n[1,\r\n2\r\n2]\r\n0\r\nT: x\r\n\r\n")};
  std::mt19937 random(7);
  const std::string spice = "\r\n\r\n 0;:,\tG5f\xff";
  for (int i = 0; i < 600; ++i) {
    std::string bytes = seeds[random() % seeds.size()];
    for (unsigned change = 0; change <= random() % 4; ++change) {
      const std::size_t at = random() % bytes.size();
      const char c = spice[random() % spice.size()];
      switch (random() % 3) {
        case 0:
          bytes[at] = c;
          break;
        case 1:
          bytes.insert(at, 1, c);
          break;
        default:
          bytes.erase(at, 1);
          break;
      }
    }
    Client client = connect();
    client.send(bytes);
    client.end_of_input();
    client.read_to_end();
  }
  EXPECT_EQ(ask(get("/still-there")).status, 200);
}

// Callers -------------------------------------------------------------------------------------

TEST_F(HttpServerTest, AnswersForLoopbackAndConfiguredNamesOnly) {
  start({}, {"Search.Example"});
  const auto host = [&](const std::string& name) {
    return ask("GET / HTTP/1.1\r\nHost: " + name + "\r\n\r\n").status;
  };
  for (const char* good :
       {"localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]", "[::1]:99", "search.example:443"}) {
    EXPECT_EQ(host(good), 200) << good;
  }
  for (const char* bad : {"evil.example", "127.0.0.2", "localhost.", "[::2]"}) {
    EXPECT_EQ(host(bad), 421) << bad;
  }
}

TEST_F(HttpServerTest, RefusesChangesFromPagesOfAnotherOrigin) {
  start();
  const auto from = [&](const std::string& method, const std::string& origin) {
    return ask(method + " /v1/jobs/a:cancel HTTP/1.1\r\nHost: localhost:80\r\nOrigin: " + origin +
               "\r\n\r\n")
        .status;
  };
  EXPECT_EQ(from("POST", "http://localhost:80"), 200);
  EXPECT_EQ(from("POST", "http://localhost:81"), 403);
  EXPECT_EQ(from("POST", "https://evil.example"), 403);
  EXPECT_EQ(from("POST", "null"), 403);
  EXPECT_EQ(from("DELETE", "null"), 403);
  EXPECT_EQ(from("GET", "https://evil.example"), 200);
}

// Limits --------------------------------------------------------------------------------------

TEST_F(HttpServerTest, LimitsTheHeader) {
  start();
  const std::string start_of_head = "GET / HTTP/1.1\r\nHost: localhost\r\nX: ";
  const std::size_t room = 8 * 1024 - start_of_head.size() - 4;
  EXPECT_EQ(ask(start_of_head + std::string(room, 'x') + "\r\n\r\n").status, 200);
  EXPECT_EQ(ask(start_of_head + std::string(room + 1, 'x') + "\r\n\r\n").status, 431);
  // Refused without waiting for its end.
  EXPECT_EQ(ask(start_of_head + std::string(10'000, 'x')).status, 431);

  const auto fields = [&](int count) {
    std::string head = "GET / HTTP/1.1\r\nHost: localhost\r\n";
    for (int i = 1; i < count; ++i) head += "X: y\r\n";
    return ask(head + "\r\n").status;
  };
  EXPECT_EQ(fields(64), 200);
  EXPECT_EQ(fields(65), 431);
}

TEST_F(HttpServerTest, LimitsTheTarget) {
  start();
  EXPECT_EQ(ask(get("/" + std::string(2047, 'a'))).status, 200);
  const Reply reply = ask(get("/" + std::string(2048, 'a')));
  EXPECT_EQ(reply.status, 414);
  EXPECT_NE(reply.body.find("2048 bytes"), std::string::npos);
  EXPECT_EQ(ask("GET /" + std::string(20'000, 'a')).status, 414);
}

TEST_F(HttpServerTest, LimitsRequestsPerConnection) {
  HttpLimits limits;
  limits.requests_per_connection = 3;
  start(limits);
  Client client = connect();
  client.send(get("/1") + get("/2") + get("/3") + get("/4"));
  EXPECT_EQ(client.read_reply().head.find("Connection: close"), std::string::npos);
  EXPECT_EQ(client.read_reply().head.find("Connection: close"), std::string::npos);
  EXPECT_NE(client.read_reply().head.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(seen().size(), 3U);
}

TEST_F(HttpServerTest, ClosesASlowHeader) {
  HttpLimits limits;
  limits.header_deadline = 100ms;
  start(limits);
  Client silent = connect();
  Client dripping = connect();
  dripping.send("GET / HTTP/1.1\r\nX: ");
  // Progress does not extend the deadline.  The bytes stay far below the header limit.
  int drops = 0;
  while (!dripping.readable_within(5ms) && drops < 6'000) {
    dripping.send("x");
    ++drops;
  }
  EXPECT_LT(drops, 6'000);
  EXPECT_TRUE(dripping.closed());
  EXPECT_TRUE(silent.closed());
  EXPECT_TRUE(eventually([&] { return server->counters().deadlines_missed == 2; }));
}

TEST_F(HttpServerTest, ClosesASlowSecondHeader) {
  HttpLimits limits;
  limits.header_deadline = 100ms;
  limits.idle_deadline = patience;
  start(limits);
  Client client = connect();
  client.send(get("/"));
  EXPECT_EQ(client.read_reply().status, 200);
  client.send("G");
  EXPECT_TRUE(client.closed());
}

TEST_F(HttpServerTest, ClosesASlowBody) {
  HttpLimits limits;
  limits.body_deadline = 100ms;
  start(limits);
  Client client = connect();
  client.send(with("Content-Length: 60000\r\n", "["));
  int drops = 0;
  while (!client.readable_within(5ms) && drops < 6'000) {
    client.send(" ");
    ++drops;
  }
  EXPECT_LT(drops, 6'000);
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(eventually([&] { return server->counters().deadlines_missed == 1; }));
  EXPECT_TRUE(seen().empty());
}

TEST_F(HttpServerTest, ClosesAnIdleConnection) {
  HttpLimits limits;
  limits.idle_deadline = 20ms;
  start(limits);
  Client client = connect();
  client.send(get("/"));
  EXPECT_EQ(client.read_reply().status, 200);
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(eventually([&] { return server->counters().deadlines_missed == 1; }));
}

TEST_F(HttpServerTest, ClosesASlowReader) {
  handler = [](const HttpRequest&) {
    HttpResponse response;
    response.body.assign(32 * 1024 * 1024, 'x');
    return response;
  };
  HttpLimits limits;
  limits.write_deadline = 50ms;
  start(limits);
  Client client = connect(4096);
  client.send(get("/"));
  EXPECT_TRUE(eventually([&] { return server->counters().deadlines_missed == 1; }));
  EXPECT_TRUE(eventually([&] { return server->counters().connections_open == 0; }));
}

TEST_F(HttpServerTest, ABodyCutShortIsNoRequest) {
  start();
  Client client = connect();
  client.send(with("Content-Length: 10\r\n", "[1"));
  client.end_of_input();
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(seen().empty());
}

TEST_F(HttpServerTest, EvictsTheConnectionThatWaitsLongest) {
  HttpLimits limits;
  limits.connections = 2;
  start(limits);
  Client first = connect();
  ASSERT_TRUE(eventually([&] { return server->counters().connections_open == 1; }));
  Client second = connect();
  ASSERT_TRUE(eventually([&] { return server->counters().connections_open == 2; }));
  // An answered request puts the first connection behind the second.
  first.send(get("/first"));
  EXPECT_EQ(first.read_reply().status, 200);
  second.send("GET");
  EXPECT_EQ(ask(get("/third")).status, 200);
  EXPECT_TRUE(second.closed());
  EXPECT_EQ(server->counters().connections_evicted, 1U);
  first.send(get("/again"));
  EXPECT_EQ(first.read_reply().status, 200);
}

TEST_F(HttpServerTest, RefusesConnectionsWhenAllAreBusy) {
  HttpLimits limits;
  limits.connections = 2;
  limits.linger = 50ms;
  start(limits);
  const Client first = listen_to_events();
  Client second = listen_to_events();
  Client third = connect();
  third.send(get("/third"));
  const Reply reply = third.read_reply();
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(reply.head.find("Retry-After: 1"), std::string::npos);
  EXPECT_NE(reply.body.find("/problems/too-many-connections"), std::string::npos);
  EXPECT_EQ(server->counters().connections_refused, 1U);
  second.hang_up();
  ASSERT_TRUE(eventually([&] { return server->counters().event_streams_open == 1; }));
  EXPECT_TRUE(eventually([&] { return ask(get("/fourth")).status == 200; }));
}

TEST_F(HttpServerTest, LimitsConnectionsOfOneAddress) {
  HttpLimits limits;
  limits.connections_per_loopback = 1;
  start(limits);
  Client first = connect();
  first.send(get("/"));
  EXPECT_EQ(first.read_reply().status, 200);
  EXPECT_EQ(ask(get("/second")).status, 503);
  first.hang_up();
  EXPECT_TRUE(eventually([&] { return ask(get("/third")).status == 200; }));
}

// Event streams -------------------------------------------------------------------------------

EventStream::Frame event(const std::string& id, const std::string& data) {
  return std::make_shared<const std::string>(format_event(id, "told", data));
}

TEST_F(HttpServerTest, FansOneFrameOutToAllClients) {
  start();
  std::vector<Client> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(listen_to_events());
  EXPECT_EQ(server->counters().event_streams_open, 5U);
  for (int i = 0; i < 100; ++i) {
    const auto frame = event("1-" + std::to_string(i), "{}");
    for (const auto& stream : streams()) EXPECT_TRUE(stream->push(frame));
  }
  for (Client& client : clients) {
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(client.read_until("\n\n"),
                "id: 1-" + std::to_string(i) + "\nevent: told\ndata: {}\n\n");
    }
  }
  for (const auto& stream : streams()) stream->close();
  for (Client& client : clients) EXPECT_TRUE(client.closed());
  EXPECT_TRUE(eventually([&] { return server->counters().event_streams_open == 0; }));
}

TEST_F(HttpServerTest, EventsArePushedFromManyThreads) {
  start();
  Client client = listen_to_events();
  const auto stream = streams().at(0);
  std::vector<std::thread> producers;
  for (int p = 0; p < 4; ++p) {
    producers.emplace_back([&stream] {
      for (int i = 0; i < 500; ++i) EXPECT_TRUE(stream->push(event("", "x")));
    });
  }
  for (std::thread& producer : producers) producer.join();
  stream->close();
  const std::string all = client.read_to_end();
  EXPECT_EQ(all.size(), 2'000 * format_event("", "told", "x").size());
}

TEST_F(HttpServerTest, ALaggingClientIsResetAndTheConnectionCloses) {
  start();
  Client client = listen_to_events(4096);
  const auto stream = streams().at(0);
  const auto frame = event("1-1", std::string(16 * 1024, 'x'));
  std::promise<void> ended;
  stream->on_end([&] { ended.set_value(); });
  EXPECT_TRUE(stream->push(frame));
  EXPECT_EQ(client.read_until("\n\n"), *frame);
  int accepted = 0;
  while (stream->push(frame)) ++accepted;
  ASSERT_EQ(ended.get_future().wait_for(patience), std::future_status::ready);
  std::string all = client.read_to_end();
  const std::string reset =
      "event: reset\ndata: {\"reason\":\"lagging\",\"limit_bytes\":262144}\n\n";
  ASSERT_GE(all.size(), reset.size());
  EXPECT_EQ(all.substr(all.size() - reset.size()), reset);
  all.resize(all.size() - reset.size());
  // What came before is whole frames, fewer than were accepted.
  EXPECT_EQ(all.size() % frame->size(), 0U);
  EXPECT_LT(all.size() / frame->size(), static_cast<std::size_t>(accepted));
  EXPECT_TRUE(eventually([&] { return server->counters().event_streams_reset == 1; }));
}

TEST_F(HttpServerTest, AStalledListenerIsClosed) {
  HttpLimits limits;
  limits.write_deadline = 50ms;
  start(limits);
  const Client client = listen_to_events(4096);
  // Each frame follows the one before without lag, until the client's window is full.
  const auto frame = event("1-1", std::string(200 * 1024, 'x'));
  streams().at(0)->on_drained([&frame, weak = std::weak_ptr(streams().at(0))] {
    const auto stream = weak.lock();
    EXPECT_TRUE(stream->push(frame));
  });
  EXPECT_TRUE(eventually([&] { return server->counters().event_streams_open == 0; }));
  EXPECT_TRUE(eventually([&] { return server->counters().deadlines_missed == 1; }));
}

TEST_F(HttpServerTest, ALongHistoryIsPagedWithoutLagging) {
  start();
  Client client = connect();
  // Frames are pushed only when the client has taken all before them.
  client.send(get("/events"));
  ASSERT_TRUE(eventually([&] { return streams().size() == 1; }));
  const auto stream = streams().at(0);
  const auto page = event("", std::string(100 * 1024, 'x'));
  int pages = 0;
  stream->on_drained([&pages, &page, weak = std::weak_ptr(stream)] {
    const auto target = weak.lock();
    if (++pages <= 50) {
      EXPECT_TRUE(target->push(page));
    } else {
      target->close();
    }
  });
  client.read_until("\r\n\r\n");
  EXPECT_EQ(client.read_to_end().size(), 50 * page->size());
  EXPECT_TRUE(eventually([&] { return server->counters().event_streams_open == 0; }));
  EXPECT_EQ(server->counters().event_streams_reset, 0U);
}

TEST_F(HttpServerTest, AThrowingProducerEndsItsStreamOnly) {
  start();
  Client client = listen_to_events();
  streams().at(0)->on_drained([] { throw std::runtime_error("producer"); });
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(eventually([&] { return server->counters().event_streams_open == 0; }));
  EXPECT_EQ(failures(), std::vector<std::string>{"producer"});
  EXPECT_EQ(ask(get("/")).status, 200);
}

TEST_F(HttpServerTest, NoticesThatAListenerHasGone) {
  start();
  Client client = listen_to_events();
  const auto stream = streams().at(0);
  std::promise<void> ended;
  stream->on_end([&] { ended.set_value(); });
  client.hang_up();
  ASSERT_EQ(ended.get_future().wait_for(patience), std::future_status::ready);
  EXPECT_FALSE(stream->push(event("", "x")));
  EXPECT_TRUE(eventually([&] { return server->counters().connections_open == 0; }));
}

TEST_F(HttpServerTest, AListenerThatSendsMoreIsClosed) {
  start();
  Client client = listen_to_events();
  client.send(get("/smuggled"));
  client.read_to_end();
  EXPECT_TRUE(eventually([&] { return server->counters().connections_open == 0; }));
  EXPECT_EQ(seen().size(), 1U);
}

TEST_F(HttpServerTest, KeepsQuietStreamsAlive) {
  HttpLimits limits;
  limits.event_keep_alive = 5ms;
  start(limits);
  Client client = listen_to_events();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.read_until("\n\n"), ": keep-alive\n\n");
}

TEST_F(HttpServerTest, LimitsEventStreams) {
  HttpLimits limits;
  limits.event_streams = 2;
  start(limits);
  Client first = listen_to_events();
  const Client second = listen_to_events();
  Client third = connect();
  third.send(get("/events"));
  EXPECT_EQ(third.read_reply().status, 503);
  EXPECT_TRUE(streams().at(2)->ended());
  // The connection itself is as good as before.
  third.send(get("/other"));
  EXPECT_EQ(third.read_reply().status, 200);
  first.hang_up();
  EXPECT_TRUE(eventually([&] { return server->counters().event_streams_open == 1; }));
  const Client fourth = listen_to_events();
}

TEST_F(HttpServerTest, StreamsMayOutliveTheServer) {
  start();
  Client client = listen_to_events();
  const auto stream = streams().at(0);
  std::atomic<bool> pushing{true};
  std::thread producer([&] {
    while (stream->push(event("", "x"))) {
    }
    pushing = false;
  });
  // Keeps the producer from lagging.
  std::thread reader([&] { client.read_to_end(); });
  server.reset();
  EXPECT_TRUE(eventually([&] { return !pushing; }));
  producer.join();
  reader.join();
  stream->close();
}

// Life ----------------------------------------------------------------------------------------

TEST_F(HttpServerTest, SaysWhatToDoAboutATakenPort) {
  start();
  HttpHooks hooks;
  hooks.handler = [](const HttpRequest&) { return HttpResponse{}; };
  HttpServer second(hooks);
  const auto listening = second.listen("127.0.0.1", server->port());
  ASSERT_FALSE(listening.ok());
  EXPECT_EQ(listening.error().kind, ErrorKind::conflict);
  const std::string& message = listening.error().message;
  EXPECT_NE(message.find("127.0.0.1:" + std::to_string(server->port())), std::string::npos);
  EXPECT_NE(message.find("another port"), std::string::npos);
  // Still usable.
  ASSERT_TRUE(second.listen("localhost", 0).ok());
  second.start(1);
  Client client(second.port());
  client.send(get("/"));
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpServerTest, RefusesAddressesItCannotUse) {
  HttpHooks hooks;
  hooks.handler = [](const HttpRequest&) { return HttpResponse{}; };
  HttpServer other(hooks);
  EXPECT_EQ(other.listen("example", 0).error().kind, ErrorKind::invalid);
  EXPECT_NE(other.listen("203.0.113.7", 0).error().message.find("no such address"),
            std::string::npos);
  EXPECT_THROW(other.start(1), std::logic_error);
  EXPECT_THROW(HttpServer(HttpHooks{}), std::invalid_argument);
  HttpLimits narrow;
  narrow.buffer_bytes = narrow.header_bytes;
  EXPECT_THROW(HttpServer(hooks, narrow), std::invalid_argument);
}

TEST_F(HttpServerTest, StopsWhileClientsAreConnected) {
  start();
  Client silent = connect();
  Client in_header = connect();
  in_header.send("GET / HT");
  Client in_body = connect();
  in_body.send(with("Content-Length: 10\r\n", "[1"));
  Client idle = connect();
  idle.send(get("/"));
  EXPECT_EQ(idle.read_reply().status, 200);
  Client listening = listen_to_events();
  ASSERT_TRUE(eventually([&] { return server->counters().connections_open == 5; }));
  server->stop();
  EXPECT_TRUE(silent.closed());
  in_header.read_to_end();
  in_body.read_to_end();
  EXPECT_TRUE(idle.closed());
  EXPECT_TRUE(listening.closed());
  EXPECT_TRUE(streams().at(0)->ended());
  EXPECT_EQ(server->counters().connections_open, 0U);
  EXPECT_FALSE(connect().connected());
  server->stop();
}

TEST_F(HttpServerTest, StopsWithoutEverStarting) {
  HttpHooks hooks;
  hooks.handler = [](const HttpRequest&) { return HttpResponse{}; };
  HttpServer unused(hooks);
  ASSERT_TRUE(unused.listen("127.0.0.1", 0).ok());
  unused.stop();
  EXPECT_EQ(unused.counters().connections_accepted, 0U);
}

TEST_F(HttpServerTest, StopAcceptingLeavesConnectionsAlone) {
  start();
  Client client = connect();
  client.send(get("/1"));
  EXPECT_EQ(client.read_reply().status, 200);
  server->stop_accepting();
  EXPECT_TRUE(eventually([&] { return !connect().connected(); }));
  client.send(get("/2"));
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpServerTest, DrainsIdleAtOnceAndLetsRequestsEnd) {
  std::promise<void> go_on;
  std::promise<void> reached;
  handler = [&, gate = go_on.get_future().share()](const HttpRequest& request) {
    if (request.path == "/long") {
      reached.set_value();
      gate.wait();
    }
    HttpResponse response;
    response.body = "done";
    return response;
  };
  start();
  Client idle = connect();
  idle.send(get("/"));
  EXPECT_EQ(idle.read_reply().status, 200);
  Client busy = connect();
  busy.send(get("/long") + get("/after"));
  reached.get_future().wait();
  EXPECT_FALSE(server->drain(0ms));
  EXPECT_TRUE(idle.closed());
  go_on.set_value();
  const Reply reply = busy.read_reply();
  EXPECT_EQ(reply.body, "done");
  EXPECT_NE(reply.head.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(busy.closed());
  busy.hang_up();
  EXPECT_TRUE(server->drain(patience));
  EXPECT_EQ(seen().size(), 2U);
}

TEST_F(HttpServerTest, DrainEndsEventStreamsAfterWhatIsQueued) {
  start();
  Client client = listen_to_events();
  EXPECT_TRUE(streams().at(0)->push(event("1-1", "{}")));
  EXPECT_TRUE(server->drain(patience));
  EXPECT_EQ(client.read_to_end(), "id: 1-1\nevent: told\ndata: {}\n\n");
}

TEST_F(HttpServerTest, CountsWhatItDoes) {
  start();
  EXPECT_EQ(ask(get("/")).status, 200);
  EXPECT_EQ(ask("nonsense\r\n\r\n").status, 400);
  EXPECT_TRUE(eventually([&] { return server->counters().connections_open == 0; }));
  const HttpCounters counters = server->counters();
  EXPECT_EQ(counters.connections_accepted, 2U);
  EXPECT_EQ(counters.requests, 1U);
  EXPECT_EQ(counters.requests_malformed, 1U);
  EXPECT_EQ(counters.responses[1], 1U);
  EXPECT_EQ(counters.responses[3], 1U);
}

}  // namespace
}  // namespace paretod
