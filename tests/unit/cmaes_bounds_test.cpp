#include "optimizers/cmaes_bounds.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace paretod {
namespace {

using Doubles = std::vector<double>;

const std::vector<Merit> merits = {{0, 3}, {0, 1}, {0, 2}, {1, 0}};

TEST(CmaesBounds, InsideOnlyTheOutcomeCounts) {
  EXPECT_EQ(bounded_ranks(merits, {0, 0, 0, 0}, 0), (Doubles{2, 0, 1, 3}));
}

TEST(CmaesBounds, WhileAllAreOutsideOfAMeanInsideTheOutcomeCountsToo) {
  EXPECT_EQ(bounded_ranks(merits, {4, 9, 1, 16}, 0), (Doubles{2, 0, 1, 3}));
}

TEST(CmaesBounds, AMeanThatStrayedIsDrawnBack) {
  EXPECT_EQ(bounded_ranks(merits, {4, 9, 1, 16}, 2), (Doubles{2 + 1.5, 0 + 2.5, 1 + 0.5, 3 + 3.5}));
  EXPECT_EQ(bounded_ranks(merits, {4, 9, 1, 16}, 50), bounded_ranks(merits, {4, 9, 1, 16}, 2));
}

TEST(CmaesBounds, OneOutsideStandsBehindHalfOfThoseInside) {
  EXPECT_EQ(bounded_ranks(merits, {0, 1, 0, 0}, 0), (Doubles{2, 0.75 * 2, 1, 3}));
}

}  // namespace
}  // namespace paretod
