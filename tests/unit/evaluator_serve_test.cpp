// The far end of the evaluator protocol: an evaluator of ours as a program.

#include "evaluators/process/serve.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "evaluators/process/protocol.hpp"

namespace paretod {
namespace {

using nlohmann::json;

/// Answers x at once, unless x is above 1: then it waits to be cancelled.
class Identity final : public Evaluator {
 public:
  [[nodiscard]] EvaluatorDescription describe() const override {
    EvaluatorDescription description;
    description.slots = 3;
    Parameter x;
    x.name = "x";
    x.low = 0;
    x.high = 2;
    description.space = {x};
    description.objectives = {{"f", Goal::maximize}};
    description.metrics = {"twice"};
    description.version = "7";
    description.fidelity_unit = "images";
    description.default_fidelity = 20;
    description.params = {{"scale", "multiplies", ParamValue(1.0), 0, 10}};
    return description;
  }
  [[nodiscard]] Problems check(const EvaluationContext& context) const override {
    if (context.params.contains("odd")) return {{"/evaluator/params/odd", "is not known"}};
    return {};
  }
  void evaluate(std::vector<EvaluationRequest> requests, Reply reply) override {
    for (const EvaluationRequest& request : requests) {
      contexts.push_back(request.context);
      const double x = request.candidate.point[0];
      if (x > 1) {
        waiting_ = reply;
        continue;
      }
      reply({{request.ticket, ReplyKind::progress, {}, 0.5}});
      Outcome outcome;
      outcome.objectives = {{x}};
      outcome.metrics = {{"twice", 2 * x}};
      reply({{request.ticket, ReplyKind::done, outcome}});
    }
  }
  void cancel(std::uint64_t ticket) override {
    ++cancelled;
    waiting_({{ticket, ReplyKind::done, Outcome::failure(TrialStatus::failed, "cancelled")}});
  }

  std::vector<std::shared_ptr<const EvaluationContext>> contexts;
  int cancelled = 0;

 private:
  Reply waiting_;
};

std::string request(const std::string& id, double x, const json& params = json::object()) {
  return json{{"type", "evaluate"}, {"id", id}, {"candidate", {{"x", x}}}, {"params", params}}
             .dump() +
         "\n";
}

/// What it answers to this input.
std::vector<json> answers(Evaluator& evaluator, const std::string& input) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  EXPECT_EQ(write(ends[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
  close(ends[1]);
  std::vector<json> lines;
  serve_requests(evaluator, ends[0], [&](const std::string& line) {
    EXPECT_EQ(line.back(), '\n');
    lines.push_back(json::parse(line));
  });
  close(ends[0]);
  return lines;
}

TEST(EvaluatorServe, HelloSaysWhatTheEvaluatorDeclares) {
  Identity evaluator;
  const EvaluatorDescription declared = evaluator.describe();
  const auto hello = parse_hello(hello_line(declared, "identity"));
  ASSERT_TRUE(hello.ok()) << hello.error().text();
  const EvaluatorDescription& read = hello->description;
  EXPECT_EQ(read.summary, "identity");
  EXPECT_EQ(read.slots, declared.slots);
  EXPECT_EQ(read.space->at(0).high, 2);
  EXPECT_EQ(read.objectives.at(0).goal, Goal::maximize);
  EXPECT_EQ(read.metrics, declared.metrics);
  EXPECT_EQ(read.version, "7");
  EXPECT_EQ(read.fidelity_unit, "images");
  EXPECT_EQ(read.default_fidelity, 20U);
  ASSERT_EQ(read.params.size(), 1U);
  EXPECT_EQ(read.params[0].name, "scale");
  EXPECT_EQ(read.params[0].high, 10);
}

TEST(EvaluatorServe, AnswersRequestsOfOneJobWithOneContext) {
  Identity evaluator;
  const auto lines = answers(evaluator, request("job:1:1", 0.25) + request("job:2:1", 0.5) +
                                            request("other:1:1", 0.75) +
                                            request("other:2:1", 0.75, {{"scale", 2.0}}));
  ASSERT_EQ(lines.size(), 8U);
  EXPECT_EQ(lines[0].at("type"), "progress");
  EXPECT_EQ(lines[1].at("type"), "result");
  EXPECT_EQ(lines[1].at("id"), "job:1:1");
  EXPECT_EQ(lines[1].at("objectives").at("f").at("value"), 0.25);
  EXPECT_EQ(lines[1].at("metrics").at("twice"), 0.5);
  EXPECT_EQ(lines[3].at("id"), "job:2:1");
  EXPECT_EQ(evaluator.contexts[0], evaluator.contexts[1]);
  EXPECT_NE(evaluator.contexts[1], evaluator.contexts[2]);
  EXPECT_NE(evaluator.contexts[2], evaluator.contexts[3]);
}

TEST(EvaluatorServe, FailsWhatItCannotReadAndIgnoresWhatIsNoRequest) {
  Identity evaluator;
  const auto lines =
      answers(evaluator,
              "not json\n{}\n[1]\n{\"type\":\"evaluate\"}\n{\"type\":\"other\",\"id\":\"a:1:1\"}\n"
              "{\"type\":\"evaluate\",\"id\":\"nameless\"}\n" +
                  request("job:1:1", 3) + request("job:2:1", 0.5, {{"odd", 1}}));
  ASSERT_EQ(lines.size(), 3U);
  for (const json& line : lines) {
    EXPECT_EQ(line.at("type"), "error");
    EXPECT_EQ(line.at("kind"), "failed");
  }
  EXPECT_EQ(lines[0].at("id"), "nameless");
  EXPECT_THAT(lines[1].at("message").get<std::string>(), testing::HasSubstr("/candidate/x"));
  EXPECT_THAT(lines[2].at("message").get<std::string>(), testing::HasSubstr("is not known"));
  EXPECT_TRUE(evaluator.contexts.empty());
}

TEST(EvaluatorServe, CancelsWhenAskedAndWhenInputEnds) {
  Identity evaluator;
  auto lines = answers(evaluator, request("job:1:1", 2) +
                                      "{\"type\":\"cancel\",\"id\":\"job:9:1\"}\n"
                                      "{\"type\":\"cancel\",\"id\":\"job:1:1\"}\n" +
                                      request("job:2:1", 2));
  EXPECT_EQ(evaluator.cancelled, 2);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("id"), "job:1:1");
  EXPECT_EQ(lines[1].at("id"), "job:2:1");
  EXPECT_EQ(lines[1].at("message"), "cancelled");
}

}  // namespace
}  // namespace paretod
