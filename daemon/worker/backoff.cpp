#include "daemon/worker/backoff.hpp"

#include <algorithm>

namespace paretod {

Backoff::Backoff(double first_s, double longest_s)
    : first_s_(std::min(first_s, longest_s)), longest_s_(longest_s), next_s_(first_s_) {}

double Backoff::next_s() {
  const double wait = next_s_ * std::uniform_real_distribution<>(0.5, 1)(random_);
  next_s_ = std::min(2 * next_s_, longest_s_);
  return wait;
}

}  // namespace paretod
