// A request that travels as a message and a reply that travels back lose nothing.

#include "evaluators/process/relay.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "evaluators/process/protocol.hpp"
#include "tests/support/mixed_space.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::vector<Objective> objectives = {{"fd", Goal::minimize}, {"acc", Goal::maximize}};

EvaluationContext context_of_job() {
  EvaluationContext context;
  context.job = "a-job";
  context.space = mixed_space();
  context.objectives = objectives;
  context.params = {{"steps", std::int64_t{10}}, {"mode", std::string("fast")}};
  context.seed = std::numeric_limits<std::uint64_t>::max();
  return context;
}

json message_of(const EvaluationRequest& request) {
  return json::parse(evaluate_line(request, {}));
}

TEST(Relay, ARequestArrivesBitForBit) {
  const auto context = std::make_shared<const EvaluationContext>(context_of_job());
  Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    EvaluationRequest sent;
    sent.context = context;
    sent.trial = 17;
    sent.attempt = 2;
    sent.candidate = {context->space.sample(rng), 1000, 3};
    sent.deadline_s = 12.5;
    const json message = message_of(sent);

    const auto known = context_from_message(message, context->space, objectives);
    ASSERT_TRUE(known.ok()) << known.error().text();
    EXPECT_EQ(known->job, "a-job");
    EXPECT_EQ(known->params, context->params);
    EXPECT_EQ(known->seed, context->seed);
    const auto got =
        request_from_message(message, std::make_shared<const EvaluationContext>(*known));
    ASSERT_TRUE(got.ok()) << got.error().text();
    EXPECT_EQ(got->id(), "a-job:17:2");
    EXPECT_TRUE(got->candidate.same_as(sent.candidate));
    EXPECT_EQ(got->deadline_s, 12.5);
  }
}

TEST(Relay, RefusalsPointAtTheField) {
  const auto context = std::make_shared<const EvaluationContext>(context_of_job());
  EvaluationRequest sent;
  sent.context = context;
  sent.trial = 1;
  sent.candidate.point = context->space.resting();
  const auto refusal = [&](auto change) {
    json message = message_of(sent);
    change(message);
    const auto got = request_from_message(message, context);
    return got ? "accepted" : got.error().text();
  };
  EXPECT_THAT(refusal([](json& m) { m["id"] = "a-job:x:1"; }), HasSubstr("/id: has to be"));
  EXPECT_THAT(refusal([](json& m) { m["id"] = "other:1:1"; }), HasSubstr("another job"));
  EXPECT_THAT(refusal([](json& m) { m.erase("candidate"); }), HasSubstr("/candidate: "));
  EXPECT_THAT(refusal([](json& m) { m["candidate"]["layers"] = 9; }),
              HasSubstr("/candidate/layers"));
  EXPECT_THAT(refusal([](json& m) { m["deadline_s"] = -1; }), HasSubstr("/deadline_s"));
}

EvaluationReply there_and_back(const EvaluationReply& reply) {
  const std::string line = message_from_reply("a-job:17:1", reply, objectives).dump();
  const auto message = parse_message(line);
  EXPECT_TRUE(message.ok()) << line;
  if (!message) return {};
  if (const auto* result = std::get_if<ResultMessage>(&*message)) {
    return reply_of(*result, objectives, 99);
  }
  if (const auto* error = std::get_if<ErrorMessage>(&*message)) return reply_of(*error, 99);
  return reply_of(std::get<ProgressMessage>(*message), objectives);
}

TEST(Relay, AResultArrivesWhole) {
  EvaluationReply reply;
  reply.outcome.objectives = {{0.1, 0.3, 1000}, {-2.5}};
  reply.outcome.constraints = {-0.2, 1};
  reply.outcome.metrics = {{"mmd", 1.0 / 3}};
  reply.outcome.examples = {{}, {1, 0, 0.1F}};
  reply.outcome.cost = {1.5, 900, 1200};
  const EvaluationReply got = there_and_back(reply);
  EXPECT_EQ(got.kind, ReplyKind::done);
  EXPECT_EQ(got.outcome.status, TrialStatus::ok);
  ASSERT_EQ(got.outcome.objectives.size(), 2U);
  EXPECT_EQ(got.outcome.objectives[0].value, 0.1);
  EXPECT_EQ(got.outcome.objectives[0].standard_error, 0.3);
  EXPECT_EQ(got.outcome.objectives[0].count, 1000U);
  EXPECT_EQ(got.outcome.objectives[1].value, -2.5);
  EXPECT_FALSE(got.outcome.objectives[1].has_error());
  EXPECT_EQ(got.outcome.constraints, reply.outcome.constraints);
  EXPECT_EQ(got.outcome.metrics, reply.outcome.metrics);
  EXPECT_EQ(got.outcome.examples, reply.outcome.examples);
  EXPECT_EQ(got.outcome.cost, reply.outcome.cost);
}

TEST(Relay, FailuresKeepTheirKind) {
  const std::vector<std::pair<ReplyKind, TrialStatus>> failures = {
      {ReplyKind::done, TrialStatus::infeasible}, {ReplyKind::done, TrialStatus::failed},
      {ReplyKind::done, TrialStatus::unknown},    {ReplyKind::transient, TrialStatus::failed},
      {ReplyKind::fault, TrialStatus::failed},
  };
  for (const auto& [kind, status] : failures) {
    EvaluationReply reply;
    reply.kind = kind;
    reply.outcome = Outcome::failure(status, "why");
    reply.outcome.cost = {0.25, 3, 0};
    const EvaluationReply got = there_and_back(reply);
    EXPECT_EQ(got.kind, kind);
    EXPECT_EQ(got.outcome.status, status);
    EXPECT_EQ(got.outcome.reason, "why");
    EXPECT_EQ(got.outcome.cost, reply.outcome.cost);
  }
}

TEST(Relay, ProgressKeepsWhatIsKnown) {
  EvaluationReply reply;
  reply.kind = ReplyKind::progress;
  reply.done = 0.4;
  reply.outcome.objectives = {{std::numeric_limits<double>::quiet_NaN()}, {0.75, 0.1, 8}};
  reply.outcome.examples = {{}, {1, 1, 0}};
  const EvaluationReply got = there_and_back(reply);
  EXPECT_EQ(got.kind, ReplyKind::progress);
  EXPECT_EQ(got.done, 0.4);
  ASSERT_EQ(got.outcome.objectives.size(), 2U);
  EXPECT_TRUE(std::isnan(got.outcome.objectives[0].value));
  EXPECT_EQ(got.outcome.objectives[1].value, 0.75);
  EXPECT_EQ(got.outcome.examples, reply.outcome.examples);
  EXPECT_EQ(got.outcome.reason, "");
}

}  // namespace
}  // namespace paretod
