#include "optimizers/cmaes_axis.hpp"

#include <algorithm>
#include <cmath>

namespace paretod {

CmaesAxis::CmaesAxis(const Coordinate& coordinate)
    : whole_(coordinate.whole), log_(coordinate.log_scale) {
  // Half a step on either side, so that every whole number owns an equal share.
  const double wide = whole_ ? 0.5 : 0;
  origin_ = scaled(coordinate.sampling_low - wide);
  width_ = scaled(coordinate.sampling_high + wide) - origin_;
  low_ = to_unit(scaled(coordinate.low - wide));
  high_ = to_unit(scaled(coordinate.high + wide));
  bounded_ = !whole_ && width_ > 0;
  step_ = whole_ && width_ > 0 ? 1 / width_ : 0;
}

double CmaesAxis::value(double latent) const {
  const double x = origin_ + width_ * (bounded_ ? std::clamp(latent, low_, high_) : latent);
  return log_ ? std::exp(x) : x;
}

double CmaesAxis::latent(double value) const {
  return to_unit(scaled(value));
}

double CmaesAxis::home(double latent) const {
  if (!whole_) return latent;
  const double low = low_ + step_ / 2;
  return std::clamp(latent, low, std::max(low, high_ - step_ / 2));
}

double CmaesAxis::excess(double latent) const {
  return bounded_ ? std::abs(latent - std::clamp(latent, low_, high_)) : 0;
}

double CmaesAxis::scaled(double x) const {
  return log_ ? std::log(x) : x;
}

double CmaesAxis::to_unit(double x) const {
  return width_ > 0 ? (x - origin_) / width_ : 0.5;
}

}  // namespace paretod
