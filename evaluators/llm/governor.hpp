#pragma once
// How fast one provider may be asked: requests and tokens per minute, requests at once, and what
// its refusals say.  Shared by everything that a process sends there.  Pure arithmetic on a clock
// that the caller reads; not thread-safe.
//
// Rates are kept with the generic cell rate algorithm (ITU-T I.371): requests are spaced evenly,
// with little room to catch up, so that a provider that counts in a sliding window sees no more
// than its limit in any minute.  Concurrency follows additive increase, multiplicative decrease
// (Chiu and Jain, 1989): halved when the provider refuses, at most once per pause, and raised by
// one per round of successes.  Without a Retry-After the pause doubles from half a second to eight.

#include <cstddef>
#include <optional>

namespace paretod::llm {

struct GovernorLimits {
  double requests_per_min = 0;  ///< 0: no limit that is known
  double tokens_per_min = 0;    ///< 0: no limit that is known
  std::size_t concurrency = 8;  ///< at most at once
};

class Governor {
 public:
  explicit Governor(GovernorLimits limits);

  /// Seconds until a request may be sent; 0: now; infinity: when another one has ended.
  /// `rated`: it counts towards the rates, as whatever runs the model does.
  [[nodiscard]] double wait(double now, bool rated = true) const;
  /// `tokens`: as the provider will count them beforehand, usually prompt and max_tokens.
  void sent(double now, double tokens, bool rated = true);
  /// A request ended, however it did.
  void ended();
  /// It was answered; `estimated` is what sent() was told, `real` what it used.
  void answered(double estimated, double real);
  /// It was refused for now.  `jitter`: uniform in [0, 1).  Returns how long all wait.
  double throttled(double now, std::optional<double> retry_after_s, double jitter);

  [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
  [[nodiscard]] double concurrency() const { return concurrency_; }

 private:
  GovernorLimits limits_;
  double concurrency_;
  std::size_t in_flight_ = 0;
  double paused_until_ = 0;
  int refusals_ = 0;         ///< since the last answer
  double next_request_ = 0;  ///< theoretical arrival times
  double next_token_ = 0;
};

}  // namespace paretod::llm
