// The HTTP evaluator against a scripted server.

#include "evaluators/http/http_evaluator.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <nlohmann/json.hpp>

#include "adapters/http/address_rule.hpp"
#include "tests/functional/fake_http_server.hpp"
#include "tests/support/evaluators/reply_collector.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using testing::FakeHttpServer;
using testing::FakeReply;
using testing::FakeRequest;
using ::testing::HasSubstr;
using testing::ScriptedReply;

std::string result_for(const FakeRequest& request, double value) {
  const json sent = json::parse(request.body);
  return json{{"type", "result"}, {"id", sent["id"]}, {"objectives", {{"f", value}}}}.dump();
}

FakeReply hang_up() {
  FakeReply reply;
  reply.hang_up = true;
  return reply;
}

FakeReply never() {
  FakeReply reply;
  reply.never = true;
  return reply;
}

class HttpEvaluatorTest : public ::testing::Test {
 protected:
  /// A server that says hello, and answers everything else as `handler` says.
  void serve(FakeHttpServer::Handler handler, bool paid = false) {
    server_ = std::make_unique<FakeHttpServer>([handler, paid](const FakeRequest& request) {
      if (request.method != "GET" || request.target != "/evaluate") return handler(request);
      return FakeReply{200,
                       json{{"paretod", 1},
                            {"type", "hello"},
                            {"slots", 3},
                            {"paid", paid},
                            {"space", {{{"name", "x"}, {"type", "real"}, {"low", 0}, {"high", 1}}}},
                            {"objectives", {{{"name", "f"}, {"goal", "minimize"}}}}}
                           .dump(2)};
    });
    auto started = HttpEvaluator::start(
        {.url = server_->url() + "/evaluate", .slots = 0, .timeout_s = 30, .token_file = {}}, {});
    ASSERT_TRUE(started.ok()) << started.error().text();
    evaluator_ = std::move(*started);
    auto context = std::make_shared<EvaluationContext>();
    context->job = "job";
    context->space = SearchSpace::make(*evaluator_->describe().space).value();
    context->objectives = evaluator_->describe().objectives;
    context_ = std::move(context);
  }
  EvaluationReply reply_to(double x, double deadline_s = 0) {
    submit(x, deadline_s);
    return take(1).at(0);
  }
  std::uint64_t submit(double x, double deadline_s = 0) {
    const std::uint64_t ticket = next_ticket_++;
    evaluator_->evaluate({{ticket, context_, ticket, 1, {{x}}, deadline_s}}, replies_.sink());
    return ticket;
  }
  std::vector<EvaluationReply> take(std::size_t count) {
    replies_.wait_for(count);
    return replies_.take();
  }

  ReplyCollector replies_;
  std::unique_ptr<FakeHttpServer> server_;
  std::unique_ptr<HttpEvaluator> evaluator_;  // ends before the server
  std::shared_ptr<const EvaluationContext> context_;
  std::uint64_t next_ticket_ = 1;
};

TEST(HttpEvaluatorStart, SaysWhatIsWrongWithTheUrl) {
  const auto refusal = [](const HttpEvaluatorConfig& config) {
    const auto started = HttpEvaluator::start(config, {});
    return started ? "started" : started.error().text();
  };
  EXPECT_THAT(refusal({.url = "", .token_file = {}}), HasSubstr("/url: has to be an http"));
  EXPECT_THAT(refusal({.url = "file:///etc/passwd", .token_file = {}}), HasSubstr("/url: "));
  EXPECT_THAT(refusal({.url = "http://169.254.169.254/", .token_file = {}, .allow_private = true}),
              HasSubstr("never asked"));
  EXPECT_THAT(refusal({.url = "http://127.0.0.1:1/", .token_file = {}}), HasSubstr("connect"));
  EXPECT_THAT(refusal({.url = "http://127.0.0.1/", .token_file = "/no/such/file"}),
              HasSubstr("/token_file: "));
  FakeHttpServer moved([](const FakeRequest&) {
    return FakeReply{302, "", {{"Location", "http://127.0.0.1/other"}}};
  });
  EXPECT_THAT(refusal({.url = moved.url(), .token_file = {}}), HasSubstr("it answered 302"));
  EXPECT_EQ(moved.requests().size(), 1U);
}

TEST_F(HttpEvaluatorTest, AnswersAtOnceOnKeptConnections) {
  serve([](const FakeRequest& request) {
    const double x = json::parse(request.body)["candidate"]["x"];
    return FakeReply{200, result_for(request, 2 * x)};
  });
  EXPECT_EQ(evaluator_->describe().type, "http");
  EXPECT_EQ(evaluator_->describe().slots, 3U);
  for (int i = 0; i < 10; ++i) {
    const EvaluationReply reply = reply_to(0.05 * i);
    ASSERT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
    EXPECT_EQ(reply.outcome.objectives.at(0).value, 2 * (0.05 * i));
  }
  EXPECT_EQ(server_->connections(), 1U);
  EXPECT_EQ(server_->requests().at(1).header("Idempotency-Key"), "job:1:1");
}

