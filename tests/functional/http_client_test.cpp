#include "adapters/http/http_client.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "tests/functional/fake_http_server.hpp"

namespace paretod {
namespace {

using testing::FakeHttpServer;
using testing::FakeReply;
using testing::FakeRequest;

FakeReply hello(const FakeRequest&) {
  return {.status = 200, .body = "hello", .headers = {{"X-Kind", " greeting "}}};
}

TEST(HttpClient, ReturnsStatusHeadersAndBody) {
  FakeHttpServer server(hello);
  HttpClient client;
  const auto reply = client.request("GET", server.url() + "/a?b=1", {{"X-Mine", "yes"}});
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->body, "hello");
  EXPECT_EQ(reply->header("x-kind"), "greeting");
  EXPECT_EQ(reply->header("x-other"), std::nullopt);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].method, "GET");
  EXPECT_EQ(requests[0].target, "/a?b=1");
  EXPECT_EQ(requests[0].header("x-mine"), "yes");
  EXPECT_EQ(requests[0].header("user-agent"), "paretod");
}

TEST(HttpClient, SendsBodiesAsTheyAre) {
  FakeHttpServer server(hello);
  HttpClient client;
  const std::string body = std::string("a\0b", 3) + std::string(100'000, 'x');
  ASSERT_TRUE(client.request("POST", server.url() + "/p", {}, body).ok());
  ASSERT_TRUE(client.request("POST", server.url() + "/empty").ok());
  ASSERT_TRUE(client.request("DELETE", server.url() + "/d").ok());
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].body, body);
  EXPECT_EQ(requests[0].header("expect"), "");
  EXPECT_EQ(requests[1].header("content-length"), "0");
  EXPECT_EQ(requests[2].method, "DELETE");
}

TEST(HttpClient, ReusesTheConnectionForGetButNotForPost) {
  FakeHttpServer server(hello);
  HttpClient client;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client.request("GET", server.url()).ok());
  EXPECT_EQ(server.connections(), 1u);
  ASSERT_TRUE(client.request("POST", server.url()).ok());
  EXPECT_EQ(server.connections(), 2u);
  ASSERT_TRUE(client.request("POST", server.url()).ok());
  EXPECT_EQ(server.connections(), 3u);
}

TEST(HttpClient, NeverSendsAPostTwice) {
  FakeHttpServer server([](const FakeRequest& request) {
    return request.method == "GET" ? FakeReply{} : FakeReply{.body = "", .hang_up = true};
  });
  HttpClient client;
  ASSERT_TRUE(client.request("GET", server.url()).ok());
  const auto reply = client.request("POST", server.url(), {}, "pay");
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().kind, ErrorKind::unavailable);
  EXPECT_NE(reply.error().message.find("broke the connection off"), std::string::npos);
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST(HttpClient, DoesNotFollowRedirects) {
  FakeHttpServer server([](const FakeRequest&) {
    return FakeReply{.status = 302, .body = "", .headers = {{"Location", "/elsewhere"}}};
  });
  HttpClient client;
  const auto reply = client.request("GET", server.url());
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->status, 302);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(HttpClient, IgnoresTheProxyOfTheEnvironmentForLoopback) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  FakeHttpServer server(hello);
  const auto reply = HttpClient().request("GET", server.url());
  unsetenv("http_proxy");
  EXPECT_TRUE(reply.ok());
}

TEST(HttpClient, RefusesBodiesAndHeadersAboveTheirCaps) {
  FakeHttpServer server([](const FakeRequest& request) {
    return request.target == "/header"
               ? FakeReply{.body = "", .headers = {{"X", std::string(5000, 'x')}}}
               : FakeReply{.body = std::string(5000, 'x')};
  });
  HttpClientOptions options;
  options.max_body = 4999;
  options.max_header = 4096;
  HttpClient client(options);
  for (const char* path : {"/header", "/body"}) {
    const auto reply = client.request("GET", server.url() + path);
    ASSERT_FALSE(reply.ok()) << path;
    EXPECT_EQ(reply.error().kind, ErrorKind::exhausted);
  }
}

TEST(HttpClient, ATruncatedBodyIsAFailure) {
  FakeHttpServer server(
      [](const FakeRequest&) { return FakeReply{.body = "half", .missing_bytes = 4}; });
  const auto reply = HttpClient().request("GET", server.url());
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().kind, ErrorKind::unavailable);
}

