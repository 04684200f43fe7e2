#include "optimizers/measure.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/scripted_evaluations.hpp"

namespace paretod {
namespace {

SearchProblem one_real() {
  Parameter x;
  x.name = "x";
  x.low = 0;
  x.high = 100;
  return {SearchSpace::make({x}).value(), {{"f", Goal::minimize}}, 1, 0};
}

std::vector<Candidate> points(std::initializer_list<double> values) {
  std::vector<Candidate> candidates;
  for (const double value : values) candidates.push_back({{value}});
  return candidates;
}

TEST(Measure, KeepsTheOrderOfTheCandidatesWhateverTheOrderOfResults) {
  const SearchProblem problem = one_real();
  Script script;
  script.budget = 100;
  script.parallelism = 3;
  script.order_seed = 5;
  script.outcome = [](const Candidate& c) { return scalar_outcome(2 * c.point[0]); };
  ScriptedEvaluations evaluations(problem, script);
  const auto trials = measure(evaluations, points({1, 2, 3, 4, 5, 6, 7}));
  ASSERT_EQ(trials.size(), 7U);
  bool shuffled = false;
  TrialNumber before = 0;
  for (const ScriptedEvent& event : evaluations.log()) {
    if (event.kind != ScriptedEvent::Kind::told) continue;
    shuffled = shuffled || event.number < before;
    before = event.number;
  }
  EXPECT_TRUE(shuffled) << "this test needs results out of order";
  for (std::size_t i = 0; i < trials.size(); ++i) {
    EXPECT_EQ(trials[i].objectives[0], 2.0 * static_cast<double>(i + 1));
  }
}

TEST(Measure, TriesAFailedTrialOnceMoreAndAnInfeasibleOneNever) {
  const SearchProblem problem = one_real();
  std::map<double, int> tries;
  Script script;
  script.budget = 100;
  script.outcome = [&](const Candidate& c) {
    const int attempt = ++tries[c.point[0]];
    if (c.point[0] == 1 && attempt == 1) return Outcome::failure(TrialStatus::failed, "once");
    if (c.point[0] == 2) return Outcome::failure(TrialStatus::failed, "always");
    if (c.point[0] == 3) return Outcome::failure(TrialStatus::infeasible, "never");
    if (c.point[0] == 4) return Outcome::failure(TrialStatus::unknown, "may be paid");
    return scalar_outcome(c.point[0]);
  };
  ScriptedEvaluations evaluations(problem, script);
  const auto trials = measure(evaluations, points({1, 2, 3, 4, 5}));
  EXPECT_TRUE(trials[0].ok());
  EXPECT_EQ(trials[1].status, TrialStatus::failed);
  EXPECT_EQ(trials[2].status, TrialStatus::infeasible);
  EXPECT_EQ(trials[3].status, TrialStatus::unknown);
  EXPECT_TRUE(trials[4].ok());
  EXPECT_EQ(tries, (std::map<double, int>{{1, 2}, {2, 2}, {3, 1}, {4, 1}, {5, 1}}));
  EXPECT_EQ(evaluations.in_flight(), 0U);
}

TEST(Measure, LeavesOutWhatTheBudgetDoesNotAllow) {
  const SearchProblem problem = one_real();
  Script script;
  script.budget = 2;
  script.outcome = [](const Candidate& c) { return scalar_outcome(c.point[0]); };
  ScriptedEvaluations evaluations(problem, script);
  const auto trials = measure(evaluations, points({1, 2, 3}));
  EXPECT_EQ(trials[1].number, 2U);
  EXPECT_EQ(trials[2].number, 0U);
  EXPECT_FALSE(trials[2].ok());
  EXPECT_EQ(trials[2].candidate.point, Point{3});
}

}  // namespace
}  // namespace paretod
