#pragma once
// How long to wait before trying again: doubling, and each time shortened by chance to as little as
// half, so that many workers which lost one daemon do not come back at the same instant.  Not
// thread-safe.

#include <random>

namespace paretod {

class Backoff {
 public:
  /// Seconds.
  Backoff(double first_s, double longest_s);

  /// The next wait, in seconds.
  double next_s();
  /// After a success.
  void reset() { next_s_ = first_s_; }

 private:
  double first_s_;
  double longest_s_;
  double next_s_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace paretod
