#include "optimizers/core/params.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace paretod {

struct ExampleParams {
  std::int64_t elites = 5;
  double rate = 0.3;
  std::string mode = "steady";
  bool loud = false;
  std::vector<std::string> names;
};

template <>
Fields<ExampleParams> describe() {
  return Fields<ExampleParams>()
      .add("elites", &ExampleParams::elites, "how many are kept", 1, 100)
      .add("rate", &ExampleParams::rate, "how fast", 0, 1)
      .add("mode", &ExampleParams::mode, "how", {"steady", "other"})
      .add("loud", &ExampleParams::loud, "whether")
      .add("names", &ExampleParams::names, "which");
}

struct DerivedParams : ExampleParams {
  DerivedParams() { rate = 0.7; }
  std::int64_t extra = 2;
};

template <>
Fields<DerivedParams> describe() {
  return Fields<DerivedParams>()
      .add("rate", &DerivedParams::rate, "how fast", 0, 1)
      .add("mode", &DerivedParams::mode, "how", {"steady", "other"})
      .add("extra", &DerivedParams::extra, "more", 0, 9);
}

namespace {

using testing::HasSubstr;

TEST(Params, DefaultsAndOverrides) {
  const auto defaults = describe<ExampleParams>().bind({});
  EXPECT_EQ(defaults->elites, 5);
  const auto params = describe<ExampleParams>().bind({{"elites", std::int64_t{7}},
                                                      {"rate", std::int64_t{1}},
                                                      {"mode", std::string("other")},
                                                      {"names", std::vector<double>{}}});
  ASSERT_TRUE(params.ok()) << params.error().text();
  EXPECT_EQ(params->elites, 7);
  EXPECT_EQ(params->rate, 1.0) << "a whole number serves where a number is wanted";
  EXPECT_EQ(params->mode, "other");
}

TEST(Params, MembersOfABaseHaveTheDefaultsOfTheDerived) {
  const Fields<DerivedParams> fields = describe<DerivedParams>();
  EXPECT_EQ(fields.infos()[0].default_value, ParamValue(0.7));
  EXPECT_EQ(fields.bind({})->rate, 0.7);
  const auto params = fields.bind({{"mode", std::string("other")}, {"extra", std::int64_t{3}}});
  ASSERT_TRUE(params.ok()) << params.error().text();
  EXPECT_EQ(params->mode, "other");
  EXPECT_EQ(params->extra, 3);
}

TEST(Params, EveryBadFieldIsNamed) {
  const auto params = describe<ExampleParams>().bind({{"elites", 2.5},
                                                      {"rate", std::int64_t{2}},
                                                      {"mode", std::string("wild")},
                                                      {"eltes", std::int64_t{1}}});
  ASSERT_FALSE(params.ok());
  const Problems& problems = params.error().problems;
  ASSERT_EQ(problems.size(), 4U);
  EXPECT_EQ(problems[0].pointer, "/optimizer/params/elites");
  EXPECT_THAT(problems[0].message, HasSubstr("whole number"));
  EXPECT_EQ(problems[1].pointer, "/optimizer/params/eltes");
  EXPECT_THAT(problems[1].message, HasSubstr("known: elites, rate, mode"));
  EXPECT_THAT(problems[2].message, HasSubstr("steady, other"));
  EXPECT_THAT(problems[3].message, HasSubstr("between 0 and 1"));
}

TEST(Params, NonFiniteNumbersAreRefused) {
  EXPECT_FALSE(
      describe<ExampleParams>().bind({{"rate", std::numeric_limits<double>::quiet_NaN()}}).ok());
}

}  // namespace
}  // namespace paretod
