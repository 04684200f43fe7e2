#include "evaluators/llm/governor.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace paretod::llm {
namespace {

/// A little below the limit, and this share of a minute's worth at once: together they stay below
/// it in any minute.
constexpr double headroom = 0.99;
constexpr double burst_share = 0.005;

constexpr double first_pause_s = 0.5;
constexpr double longest_pause_s = 8;

double interval(double per_min) {
  return 60 / (headroom * per_min);
}

}  // namespace

Governor::Governor(GovernorLimits limits)
    : limits_(limits),
      concurrency_(static_cast<double>(std::max<std::size_t>(limits.concurrency, 1))) {}

double Governor::wait(double now, bool rated) const {
  if (static_cast<double>(in_flight_) + 1 > concurrency_) {
    return std::numeric_limits<double>::infinity();
  }
  double at = paused_until_;
  if (!rated) return std::max(0.0, at - now);
  if (limits_.requests_per_min > 0) {
    const double burst = std::max(0.0, burst_share * limits_.requests_per_min - 1);
    at = std::max(at, next_request_ - burst * interval(limits_.requests_per_min));
  }
  if (limits_.tokens_per_min > 0) {
    at = std::max(at, next_token_ - burst_share * 60);
  }
  return std::max(0.0, at - now);
}

void Governor::sent(double now, double tokens, bool rated) {
  ++in_flight_;
  if (!rated) return;
  if (limits_.requests_per_min > 0) {
    next_request_ = std::max(next_request_, now) + interval(limits_.requests_per_min);
  }
  if (limits_.tokens_per_min > 0) {
    next_token_ = std::max(next_token_, now) + tokens * interval(limits_.tokens_per_min);
  }
}

void Governor::ended() {
  --in_flight_;
}

void Governor::answered(double estimated, double real) {
  refusals_ = 0;
  concurrency_ = std::min(static_cast<double>(std::max<std::size_t>(limits_.concurrency, 1)),
                          concurrency_ + 1 / concurrency_);
  if (limits_.tokens_per_min > 0) {
    next_token_ += (real - estimated) * interval(limits_.tokens_per_min);
  }
}

double Governor::throttled(double now, std::optional<double> retry_after_s, double jitter) {
  // Those that were under way when the first was refused say nothing new.
  if (now >= paused_until_) {
    concurrency_ = std::max(1.0, concurrency_ / 2);
    ++refusals_;
  }
  const double backoff =
      std::min(longest_pause_s, first_pause_s * std::pow(2.0, std::min(refusals_ - 1, 10))) *
      (1 - 0.25 * jitter);
  const double pause = retry_after_s.value_or(backoff);
  paused_until_ = std::max(paused_until_, now + pause);
  return paused_until_ - now;
}

}  // namespace paretod::llm