TEST(HttpClient, AnAnswerCutAnywhereIsAFailure) {
  std::atomic<std::size_t> sent = 0;
  FakeHttpServer server([&](const FakeRequest&) {
    return FakeReply{.body = "whole", .headers = {{"ETag", "1"}}, .cut_after = sent};
  });
  const std::string whole = "HTTP/1.1 200 Fake\r\nETag: 1\r\nContent-Length: 5\r\n\r\nwhole";
  for (; sent < whole.size(); ++sent) {
    for (const char* method : {"GET", "POST"}) {
      const auto reply = HttpClient().request(method, server.url());
      ASSERT_FALSE(reply.ok()) << method << " after " << sent << " bytes";
      EXPECT_EQ(reply.error().kind, ErrorKind::unavailable);
    }
  }
  const auto reply = HttpClient().request("GET", server.url());
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->body, "whole");
}

TEST(HttpClient, SaysWhyNothingAnswers) {
  std::string url;
  { url = FakeHttpServer(hello).url(); }
  HttpClient client;
  const auto refused = client.request("GET", url);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(refused.error().message, "connection refused");
}

TEST(HttpClient, GivesUpOnAServerThatDoesNotAnswer) {
  FakeHttpServer server([](const FakeRequest&) { return FakeReply{.body = "", .never = true}; });
  HttpClientOptions options;
  options.timeout_s = 0.2;
  const auto reply = HttpClient(options).request("GET", server.url());
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().kind, ErrorKind::unavailable);
  EXPECT_NE(reply.error().message.find("did not answer within 0.2 s"), std::string::npos)
      << reply.error().message;
}

TEST(HttpClient, CanBeCancelled) {
  FakeHttpServer server([](const FakeRequest&) { return FakeReply{.body = "", .never = true}; });
  HttpClientOptions options;
  options.timeout_s = 600;
  options.cancelled = [&server] { return !server.requests().empty(); };
  const auto reply = HttpClient(options).request("GET", server.url());
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().kind, ErrorKind::unavailable);
}

TEST(HttpClient, RefusesWhatIsNoHttpRequest) {
  HttpClient client;
  for (const char* url :
       {"", "file:///etc/passwd", "ftp://127.0.0.1/", "not a url", "http://127.0.0.1:1/\r\nX: y"}) {
    const auto reply = client.request("GET", url);
    ASSERT_FALSE(reply.ok()) << url;
    EXPECT_EQ(reply.error().kind, ErrorKind::invalid) << url;
  }
  const auto reply = client.request("GET", "http://127.0.0.1:1/", {{"X", "a\r\nY: b"}});
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().kind, ErrorKind::invalid);
}

TEST(HttpClient, StreamsABody) {
  FakeHttpServer server(
      [](const FakeRequest&) { return FakeReply{.body = std::string(300'000, 'z')}; });
  HttpClientOptions options;
  options.max_body = 10;
  HttpClient client(options);
  std::size_t pieces = 0;
  std::size_t bytes = 0;
  const auto reply = client.stream(server.url(), {}, [&](std::string_view data) {
    ++pieces;
    bytes += data.size();
    return true;
  });
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(bytes, 300'000u);
  EXPECT_GT(pieces, 1u);
  EXPECT_TRUE(reply->body.empty());
}

TEST(HttpClient, ASinkCanEndAStream) {
  FakeHttpServer server(
      [](const FakeRequest&) { return FakeReply{.body = std::string(300'000, 'z')}; });
  std::size_t pieces = 0;
  const auto reply = HttpClient().stream(server.url(), {}, [&](std::string_view) {
    ++pieces;
    return false;
  });
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(pieces, 1u);
}

TEST(HttpClient, AnErrorIsNotStreamed) {
  FakeHttpServer server([](const FakeRequest&) { return FakeReply{.status = 404, .body = "no"}; });
  const auto reply = HttpClient().stream(server.url(), {}, [](std::string_view) {
    ADD_FAILURE() << "an error went to the sink";
    return true;
  });
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->status, 404);
  EXPECT_EQ(reply->body, "no");
}

TEST(HttpClient, EscapesForUrls) {
  EXPECT_EQ(url_escape("a b/ü~1."), "a%20b%2F%C3%BC~1.");
}

}  // namespace
}  // namespace paretod
