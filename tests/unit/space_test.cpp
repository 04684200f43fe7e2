#include "optimizers/core/space.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cctype>
#include <cmath>
#include <limits>

namespace paretod {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Parameter real(std::string name, double low, double high, bool log = false) {
  return {.name = std::move(name),
          .type = ParameterType::real,
          .low = low,
          .high = high,
          .log_scale = log};
}

Parameter affine(std::string name, std::size_t size) {
  return {.name = std::move(name),
          .type = ParameterType::affine,
          .low = -std::numeric_limits<double>::infinity(),
          .high = std::numeric_limits<double>::infinity(),
          .size = size};
}

struct BadSpace {
  const char* what;
  std::vector<Parameter> parameters;
  const char* pointer;
};

class SpaceRefuses : public testing::TestWithParam<BadSpace> {};

TEST_P(SpaceRefuses, AndPointsAtTheField) {
  const auto made = SearchSpace::make(GetParam().parameters);
  ASSERT_FALSE(made.ok());
  ASSERT_FALSE(made.error().problems.empty());
  EXPECT_EQ(made.error().problems[0].pointer, GetParam().pointer);
}

const double nan_value = std::numeric_limits<double>::quiet_NaN();

INSTANTIATE_TEST_SUITE_P(
    Each, SpaceRefuses,
    testing::Values(
        BadSpace{"empty", {}, "/space"},
        BadSpace{"low above high", {real("x", 2, 1)}, "/space/0/low"},
        BadSpace{"NaN bound", {real("x", nan_value, 1)}, "/space/0/low"},
        BadSpace{"log needs positive", {real("x", 0, 1, true)}, "/space/0/low"},
        BadSpace{"duplicate name", {real("x", 0, 1), real("x", 0, 1)}, "/space/1/name"},
        BadSpace{"bad name", {real("a b", 0, 1)}, "/space/0/name"},
        BadSpace{"fractional integer bound",
                 {{.name = "n", .type = ParameterType::integer, .low = 0.5, .high = 3}},
                 "/space/0/low"},
        BadSpace{
            "no choices", {{.name = "c", .type = ParameterType::categorical}}, "/space/0/choices"},
        BadSpace{"choice twice",
                 {{.name = "c", .type = ParameterType::categorical, .choices = {"a", "a"}}},
                 "/space/0/choices/1"},
        BadSpace{"one coefficient", {affine("alpha", 1)}, "/space/0/size"}),
    [](const auto& instance) {
      std::string name = instance.param.what;
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
      return name;
    });

TEST(Space, AffineCoefficientsSumToOneWithTheNewestImplied) {
  Parameter alpha = affine("alpha", 4);
  alpha.positions = {100, 200, 300, std::nullopt};  // the last column is an average
  ASSERT_EQ(alpha.reference(), 2U);
  const SearchSpace space = *SearchSpace::make({real("x", 0, 1), alpha});
  ASSERT_EQ(space.dimension(), 4U);

  Point point{0.5, 0.25, -0.5, 0.75};
  EXPECT_THAT(space.coefficients(1, point), ElementsAre(0.25, -0.5, 0.5, 0.75));
  Point back(4, 0.5);
  space.set_coefficients(1, space.coefficients(1, point), back);
  EXPECT_EQ(back, point);
  EXPECT_TRUE(space.validate(point).empty());
}

TEST(Space, ValidatesAndRepairs) {
  const SearchSpace space = *SearchSpace::make(
      {real("x", 0, 1), {.name = "n", .type = ParameterType::integer, .low = 1, .high = 8}});
  EXPECT_TRUE(space.validate({0.5, 3}).empty());
  EXPECT_EQ(space.validate({1.5, 3})[0].pointer, "/x");
  EXPECT_EQ(space.validate({0.5, 2.5})[0].pointer, "/n");
  EXPECT_EQ(space.validate({nan_value, 2})[0].pointer, "/x");
  EXPECT_THAT(space.validate({0.5})[0].message, HasSubstr("coordinates"));
  const Point repaired = space.repair({nan_value, 99.4});
  EXPECT_TRUE(space.validate(repaired).empty());
  EXPECT_EQ(repaired[1], 8);
}

TEST(Space, SamplesAreValidAndCoverTheLogScale) {
  const SearchSpace space = *SearchSpace::make(
      {real("rate", 1e-6, 1, true),
       {.name = "c", .type = ParameterType::categorical, .choices = {"a", "b", "c"}},
       {.name = "flag", .type = ParameterType::boolean},
       affine("alpha", 5)});
  Rng rng(1);
  int small = 0;
  std::array<int, 3> choices{};
  for (int i = 0; i < 3000; ++i) {
    const Point point = space.sample(rng);
    ASSERT_TRUE(space.validate(point).empty());
    small += point[0] < 1e-3 ? 1 : 0;
    ++choices.at(static_cast<std::size_t>(point[1]));
  }
  EXPECT_NEAR(small, 1500, 150);
  for (const int count : choices) EXPECT_NEAR(count, 1000, 130);
}

}  // namespace
}  // namespace paretod
