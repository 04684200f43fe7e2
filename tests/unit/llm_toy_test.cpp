// The stub servers' toy model: what its splits have in common is what scores on them compare by.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/llm/toy_model.hpp"

namespace paretod::testing {
namespace {

constexpr std::size_t many = 600;

class ToySplits : public ::testing::Test {
 protected:
  ToySplits() : model_(ToyOptions{}) {
    for (std::uint64_t split = 0; split < toy_splits; ++split) {
      splits_.push_back(toy_examples(model_, split, many));
    }
  }

  ToyModel model_;
  std::vector<std::vector<ToyExample>> splits_;
};

TEST_F(ToySplits, ShareNoQuestionAndBeginTheSameHoweverManyAreAsked) {
  std::set<std::string> all;
  for (const auto& split : splits_) {
    for (const ToyExample& example : split) all.insert(example.prompt);
  }
  EXPECT_EQ(all.size(), toy_splits * many);
  EXPECT_EQ(toy_examples(model_, 1, 20)[19].prompt, splits_[1][19].prompt);
}

TEST_F(ToySplits, ScoreTheSameMergeAlikeButForSampling) {
  const std::size_t n = model_.adapters().size();
  std::vector<double> planted;
  for (const ToyAdapter& adapter : model_.adapters()) planted.push_back(adapter.planted_beta);
  const std::vector<double> quarter(n, ToyModel::planted_alpha());
  const std::vector<ToyDelta> merges{
      ToyModel::no_delta(), model_.merged(quarter, planted, true),
      model_.merged(std::vector<double>(n, 1), std::vector<double>(n, 0.4), true)};
  for (std::size_t m = 0; m < merges.size(); ++m) {
    std::array<double, toy_splits> means{};
    std::array<double, toy_splits> variances{};
    for (std::size_t split = 0; split < toy_splits; ++split) {
      double sum = 0;
      double squares = 0;
      for (const ToyExample& example : splits_[split]) {
        const double loss = model_.loss(example.prompt, example.answer, merges[m]);
        sum += loss;
        squares += loss * loss;
      }
      means[split] = sum / many;
      variances[split] = (squares / many - means[split] * means[split]) / many;
    }
    for (std::size_t a = 0; a < toy_splits; ++a) {
      for (std::size_t b = a + 1; b < toy_splits; ++b) {
        EXPECT_LT(std::abs(means[a] - means[b]), 4 * std::sqrt(variances[a] + variances[b]))
            << "merge " << m << " on splits " << a << " and " << b;
      }
    }
  }
}

TEST_F(ToySplits, HaveTheSameCommonAnswers) {
  std::map<std::string, std::array<double, toy_splits>> shares;
  for (std::size_t split = 0; split < toy_splits; ++split) {
    for (const ToyExample& example : splits_[split]) shares[example.answer][split] += 1.0 / many;
  }
  for (const auto& [answer, share] : shares) {
    for (std::size_t other = 1; other < toy_splits; ++other) {
      const double pooled = (share[0] + share[other]) / 2;
      EXPECT_LT(std::abs(share[0] - share[other]),
                4.5 * std::sqrt(2 * pooled * (1 - pooled) / many) + 1.0 / many)
          << '"' << answer << '"' << " on split " << other;
    }
  }
}

}  // namespace
}  // namespace paretod::testing
