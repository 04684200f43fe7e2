#include "optimizers/core/front.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <pagmo/utils/hypervolume.hpp>
#include <pagmo/utils/multi_objective.hpp>
#include <set>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

std::vector<std::vector<double>> random_points(std::size_t count, std::size_t objectives,
                                               std::uint64_t seed, std::uint64_t grid) {
  Rng rng(seed, objectives);
  std::vector<std::vector<double>> points(count, std::vector<double>(objectives));
  for (auto& point : points) {
    for (double& y : point) y = static_cast<double>(rng.below(grid)) / static_cast<double>(grid);
  }
  return points;
}

/// pagmo's non-dominated sort is the oracle; a coarse grid makes ties and duplicates.
TEST(ParetoArchive, AgreesWithNonDominatedSorting) {
  for (std::size_t objectives = 1; objectives <= 5; ++objectives) {
    for (const std::uint64_t grid : {5ULL, 1'000'000ULL}) {
      const auto points = random_points(300, objectives, 11 * grid, grid);
      ParetoArchive archive;
      for (std::size_t i = 0; i < points.size(); ++i) archive.insert(i, points[i]);
      std::set<std::vector<double>> ours;
      for (std::size_t i = 0; i < archive.size(); ++i) {
        EXPECT_TRUE(ours.insert(archive.objectives(i)).second) << "a duplicate stayed";
        EXPECT_EQ(points[archive.id(i)], archive.objectives(i));
        EXPECT_TRUE(archive.contains(archive.id(i)));
      }
      std::set<std::vector<double>> oracle;
      if (objectives == 1) {
        oracle.insert(*std::min_element(points.begin(), points.end()));
      } else {
        const auto sorted = pagmo::fast_non_dominated_sorting(points);
        for (const auto i : std::get<0>(sorted)[0]) oracle.insert(points[i]);
      }
      EXPECT_EQ(ours, oracle) << objectives << " objectives, grid " << grid;
      const auto all = archive.all_objectives();
      EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
      for (const auto& point : points) EXPECT_TRUE(archive.covers(point));
    }
  }
}

/// Fronts of several chunks: members enter, and leave in masses, at both ends and within.
TEST(ParetoArchive, LargeFrontsAgreeWithBruteForce) {
  for (std::size_t objectives = 2; objectives <= 5; ++objectives) {
    Rng rng(5, objectives);
    ParetoArchive archive;
    std::vector<std::pair<std::vector<double>, std::uint64_t>> reference;
    for (std::uint64_t i = 0; i < 4000; ++i) {
      // On a plane that comes closer in three jumps, on a grid: ties, and few dominate each other.
      std::vector<double> point(objectives);
      double sum = 0;
      for (double& y : point) sum += y = static_cast<double>(rng.below(4096));
      point.back() += static_cast<double>(4096 * objectives) - sum - static_cast<double>(i / 1000);
      const bool covered = std::any_of(reference.begin(), reference.end(), [&](const auto& member) {
        return std::equal(member.first.begin(), member.first.end(), point.begin(),
                          std::less_equal<>());
      });
      EXPECT_EQ(archive.covers(point), covered);
      EXPECT_EQ(archive.insert(i, point), !covered);
      if (covered) continue;
      std::erase_if(reference, [&](const auto& member) { return dominates(point, member.first); });
      reference.emplace_back(point, i);
    }
    std::sort(reference.begin(), reference.end());
    ASSERT_EQ(archive.size(), reference.size());
    EXPECT_GT(archive.size(), objectives == 2 ? 500U : 900U);
    for (std::size_t i = 0; i < archive.size(); ++i) {
      EXPECT_EQ(archive.id(i), reference[i].second);
      EXPECT_EQ(archive.objectives(i), reference[i].first);
    }
  }
}

TEST(ParetoArchive, TheFirstOfEqualsStays) {
  ParetoArchive archive;
  EXPECT_TRUE(archive.insert(1, std::vector<double>{1, 2}));
  EXPECT_FALSE(archive.insert(2, std::vector<double>{1, 2}));
  EXPECT_EQ(archive.id(0), 1U);
}

TEST(Hypervolume, AgreesWithPagmo) {
  for (std::size_t objectives = 2; objectives <= 5; ++objectives) {
    for (const std::uint64_t grid : {4ULL, 1000ULL}) {  // with many ties, and with few
      const auto points = random_points(40, objectives, 5, grid);
      const std::vector<double> reference(objectives, 1.0);
      pagmo::hypervolume oracle(points);
      EXPECT_NEAR(hypervolume(points, reference), oracle.compute(reference), 1e-12) << objectives;
    }
  }
}

TEST(CrowdingDistance, IsTheGapBetweenNeighbours) {
  const auto distances = crowding_distances({{0, 4}, {1, 2}, {4, 0}, {2, 1}});
  EXPECT_EQ(distances[0], std::numeric_limits<double>::infinity());
  EXPECT_EQ(distances[2], std::numeric_limits<double>::infinity());
  EXPECT_DOUBLE_EQ(distances[1], 2.0 / 4 + 3.0 / 4);
  EXPECT_DOUBLE_EQ(distances[3], 3.0 / 4 + 2.0 / 4);
  EXPECT_TRUE(crowding_distances({}).empty());
}

TEST(Hypervolume, PointsBeyondTheReferenceAddNothing) {
  EXPECT_EQ(hypervolume({{2, 2}, {0.5, 3}}, {1, 1}), 0);
  EXPECT_DOUBLE_EQ(hypervolume({{0.25, 0.5}, {2, 0}}, {1, 1}), 0.375);
  EXPECT_DOUBLE_EQ(hypervolume({{0.25}}, {1}), 0.75);
  EXPECT_EQ(hypervolume({}, {1, 1}), 0);
}

}  // namespace
}  // namespace paretod
