// The evaluator `merge` with "device": "cuda", whose program is built against the emulated device,
// beside the same evaluator on the processor: equal models, so equal results.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/evaluators/reply_collector.hpp"
#include "tests/support/merge_fixture.hpp"

namespace paretod {
namespace {

using ::testing::HasSubstr;
using Strings = std::vector<std::string>;

class CudaMergeEvaluatorTest : public testing::Test {
 protected:
  static ParamValues on_device(ParamValues fields = {}) {
    fields.emplace("device", std::string("cuda"));
    fields.emplace("device_program", std::string(PARETOD_CUDA_EVALUATOR));
    return fields;
  }
  /// The classifiers of the examples, scored natively.
  static Result<std::unique_ptr<Evaluator>> specialists(ParamValues fields) {
    fields.emplace("recipe", std::string("merge-two.json"));
    fields.emplace("scorer", std::string("classifier"));
    fields.emplace("scorer_file", std::string("two-tasks.json"));
    fields.emplace("search", Strings{"weight", "lambda"});
    for (const EvaluatorType& type : evaluator_types()) {
      if (type.name != "merge") continue;
      return type.create(fields, {.base_directory = std::string(PARETOD_SOURCE_DIR) +
                                                    "/config/examples/data/specialists",
                                  .threads = 2});
    }
    return Error{};
  }

  std::vector<EvaluationReply> replies_of(Evaluator& evaluator, const std::vector<Point>& points,
                                          const ParamValues& params = {}) {
    auto context = std::make_shared<EvaluationContext>();
    context->job = "job";
    context->space = SearchSpace::make(*evaluator.describe().space).value();
    context->objectives = evaluator.describe().objectives;
    context->params = params;
    EXPECT_TRUE(evaluator.check(*context).empty());
    std::vector<EvaluationRequest> requests;
    for (std::size_t i = 0; i < points.size(); ++i) {
      requests.push_back({i + 1, context, i + 1, 1, {points[i]}});
    }
    evaluator.evaluate(std::move(requests), replies_.sink());
    replies_.wait_for(points.size());
    return replies_.take();
  }

  void expect_equal(Evaluator& device, Evaluator& processor, const std::vector<Point>& points,
                    const ParamValues& params = {}) {
    const auto got = replies_of(device, points, params);
    const auto expected = replies_of(processor, points, params);
    for (std::size_t i = 0; i < points.size(); ++i) {
      const Outcome& a = got[i].outcome;
      const Outcome& b = expected[i].outcome;
      ASSERT_EQ(b.status, TrialStatus::ok) << b.reason;
      ASSERT_EQ(a.status, TrialStatus::ok) << a.reason << got[i].log;
      ASSERT_EQ(a.objectives.size(), b.objectives.size());
      for (std::size_t o = 0; o < b.objectives.size(); ++o) {
        EXPECT_EQ(a.objectives[o].value, b.objectives[o].value);
        EXPECT_EQ(a.objectives[o].standard_error, b.objectives[o].standard_error);
        EXPECT_EQ(a.objectives[o].count, b.objectives[o].count);
      }
      // Through JSON they come sorted.
      EXPECT_EQ(sorted(a.metrics), sorted(b.metrics));
      EXPECT_EQ(a.examples, b.examples);
    }
  }

  static Metrics sorted(Metrics metrics) {
    std::sort(metrics.begin(), metrics.end());
    return metrics;
  }

  static std::vector<Point> draw(const Evaluator& evaluator, std::size_t count) {
    const auto space = SearchSpace::make(*evaluator.describe().space).value();
    Rng rng(4);
    std::vector<Point> points;
    for (std::size_t i = 0; i < count; ++i) points.push_back(space.sample(rng));
    return points;
  }

  static std::string problem(const Result<std::unique_ptr<Evaluator>>& made) {
    return made ? "none" : made.error().text();
  }

