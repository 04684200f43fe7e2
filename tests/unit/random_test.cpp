#include "optimizers/random.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <vector>

#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

SearchProblem mixed_problem(std::uint64_t seed) {
  Parameter rate;
  rate.name = "rate";
  rate.low = 1e-4;
  rate.high = 1;
  rate.log_scale = true;
  Parameter kind;
  kind.name = "kind";
  kind.type = ParameterType::categorical;
  kind.choices = {"a", "b", "c"};
  return {SearchSpace::make({rate, kind}).value(), {{"f", Goal::minimize}}, seed, 200};
}

std::vector<Point> asked(const SearchProblem& problem, std::size_t parallelism) {
  Script script;
  script.budget = 200;
  script.parallelism = parallelism;
  script.outcome = [](const Candidate& c) { return scalar_outcome(c.point[0]); };
  const auto run =
      run_scripted(random_optimizer(), problem, {{"fidelity", std::int64_t{7}}}, script);
  EXPECT_EQ(run.report.stop_reason, "budget");
  std::vector<Point> points;
  for (const ScriptedEvent& event : run.log) {
    if (event.kind != ScriptedEvent::Kind::asked) continue;
    points.push_back(event.candidate.point);
    EXPECT_EQ(event.candidate.fidelity, 7U);
  }
  return points;
}

TEST(Random, SpendsTheBudgetAndCoversTheSpace) {
  const auto points = asked(mixed_problem(1), 1);
  ASSERT_EQ(points.size(), 200U);
  std::size_t small = 0;
  std::array<std::size_t, 3> kinds{};
  for (const Point& point : points) {
    if (point[0] < 1e-2) ++small;
    ++kinds[static_cast<std::size_t>(point[1])];
  }
  EXPECT_GT(small, 60U) << "half are expected: the scale is logarithmic";
  EXPECT_LT(small, 140U);
  for (const std::size_t count : kinds) EXPECT_GT(count, 30U);
}

TEST(Random, DependsOnTheSeedAndNotOnTheParallelism) {
  EXPECT_EQ(asked(mixed_problem(1), 1), asked(mixed_problem(1), 16));
  EXPECT_NE(asked(mixed_problem(1), 1), asked(mixed_problem(2), 1));
}

}  // namespace
}  // namespace paretod
