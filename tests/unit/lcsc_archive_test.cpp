#include "optimizers/lcsc_archive.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

TEST(Coefficients, CountTheImpliedOne) {
  EXPECT_DOUBLE_EQ(coefficient_norm({0, 0}), 1);              // (0, 0, 1)
  EXPECT_DOUBLE_EQ(coefficient_norm({3, 2}), std::sqrt(29));  // (3, 2, -4)
  EXPECT_DOUBLE_EQ(squared_distance({0, 0}, {1, 0}), 2);
  EXPECT_DOUBLE_EQ(squared_distance({1, 0}, {0, 1}), 2);
}

TEST(LcscArchive, RanksByMeanThenByReplicatesThenByAge) {
  LcscArchive archive;
  for (const double x : {0.0, 1.0, 2.0, 3.0}) archive.add({x});
  archive.report(0, 0, 5);
  archive.report(1, 0, 4);
  archive.report(2, 0, 5);
  EXPECT_EQ(archive.ranking(), (std::vector<std::size_t>{1, 0, 2})) << "3 has no score";
  archive.report(2, 1, 5);
  EXPECT_EQ(archive.ranking(), (std::vector<std::size_t>{1, 2, 0}));
  archive.report(1, 1, 8);
  EXPECT_EQ(archive.mean(1), 6);
  EXPECT_EQ(archive.ranking(), (std::vector<std::size_t>{2, 0, 1}));
}

TEST(LcscArchive, StaysSortedUnderManyReports) {
  LcscArchive archive;
  Rng rng(3);
  for (std::size_t i = 0; i < 300; ++i) {
    archive.add({rng.uniform()});
    archive.report(i, 0, rng.uniform());
    const std::size_t again = rng.below(i + 1);
    archive.report(again, i + 1, rng.uniform());
    ASSERT_EQ(archive.ranking().size(), i + 1);
    for (std::size_t k = 1; k < archive.ranking().size(); ++k) {
      ASSERT_LE(archive.mean(archive.ranking()[k - 1]), archive.mean(archive.ranking()[k]));
    }
  }
}

TEST(LcscArchive, KnowsItsPointsBitForBit) {
  LcscArchive archive;
  archive.add({0.25, 0.5});
  EXPECT_TRUE(archive.contains({0.25, 0.5}));
  EXPECT_FALSE(archive.contains({0.5, 0.25}));
  EXPECT_FALSE(archive.contains({0.25, std::nextafter(0.5, 1.0)}));
}

TEST(LcscArchive, RemovesWhatAReplicateAddsToAllPoints) {
  LcscArchive archive;
  for (const double x : {0.0, 1.0, 2.0}) archive.add({x});
  const double offset[] = {0, 10, -3};
  for (std::size_t r = 0; r < 3; ++r) {
    archive.report(0, r, 1 + offset[r]);
    archive.report(1, r, 2 + offset[r]);
  }
  archive.report(2, 0, 1.5);
  EXPECT_EQ(archive.ranking().front(), 2U) << "the others look worse on average";
  EXPECT_TRUE(archive.calibrate({0, 1}, 3));
  EXPECT_EQ(archive.ranking(), (std::vector<std::size_t>{0, 2, 1}));
  EXPECT_NEAR(archive.mean(0), 1, 1e-12);
  archive.report(2, 1, 11.5);
  EXPECT_NEAR(archive.mean(2), 1.5, 1e-12);
}

TEST(LcscArchive, NoticesADeterministicMetric) {
  LcscArchive archive;
  archive.add({0.0});
  archive.add({1.0});
  for (std::size_t r = 0; r < 3; ++r) archive.report(0, r, 7);
  archive.report(1, 0, 3);
  EXPECT_FALSE(archive.calibrate({0}, 3));
  archive.report(1, 1, 3.5);
  EXPECT_TRUE(archive.calibrate({0, 1}, 3));
  EXPECT_TRUE(archive.calibrate({}, 3)) << "nothing compared says nothing";
  LcscArchive failed;
  failed.add({0.0});
  failed.report(0, 0, 1);
  EXPECT_TRUE(failed.calibrate({0}, 3)) << "its further replicates failed";
}

TEST(LcscArchive, AddsThePenalty) {
  LcscArchive archive;
  archive.add({0.0});
  archive.add({1.0});
  archive.report(0, 0, 5);
  archive.report(1, 0, 4);
  archive.penalise(3, {0.0});
  EXPECT_EQ(archive.ranking(), (std::vector<std::size_t>{0, 1}));
  EXPECT_DOUBLE_EQ(archive.mean(1), 10);
  EXPECT_DOUBLE_EQ(archive.penalty({0.0}), 0);
}

}  // namespace
}  // namespace paretod