  test::MergeFixture models_;
  ReplyCollector replies_;
};

TEST_F(CudaMergeEvaluatorTest, GivesAProgramTheModelsThatTheProcessorWouldMerge) {
  models_.write("recipe.json", R"({"method": "ties", "base": "base", "sources":
      [{"name": "math", "path": "math"}, {"name": "code", "path": "code", "density": 0.25}],
      "groups": [{"name": "first", "match": [{"prefix": "layer.0"}]}]})");
  const ParamValues fields = {{"search", Strings{"weight", "density", "lambda"}},
                              {"coefficients", std::string("simplex")}};
  auto device = models_.make(on_device(fields));
  ASSERT_TRUE(device.ok()) << device.error().text();
  auto processor = models_.make(fields);
  ASSERT_TRUE(processor.ok()) << processor.error().text();
  const auto declared = (*device)->describe();
  EXPECT_EQ(declared.type, "merge");
  EXPECT_EQ(declared.version, (*processor)->describe().version);
  EXPECT_EQ(declared.slots, (*processor)->describe().slots);
  const auto points = draw(**processor, 20);
  expect_equal(**device, **processor, points);
  EvaluationContext context;
  context.space = SearchSpace::make(*declared.space).value();
  const auto recipe = (*device)->recipe(context, {points[0]});
  ASSERT_TRUE(recipe.ok()) << recipe.error().text();
  EXPECT_EQ(*recipe, (*processor)->recipe(context, {points[0]}).value());
  device->reset();
  processor->reset();
  EXPECT_TRUE(std::filesystem::is_empty(models_.folder("weights")));
}

TEST_F(CudaMergeEvaluatorTest, ScoresNativelyWithTheDeclarationsOfTheProcessor) {
  auto device = specialists(on_device({{"devices", Strings{"0", "0"}}}));
  ASSERT_TRUE(device.ok()) << device.error().text();
  auto processor = specialists({});
  ASSERT_TRUE(processor.ok()) << processor.error().text();
  const auto declared = (*device)->describe();
  const auto expected = (*processor)->describe();
  ASSERT_EQ(declared.objectives.size(), expected.objectives.size());
  for (std::size_t o = 0; o < expected.objectives.size(); ++o) {
    EXPECT_EQ(declared.objectives[o].name, expected.objectives[o].name);
    EXPECT_EQ(declared.objectives[o].goal, expected.objectives[o].goal);
  }
  EXPECT_EQ(declared.metrics, expected.metrics);
  EXPECT_EQ(declared.default_fidelity, expected.default_fidelity);
  // Two processes; each has a batch that fills its pass, and as many waiting.
  EXPECT_EQ(declared.slots, 2U * 2 * 16);
  ASSERT_EQ(declared.params.size(), expected.params.size());
  expect_equal(**device, **processor, draw(**processor, 6), {{"heldout", true}});
}

TEST_F(CudaMergeEvaluatorTest, AFaultEndsTheProcessAndTheNextOneGoesOn) {
  const std::string fault = models_.folder("fault");
  auto device =
      models_.make(on_device({{"environment", Strings{"CUDA_EMULATION_FAULT=" + fault}}}));
  ASSERT_TRUE(device.ok()) << device.error().text();
  const std::vector<Point> points = {{0.5, 0.25}};
  ASSERT_EQ(replies_of(**device, points)[0].outcome.status, TrialStatus::ok);
  std::ofstream(fault) << "now";
  const EvaluationReply reply = replies_of(**device, points)[0];
  EXPECT_EQ(reply.kind, ReplyKind::fault);
  EXPECT_THAT(reply.outcome.reason + reply.log, HasSubstr("unspecified launch failure"));
  EXPECT_FALSE(std::filesystem::exists(fault));
  auto processor = models_.make();
  expect_equal(**device, **processor, points);
  // What the ended process left goes when another starts.
  device->reset();
  processor->reset();
  models_.make(on_device()).value().reset();
  EXPECT_TRUE(std::filesystem::is_empty(models_.folder("weights")));
}

TEST_F(CudaMergeEvaluatorTest, KeepsWhatTheProgramSaysOnStderr) {
  models_.write("speaks.py", R"(import json, sys
print(json.dumps({"paretod": 1, "type": "hello", "objectives": [{"name": "x"}]}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print("heard of", request["weights"], file=sys.stderr, flush=True)
    print(json.dumps({"type": "result", "id": request["id"], "objectives": {"x": 1}}), flush=True)
)");
  auto device = models_.make(on_device({{"argv", Strings{"python3", "speaks.py"}}}));
  ASSERT_TRUE(device.ok()) << device.error().text();
  const EvaluationReply reply = replies_of(**device, {{0.5, 0.25}})[0];
  EXPECT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
  EXPECT_THAT(reply.log, HasSubstr("heard of " + models_.folder("weights")));
}

TEST_F(CudaMergeEvaluatorTest, SaysWhatIsMissingAndWhatToDo) {
  const auto without = [&](ParamValues fields) {
    return problem(models_.make(on_device(std::move(fields))));
  };
  EXPECT_THAT(without({{"environment", Strings{"CUDA_VISIBLE_DEVICES="}}}),
              AllOf(HasSubstr("/device: "), HasSubstr("no CUDA-capable device is detected"),
                    HasSubstr("leave device out, and the processor merges")));
  EXPECT_THAT(without({{"device_program", std::string("/no/such/program")}}),
              AllOf(HasSubstr("/device: "), HasSubstr("is built where nvcc is found"),
                    HasSubstr("cannot start \"/no/such/program\"")));
  EXPECT_THAT(without({{"devices", Strings{"3"}}}),
              HasSubstr("/devices/0: \"3\" is not the number of a device; there are 1"));
  EXPECT_THAT(without({{"devices", Strings{}}}), HasSubstr("/devices: has to name at least one"));
  EXPECT_THAT(without({{"device", std::string("tpu")}}), HasSubstr("/device: "));
  EXPECT_THAT(without({{"recipe", std::string("none.json")}}), HasSubstr("/recipe: "));
  models_.write("recipe.json", R"({"method": "della", "base": "base", "sources":
      [{"name": "math", "path": "math"}, {"name": "code", "path": "code"}]})");
  EXPECT_THAT(without({}), HasSubstr("della is merged by the processor only"));
  const std::vector<TensorLayout> layout{{"w", DType::f32, {1024, 400}}};
  for (const char* name : {"base", "math", "code"}) {
    write_model(models_.folder(name), layout, random_contents(layout, 4));
  }
  models_.write("recipe.json", R"({"method": "ties", "base": "base", "sources":
      [{"name": "math", "path": "math"}, {"name": "code", "path": "code"}]})");
  EXPECT_THAT(without({{"device_memory_mb", std::int64_t{3}}}),
              AllOf(HasSubstr("/device_memory_mb: "), HasSubstr("tensor \"w\" needs")));
}

}  // namespace
}  // namespace paretod
