// The evaluator of merged models with real programs: what they are given, and what becomes of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <mutex>

#include "evaluators/merge/merge_recipe.hpp"
#include "evaluators/merge/weights_directory.hpp"
#include "tests/support/evaluators/reply_collector.hpp"
#include "tests/support/merge_fixture.hpp"

namespace paretod {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MergeEvaluatorTest : public testing::Test {
 protected:
  void start(ParamValues fields = {}) {
    auto made = models_.make(std::move(fields));
    ASSERT_TRUE(made) << made.error().text();
    evaluator_ = std::move(*made);
    auto context = std::make_shared<EvaluationContext>();
    context->job = "job";
    context->space = SearchSpace::make(*evaluator_->describe().space).value();
    context->objectives = evaluator_->describe().objectives;
    context_ = context;
  }
  EvaluationRequest request(std::uint64_t ticket, Point point) const {
    return {ticket, context_, ticket, 1, {std::move(point)}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const Parameter& p : context_->space.parameters()) out.push_back(p.name);
    return out;
  }
  static std::string problem(const Result<std::unique_ptr<Evaluator>>& made) {
    return made ? "none" : made.error().text();
  }

  test::MergeFixture models_;
  ReplyCollector replies_;
  std::unique_ptr<Evaluator> evaluator_;
  std::shared_ptr<const EvaluationContext> context_;
};

TEST_F(MergeEvaluatorTest, GivesTheProgramTheMergedModelAndRemovesItAfterwards) {
  start({{"processes", std::int64_t{2}}});
  EXPECT_THAT(names(), ElementsAre("weight.math", "weight.code"));
  std::vector<EvaluationRequest> requests;
  for (std::uint64_t i = 0; i < 40; ++i) {
    requests.push_back(request(i, {static_cast<double>(i) / 40, 0.5}));
  }
  evaluator_->evaluate(std::move(requests), replies_.sink());
  replies_.wait_for(40);
  const TensorValues base = read_model(models_.folder("base"));
  const TensorValues math = read_model(models_.folder("math"));
  const TensorValues code = read_model(models_.folder("code"));
  for (const EvaluationReply& reply : replies_.take()) {
    ASSERT_EQ(reply.outcome.status, TrialStatus::ok) << reply.outcome.reason;
    double sum = 0;
    double count = 0;
    for (const auto& [name, values] : base) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        sum += values[i] + static_cast<double>(reply.ticket) / 40 * (math.at(name)[i] - values[i]) +
               0.5 * (code.at(name)[i] - values[i]);
        ++count;
      }
    }
    EXPECT_NEAR(reply.outcome.objectives[0].value, sum / count, 1e-6);
    EXPECT_THAT(reply.outcome.metrics, ElementsAre(std::pair<std::string, double>("tensors", 3)));
  }
  evaluator_.reset();
  EXPECT_TRUE(std::filesystem::is_empty(models_.folder("weights")));
}

TEST_F(MergeEvaluatorTest, DeclaresDensitiesGroupsAndSums) {
  models_.write("recipe.json", R"({"method": "ties", "base": "base", "sources":
      [{"name": "math", "path": "math"}, {"name": "code", "path": "code", "weight": 0.25}],
      "groups": [{"name": "first", "match": [{"prefix": "layer.0"}], "density": 0.5}]})");
  start({{"search", std::vector<std::string>{"weight", "density", "lambda"}},
         {"coefficients", std::string("simplex")},
         {"density_low", 0.2}});
  EXPECT_THAT(names(),
              ElementsAre("weight.first", "weight.other", "density.first.math",
                          "density.first.code", "density.other.math", "density.other.code",
                          "lambda.first", "lambda.other"));
  const auto recipe = evaluator_->recipe(
      *context_, {{0.25, 0.75, 0.5, 0.5, 0.3, 0.4, 0.6, 0.7, 1.5, 0.5}});
  ASSERT_TRUE(recipe) << recipe.error().text();
  const auto read = parse_recipe(*recipe, "/");
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->paths.base, models_.folder("base"));
  EXPECT_EQ(read->numbers.groups[0].weights, (std::vector<double>{0.25, 0.75}));
  EXPECT_EQ(read->numbers.groups[0].densities, (std::vector<double>{0.3, 0.4}));
  EXPECT_EQ(read->numbers.groups[0].lambda, 1.5);
  EXPECT_EQ(read->numbers.groups[1].densities, (std::vector<double>{0.6, 0.7}));
  EXPECT_EQ(read->numbers.groups[1].lambda, 0.5);
}