TEST_F(HttpEvaluatorTest, AsksAgainWhereItIsTold) {
  int polls = 0;
  std::string result;
  serve([&](const FakeRequest& request) {
    if (request.method == "POST") {
      result = result_for(request, 7);
      return FakeReply{202, "", {{"Location", "jobs/1"}, {"Retry-After", "0"}}};
    }
    EXPECT_EQ(request.target, "/jobs/1");
    ++polls;
    if (polls == 1) return FakeReply{202, "", {{"Retry-After", "0"}}};
    if (polls == 2) return FakeReply{503, "", {{"Retry-After", "0"}}};
    if (polls == 3) {
      return FakeReply{
          200, R"({"type":"progress","id":"job:1:1","done":0.5})", {{"Retry-After", "0"}}};
    }
    return FakeReply{200, result};
  });
  submit(0.5);
  const auto replies = take(2);
  EXPECT_EQ(replies[0].kind, ReplyKind::progress);
  EXPECT_EQ(replies[0].done, 0.5);
  EXPECT_EQ(replies[1].outcome.objectives.at(0).value, 7);
}

TEST_F(HttpEvaluatorTest, StatusesAreSortedByWhatIsKnown) {
  ScriptedReply scripted;
  serve([&](const FakeRequest&) { return scripted.get(); });
  const auto kind_of = [&](FakeReply reply) {
    scripted = std::move(reply);
    return reply_to(0.5).kind;
  };
  EXPECT_EQ(kind_of({429, "slow down"}), ReplyKind::transient);
  EXPECT_EQ(kind_of({503, ""}), ReplyKind::transient);
  EXPECT_EQ(kind_of({500, ""}), ReplyKind::transient);
  EXPECT_EQ(kind_of({404, ""}), ReplyKind::fault);
  EXPECT_EQ(kind_of({302, "", {{"Location", "/other"}}}), ReplyKind::fault);
  EXPECT_EQ(kind_of({200, "hello"}), ReplyKind::fault);
  EXPECT_EQ(kind_of({200, R"({"type":"error","id":"job:0:1","kind":"transient"})"}),
            ReplyKind::fault);
  EXPECT_EQ(kind_of({202, ""}), ReplyKind::fault);
  EXPECT_EQ(kind_of({202, "", {{"Location", "http://127.0.0.2/x"}}}), ReplyKind::fault);
  EXPECT_EQ(kind_of({200, std::string((1 << 20) + 1, ' ')}), ReplyKind::fault);
  scripted = hang_up();
  EXPECT_EQ(reply_to(0.5).kind, ReplyKind::transient);
  scripted = {.body = "{}", .cut_after = 20};  // within the head
  EXPECT_EQ(reply_to(0.5).kind, ReplyKind::transient);
  scripted = never();
  EXPECT_EQ(reply_to(0.5, 0.1).kind, ReplyKind::transient);
}

TEST_F(HttpEvaluatorTest, WhatMayHaveBeenBilledIsUnknownAndNotSentTwice) {
  ScriptedReply scripted(hang_up());
  serve([&](const FakeRequest&) { return scripted.get(); }, true);
  for (std::size_t i = 0; i < 3; ++i) {
    if (i == 2) scripted = {.body = "{}", .cut_after = 20};
    const EvaluationReply reply = reply_to(0.5);
    EXPECT_EQ(reply.kind, ReplyKind::done);
    EXPECT_EQ(reply.outcome.status, TrialStatus::unknown);
    EXPECT_EQ(server_->requests().size(), i + 2);  // and the hello
  }
}

TEST_F(HttpEvaluatorTest, RetryAfterHoldsTheNextOnesBack) {
  serve([&](const FakeRequest&) { return FakeReply{429, "", {{"Retry-After", "3600"}}}; });
  EXPECT_EQ(reply_to(0.5).kind, ReplyKind::transient);
  evaluator_->cancel(submit(0.5));
  EXPECT_EQ(take(1).at(0).outcome.reason, "cancelled");
  EXPECT_EQ(server_->requests().size(), 2U);  // the hello, and the first one
}

TEST_F(HttpEvaluatorTest, ACancelEndsTheRequest) {
  serve([](const FakeRequest&) { return never(); });
  evaluator_->cancel(submit(0.5));
  const EvaluationReply reply = take(1).at(0);
  EXPECT_EQ(reply.kind, ReplyKind::done);
  EXPECT_EQ(reply.outcome.reason, "cancelled");
}

AddressClass class_of_text(const std::string& text) {
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    return class_of(reinterpret_cast<const sockaddr&>(v6));
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  EXPECT_EQ(inet_pton(AF_INET, text.c_str(), &v4.sin_addr), 1) << text;
  return class_of(reinterpret_cast<const sockaddr&>(v4));
}

TEST(AddressRule, SortsAddresses) {
  for (const char* text : {"169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255",
                           "100.100.100.200", "fe80::1", "::", "ff02::1", "fd00:ec2::254",
                           "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"}) {
    EXPECT_EQ(class_of_text(text), AddressClass::forbidden) << text;
  }
  for (const char* text : {"127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1",
                           "::1", "fd12::1", "::ffff:127.0.0.1"}) {
    EXPECT_EQ(class_of_text(text), AddressClass::internal) << text;
  }
  for (const char* text : {"8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"}) {
    EXPECT_EQ(class_of_text(text), AddressClass::open) << text;
  }
}

}  // namespace
}  // namespace paretod
