// Token buckets against a clock that only the test moves.
#include "daemon/rest/rate_limit.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

namespace paretod {
namespace {

using namespace std::chrono_literals;

class RateLimiting : public testing::Test {
 protected:
  /// How many of `count` requests pass.
  int passed(RateLimiter& limiter, const std::string& client, int count) const {
    int passed = 0;
    for (int i = 0; i < count; ++i) passed += limiter.refuse(client, now_) ? 0 : 1;
    return passed;
  }

  RateLimiter::Clock::time_point now_{1h};
};

TEST_F(RateLimiting, LetsABurstPassAndThenTheRate) {
  RateLimiter limiter({.per_second = 50, .burst = 100});
  EXPECT_EQ(passed(limiter, "a", 150), 100);
  now_ += 1s;
  EXPECT_EQ(passed(limiter, "a", 150), 50);
  now_ += 100ms;
  EXPECT_EQ(passed(limiter, "a", 150), 5);
  now_ += 1h;
  EXPECT_EQ(passed(limiter, "a", 150), 100);
}

TEST_F(RateLimiting, SteadyUseBelowTheRateIsNeverRefused) {
  RateLimiter limiter({.per_second = 50, .burst = 1});
  for (int i = 0; i < 1'000; ++i, now_ += 20ms) EXPECT_FALSE(limiter.refuse("a", now_)) << i;
}

TEST_F(RateLimiting, SaysHowLongToWait) {
  RateLimiter limiter({.per_second = 0.5, .burst = 1});
  EXPECT_FALSE(limiter.refuse("a", now_));
  EXPECT_EQ(limiter.refuse("a", now_), 2s);
  now_ += 1500ms;
  EXPECT_EQ(limiter.refuse("a", now_), 500ms);
  now_ += 500ms;
  EXPECT_FALSE(limiter.refuse("a", now_));
}

TEST_F(RateLimiting, WaitOfATinyRateFitsTheClock) {
  RateLimiter limiter({.per_second = 1e-30, .burst = 1});
  EXPECT_FALSE(limiter.refuse("a", now_));
  EXPECT_EQ(limiter.refuse("a", now_), 24h);
}

TEST_F(RateLimiting, ClientsDoNotShare) {
  RateLimiter limiter({.per_second = 1, .burst = 3});
  EXPECT_EQ(passed(limiter, "a", 10), 3);
  EXPECT_EQ(passed(limiter, "b", 10), 3);
}

TEST_F(RateLimiting, RefusedRequestsCostNothing) {
  RateLimiter limiter({.per_second = 1, .burst = 1});
  EXPECT_EQ(passed(limiter, "a", 1'000), 1);
  now_ += 1s;
  EXPECT_EQ(passed(limiter, "a", 1'000), 1);
}

TEST_F(RateLimiting, AnEarlierTimeGainsNothing) {
  RateLimiter limiter({.per_second = 1, .burst = 1});
  EXPECT_EQ(passed(limiter, "a", 1), 1);
  now_ -= 10s;
  EXPECT_EQ(passed(limiter, "a", 1), 0);
  now_ += 10s;
  EXPECT_EQ(passed(limiter, "a", 1), 0);
}

TEST_F(RateLimiting, ZeroIsNoLimit) {
  RateLimiter limiter({.per_second = 0});
  EXPECT_EQ(passed(limiter, "a", 10'000), 10'000);
  EXPECT_EQ(limiter.clients(), 0U);
}

TEST_F(RateLimiting, ForgetsIdleClients) {
  RateLimiter limiter({.per_second = 50, .burst = 100});
  for (int i = 0; i < 100'000; ++i) {
    EXPECT_FALSE(limiter.refuse("client " + std::to_string(i), now_));
    now_ += 1ms;  // a bucket is full again after 20 ms, and a sweep comes every 2 s
    ASSERT_LE(limiter.clients(), 2'100U);
  }
  now_ += 1h;
  EXPECT_FALSE(limiter.refuse("the next", now_));
  EXPECT_EQ(limiter.clients(), 1U);
}

TEST_F(RateLimiting, ClientsWithoutRoomShareABucket) {
  RateLimiter limiter({.per_second = 1, .burst = 2, .clients = 3});
  for (const char* known : {"a", "b", "c"}) EXPECT_EQ(passed(limiter, known, 1), 1);
  EXPECT_EQ(passed(limiter, "d", 2), 2);
  EXPECT_EQ(passed(limiter, "e", 2), 0);
  EXPECT_EQ(passed(limiter, "a", 2), 1);
  EXPECT_EQ(limiter.clients(), 3U);
  now_ += 10s;
  EXPECT_EQ(passed(limiter, "e", 3), 2);
}

TEST_F(RateLimiting, RefusesLimitsThatLetNothingPass) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const RateLimit limit :
       {RateLimit{.per_second = -1}, RateLimit{.per_second = nan}, RateLimit{.burst = 0},
        RateLimit{.burst = 0.5}, RateLimit{.burst = nan}}) {
    EXPECT_THROW(RateLimiter{limit}, std::invalid_argument);
  }
}

TEST_F(RateLimiting, ThreadsTogetherGetOneBurst) {
  RateLimiter limiter({.per_second = 1, .burst = 500});
  std::atomic<int> together{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { together += passed(limiter, "a", 300); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, 500);
}

}  // namespace
}  // namespace paretod
