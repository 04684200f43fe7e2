#pragma once
// Bounds for a search without any: a smooth map of the line onto an interval, the identity but for
// a margin inside either bound, where it is a parabola with its vertex over the bound, and mirrored
// beyond (as BoundTransform of pycma does).

#include <algorithm>
#include <cmath>

namespace paretod {

class Fold {
 public:
  /// Requires low < high and 0 < margin <= (high - low) / 2.
  Fold(double low, double high, double margin) : low_(low), high_(high), margin_(margin) {}

  [[nodiscard]] double value(double latent) const {
    const double u = home(latent);
    const auto bend = [&](double beyond) { return beyond * beyond / (4 * margin_); };
    if (u < low_ + margin_) return low_ + bend(u - (low_ - margin_));
    if (u > high_ - margin_) return high_ - bend(high_ + margin_ - u);
    return u;
  }
  /// The latent at home whose value this is.
  [[nodiscard]] double latent(double value) const {
    if (value < low_ + margin_) {
      return low_ - margin_ + 2 * std::sqrt(margin_ * std::max(0.0, value - low_));
    }
    if (value > high_ - margin_) {
      return high_ + margin_ - 2 * std::sqrt(margin_ * std::max(0.0, high_ - value));
    }
    return value;
  }
  /// The latent of the same value that is not a mirror image.
  [[nodiscard]] double home(double latent) const {
    const double first = low_ - margin_, last = high_ + margin_;
    if (latent >= first && latent <= last) return latent;
    const double length = last - first;
    const double phase = std::fmod(latent - first, 2 * length);
    const double along = phase < 0 ? phase + 2 * length : phase;
    return first + (along > length ? 2 * length - along : along);
  }
  /// Whether it is a mirror image.
  [[nodiscard]] bool beyond(double latent) const {
    return latent < low_ - margin_ || latent > high_ + margin_;
  }

 private:
  double low_, high_, margin_;
};

}  // namespace paretod
