// The CUDA evaluator process, built against the emulated device, beside the evaluators that compute
// the same on the processor.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/diffusion/diffusion_evaluator.hpp"
#include "evaluators/diffusion/schedule_evaluator.hpp"
#include "evaluators/process/process_evaluator.hpp"
#include "tests/support/evaluators/reply_collector.hpp"
#include "tests/support/tiny_diffusion.hpp"

namespace paretod {
namespace {

using ::testing::HasSubstr;

class CudaEvaluatorTest : public ::testing::Test {
 protected:
  CudaEvaluatorTest() { tiny_.save(); }

  Result<std::unique_ptr<Evaluator>> start(std::vector<std::string> arguments,
                                           std::int64_t processes = 1,
                                           std::vector<std::string> environment = {}) {
    std::vector<std::string> argv = {PARETOD_CUDA_EVALUATOR, "model=model.json", "samples=60"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return process_evaluator_type().create(
        {{"argv", argv}, {"processes", processes}, {"environment", environment}},
        {.base_directory = tiny_.path().string()});
  }
  std::string refusal(std::vector<std::string> arguments) {
    const auto started = start(std::move(arguments));
    return started ? "started" : started.error().text();
  }

  static std::vector<Outcome> outcomes(Evaluator& evaluator, const std::vector<Point>& points,
                                       std::uint64_t replicate = 0) {
    auto context = std::make_shared<EvaluationContext>();
    context->job = "job";
    context->space = SearchSpace::make(*evaluator.describe().space).value();
    context->objectives = evaluator.describe().objectives;
    EXPECT_TRUE(evaluator.check(*context).empty());
    ReplyCollector replies;
    std::vector<EvaluationRequest> requests;
    for (std::size_t i = 0; i < points.size(); ++i) {
      requests.push_back({i + 1, context, i + 1, 1, {points[i], 0, replicate}});
    }
    evaluator.evaluate(std::move(requests), replies.sink());
    replies.wait_for(points.size());
    std::vector<Outcome> out;
    for (const EvaluationReply& reply : replies.take()) {
      EXPECT_EQ(reply.kind, ReplyKind::done) << reply.outcome.reason << reply.log;
      out.push_back(reply.outcome);
    }
    return out;
  }

  /// NaN where it is not there, which equals nothing.
  static double metric(const Outcome& outcome, const std::string& name) {
    for (const auto& [known, value] : outcome.metrics) {
      if (known == name) return value;
    }
    return NAN;
  }

  static void expect_equal_scores(const std::vector<Outcome>& got,
                                  const std::vector<Outcome>& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].status, expected[i].status) << got[i].reason;
      ASSERT_EQ(got[i].objectives.size(), expected[i].objectives.size());
      for (std::size_t o = 0; o < got[i].objectives.size(); ++o) {
        const Measurement& a = got[i].objectives[o];
        const Measurement& b = expected[i].objectives[o];
        EXPECT_NEAR(a.value, b.value, 2e-4 * (1 + std::abs(b.value)));
        EXPECT_NEAR(a.standard_error, b.standard_error, 2e-3 * (1 + b.standard_error));
        EXPECT_EQ(a.count, b.count);
      }
      const double heldout = metric(expected[i], "fd_heldout");
      EXPECT_NEAR(metric(got[i], "fd_heldout"), heldout, 2e-4 * (1 + std::abs(heldout)));
    }
  }

  test::TinyDiffusion tiny_;
};

TEST_F(CudaEvaluatorTest, ScoresCheckpointsAsTheProcessorDoes) {
  auto device = start({"steps=3", "batch=2"});
  ASSERT_TRUE(device.ok()) << device.error().text();
  auto processor = diffusion_evaluator_type().create({{"model", std::string("model.json")},
                                                      {"samples", std::int64_t{60}},
                                                      {"steps", std::int64_t{3}}},
                                                     {tiny_.path().string(), 2});
  ASSERT_TRUE(processor.ok()) << processor.error().text();
  const auto declared = (*device)->describe();
  EXPECT_EQ(declared.slots, 8U);  // two batches of two, and as many waiting
  EXPECT_EQ(declared.fidelity_unit, "images");
  EXPECT_EQ(declared.default_fidelity, 60U);
  ASSERT_EQ(declared.space->front().size, (*processor)->describe().space->front().size);
  // Three free coordinates; more candidates than a batch holds.
  const std::vector<Point> points = {
      {0, 0, 0}, {0.5, -0.2, 0.1}, {0.3, 0.3, 0.3}, {1, 0, 0}, {-0.4, 0.1, 0.9}};
  for (const std::uint64_t replicate : {0, 3}) {
    expect_equal_scores(outcomes(**device, points, replicate),
                        outcomes(**processor, points, replicate));
  }
}

