// The configuration file: limits on requests.
#include "daemon/config.hpp"

#include <gtest/gtest.h>

namespace paretod {
namespace {

TEST(Config, LimitsTheRateOfRequestsByDefault) {
  const auto config = parse_config("{}", ".");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->rate.per_second, 50);
  EXPECT_EQ(config->rate.burst, 100);
}

TEST(Config, TakesAnotherRateOrNone) {
  const auto config = parse_config(R"({"limits":{"requests_per_s":0.5,"request_burst":3}})", ".");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->rate.per_second, 0.5);
  EXPECT_EQ(config->rate.burst, 3);
  const auto off = parse_config(R"({"limits":{"requests_per_s":0}})", ".");
  ASSERT_TRUE(off.ok());
  EXPECT_EQ(off->rate.per_second, 0);
}

TEST(Config, RefusesARateThatLetsNothingPass) {
  const auto config = parse_config(R"({"limits":{"requests_per_s":-1,"request_burst":0.5}})", ".");
  ASSERT_FALSE(config.ok());
  ASSERT_EQ(config.error().problems.size(), 2U);
  EXPECT_EQ(config.error().problems[0].pointer, "/limits/requests_per_s");
  EXPECT_EQ(config.error().problems[1].pointer, "/limits/request_burst");
}

}  // namespace
}  // namespace paretod