TEST_F(MergeEvaluatorTest, WeightsThatCannotBeMergedAreInfeasible) {
  models_.write("recipe.json", R"({"method": "linear", "sources":
      [{"name": "math", "path": "math"}, {"name": "code", "path": "code"}]})");
  start({{"weight_low", -1.0}});
  evaluator_->evaluate({request(1, {0.5, -0.5}), request(2, {0.5, 0.5})}, replies_.sink());
  replies_.wait_for(2);
  const auto replies = replies_.take();
  EXPECT_EQ(replies[0].outcome.status, TrialStatus::infeasible);
  EXPECT_THAT(replies[0].outcome.reason, HasSubstr("normalize divides by their sum"));
  EXPECT_EQ(replies[1].outcome.status, TrialStatus::ok) << replies[1].outcome.reason;
}

TEST_F(MergeEvaluatorTest, AsManyFilesAsFitAtOnce) {
  // 143 floats each; one MiB of which two thirds are for models holds a thousand, so make them big.
  const std::vector<TensorLayout> layout{{"w", DType::f32, {1024, 400}}};
  for (const char* name : {"base", "math", "code"}) {
    write_model(models_.folder(name), layout, random_contents(layout, 4));
  }
  start({{"merge_memory_mb", std::int64_t{12}}, {"processes", std::int64_t{2}}});
  std::vector<EvaluationRequest> requests;
  for (std::uint64_t i = 0; i < 12; ++i) requests.push_back(request(i, {0.1, 0.1}));
  std::size_t most = 0;
  std::mutex mutex;
  evaluator_->evaluate(std::move(requests), [&](std::vector<EvaluationReply> replies) {
    {
      const std::lock_guard lock(mutex);
      most = std::max(most, models_.weight_folders());
    }
    replies_.sink()(std::move(replies));
  });
  replies_.wait_for(12);
  EXPECT_LE(most, 5U);  // 8 MiB of 1.6 each
  EXPECT_GE(most, 1U);
  const auto none = models_.make({{"merge_memory_mb", std::int64_t{1}}});
  EXPECT_THAT(problem(none), HasSubstr("/merge_memory_mb"));
}

TEST_F(MergeEvaluatorTest, FailingProgramsLeaveNoFiles) {
  start({{"argv", std::vector<std::string>{"python3", std::string(PARETOD_SOURCE_DIR) +
                                                          "/tests/support/evaluators/merged.py",
                                           "die"}}});
  evaluator_->evaluate({request(1, {1, 1})}, replies_.sink());
  replies_.wait_for(1);
  EXPECT_NE(replies_.take()[0].kind, ReplyKind::progress);
  evaluator_.reset();
  EXPECT_TRUE(std::filesystem::is_empty(models_.folder("weights")));
}

TEST_F(MergeEvaluatorTest, ConfigurationErrorsNameTheField) {
  const auto of = [&](const ParamValues& fields) { return problem(models_.make(fields)); };
  EXPECT_THAT(of({{"recipe", std::string("nowhere.json")}}), HasSubstr("/recipe: "));
  EXPECT_THAT(of({{"scorer", std::string("no-such-scorer")}}),
              HasSubstr("/scorer: has to be one of"));
  EXPECT_THAT(of({{"search", std::vector<std::string>{"density"}}}),
              HasSubstr("/search/0: means nothing to the method task_arithmetic"));
  EXPECT_THAT(of({{"search", std::vector<std::string>{"colour"}}}), HasSubstr("/search/0"));
  EXPECT_THAT(of({{"weight_low", 2.0}}), HasSubstr("/weight_low"));
  EXPECT_THAT(of({{"no_such_field", true}}), HasSubstr("/no_such_field"));
  EXPECT_THAT(of({{"argv", std::vector<std::string>{"python3",
                                                    std::string(PARETOD_SOURCE_DIR) +
                                                        "/config/examples/evaluators/sphere.py"}}}),
              HasSubstr("/argv: the program declares a space of its own"));
  models_.write("recipe.json", "{");
  EXPECT_THAT(of({}), HasSubstr("/recipe: "));
}

TEST(WeightsDirectory, WhatAKilledOwnerLeftGoesWithTheNext) {
  const test::ScratchDirectory scratch;
  const std::string parent = scratch.path().string();
  auto living = WeightsDirectory::open(parent);
  ASSERT_TRUE(living) << living.error().text();
  ASSERT_TRUE(living->add());
  const pid_t child = fork();
  if (child == 0) {
    auto doomed = WeightsDirectory::open(parent);
    if (!doomed || !doomed->add()) _exit(1);
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto folders = [&] {
    return std::distance(std::filesystem::directory_iterator(parent),
                         std::filesystem::directory_iterator());
  };
  EXPECT_EQ(folders(), 2);
  std::filesystem::create_directories(scratch.path() / "paretod-merge-foreign");  // without a lock
  const auto next = WeightsDirectory::open(parent);
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_EQ(folders(), 3);  // the living one's, the foreign one, its own
  EXPECT_TRUE(std::filesystem::exists(living->path()));
}

}  // namespace
}  // namespace paretod
