#include "daemon/cli/scatter_plot.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "daemon/cli/format.hpp"

namespace paretod::cli {
namespace {

using Lines = std::vector<std::string>;

TEST(CliScatterPlot, PutsPointsAtTheirPlaces) {
  const Lines lines =
      scatter_plot({{0, 10}, {5, 5, true}, {10, 0}, {5, 5}}, "cost", "error", 15, 3);
  EXPECT_EQ(lines, (Lines{
                       "   error",
                       "10 ┤•",
                       "   │     ◆",
                       " 0 ┤          •",
                       "   └┬─────────┬",
                       "    0  cost  10",
                   }));
}

TEST(CliScatterPlot, StaysWithinItsWidth) {
  const std::vector<PlotPoint> points = {{-1234.5, 1e-9}, {77, 3e9}, {12, 0}};
  for (std::size_t width = 0; width < 100; ++width) {
    for (const std::string& line : scatter_plot(points, "a long label", "another one", width, 8)) {
      EXPECT_LE(display_width(line), width);
    }
  }
}

TEST(CliScatterPlot, OnePointStandsInTheMiddle) {
  const Lines lines = scatter_plot({{2, 3}}, "x", "y", 30, 5);
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_NE(lines[3].find("•"), std::string::npos);
}

TEST(CliScatterPlot, SurvivesTheWholeRangeOfNumbers) {
  const double most = std::numeric_limits<double>::max();
  const Lines lines = scatter_plot({{-most, -most}, {0, 0}, {most, most}}, "x", "y", 40, 5);
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_NE(lines[3].find("•"), std::string::npos);
}

TEST(CliScatterPlot, DrawsNothingWithoutPointsOrRoom) {
  EXPECT_TRUE(scatter_plot({}, "x", "y", 40, 10).empty());
  EXPECT_TRUE(scatter_plot({{0, 0}}, "x", "y", 8, 10).empty());
  EXPECT_TRUE(scatter_plot({{0, 0}}, "x", "y", 40, 1).empty());
}

}  // namespace
}  // namespace paretod::cli