TEST_F(CudaEvaluatorTest, ScoresSchedulesAsTheProcessorDoes) {
  auto device = start({"search=schedule", "most_steps=4", "droppable=[\"all\"]", "cost=blocks",
                       "solvers=[\"ddim\",\"dpm-solver\",\"plms\"]"},
                      2);
  ASSERT_TRUE(device.ok()) << device.error().text();
  auto processor = schedule_evaluator_type().create(
      {{"model", std::string("model.json")},
       {"samples", std::int64_t{60}},
       {"most_steps", std::int64_t{4}},
       {"droppable", std::vector<std::string>{"all"}},
       {"solvers", std::vector<std::string>{"ddim", "dpm-solver", "plms"}},
       {"cost", std::string("blocks")},
       {"kid", false}},
      {tiny_.path().string(), 2});
  ASSERT_TRUE(processor.ok()) << processor.error().text();
  const auto space = SearchSpace::make(*(*processor)->describe().space).value();
  Rng rng(4);
  std::vector<Point> points;
  for (int i = 0; i < 6; ++i) points.push_back(space.sample(rng));
  expect_equal_scores(outcomes(**device, points), outcomes(**processor, points));
}

TEST_F(CudaEvaluatorTest, SaysWhatItCannotBeStartedWith) {
  EXPECT_THAT(refusal({"stepz=3"}), HasSubstr("/stepz: "));
  EXPECT_THAT(refusal({"steps"}), HasSubstr("\"steps\" is not NAME=VALUE"));
  EXPECT_THAT(refusal({"steps=101"}), HasSubstr("/steps: must lie between 1 and 100"));
  EXPECT_THAT(refusal({"search=schedule", "weights=none"}), HasSubstr("/weights: "));
  EXPECT_THAT(refusal({"devices=[\"0\",\"x\"]", "devices=[\"7\"]"}),
              HasSubstr("/devices/0: \"7\" is not the number of a device; there are 1"));
  EXPECT_THAT(refusal({"memory_mb=1", "batch=64", "samples=20000"}), HasSubstr("/memory_mb: "));
}

TEST_F(CudaEvaluatorTest, AFaultEndsTheProcessAndTheNextOneGoesOn) {
  const auto fault = tiny_.path() / "fault";
  auto device = start({"steps=2"}, 1, {"CUDA_EMULATION_FAULT=" + fault.string()});
  ASSERT_TRUE(device.ok()) << device.error().text();
  const std::vector<Point> points = {{0.5, -0.2, 0.1}};
  const auto before = outcomes(**device, points);
  std::ofstream(fault) << "now";
  auto context = std::make_shared<EvaluationContext>();
  context->job = "job";
  context->space = SearchSpace::make(*(*device)->describe().space).value();
  context->objectives = (*device)->describe().objectives;
  ReplyCollector replies;
  (*device)->evaluate({{1, context, 1, 1, {points[0]}}}, replies.sink());
  replies.wait_for(1);
  const auto reply = replies.take().at(0);
  EXPECT_EQ(reply.kind, ReplyKind::fault);
  EXPECT_THAT(reply.outcome.reason + reply.log, HasSubstr("unspecified launch failure"));
  const auto after = outcomes(**device, points);
  EXPECT_EQ(after[0].objectives[0].value, before[0].objectives[0].value);
}

TEST_F(CudaEvaluatorTest, FailsRequestsThatItCannotTake) {
  auto device = start({"steps=2"});
  ASSERT_TRUE(device.ok()) << device.error().text();
  auto context = std::make_shared<EvaluationContext>();
  context->job = "job";
  context->space = SearchSpace::make(*(*device)->describe().space).value();
  context->objectives = (*device)->describe().objectives;
  ReplyCollector replies;
  (*device)->evaluate({{1, context, 1, 1, {Point{0, 0, 0}, 1}}}, replies.sink());
  replies.wait_for(1);
  const auto reply = replies.take().at(0);
  EXPECT_EQ(reply.outcome.status, TrialStatus::failed);
  EXPECT_THAT(reply.outcome.reason, HasSubstr("a fidelity of 1 images is not between 2 and"));
}

}  // namespace
}  // namespace paretod
