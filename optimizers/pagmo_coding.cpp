#include "optimizers/pagmo_coding.hpp"

#include <algorithm>
#include <cmath>

namespace paretod {

PagmoCoding::PagmoCoding(const SearchSpace& space, WholeNumbers whole_numbers) : space_(space) {
  const bool native = whole_numbers == WholeNumbers::native;
  for (const bool last : {false, true}) {
    for (std::size_t i = 0; i < space.dimension(); ++i) {
      const Coordinate& c = space.coordinates()[i];
      if ((c.whole && native) != last || c.sampling_low == c.sampling_high) continue;
      const double margin = c.whole && !native ? 0.5 : 0;
      order_.push_back(i);
      low_.push_back(c.log_scale ? std::log(c.sampling_low) : c.sampling_low - margin);
      high_.push_back(c.log_scale ? std::log(c.sampling_high) : c.sampling_high + margin);
      whole_ += last ? 1 : 0;
    }
  }
}

Point PagmoCoding::decode(const double* x) const {
  Point point;
  for (const Coordinate& c : space_.coordinates()) point.push_back(c.sampling_low);
  for (const std::size_t i : order_) {
    point[i] = space_.coordinates()[i].log_scale ? std::exp(*x) : *x;
    ++x;
  }
  return space_.repair(std::move(point));
}

std::vector<double> PagmoCoding::encode(const Point& point) const {
  std::vector<double> x;
  for (std::size_t i = 0; i < order_.size(); ++i) {
    const double value = point[order_[i]];
    const bool log_scale = space_.coordinates()[order_[i]].log_scale;
    x.push_back(std::clamp(log_scale ? std::log(value) : value, low_[i], high_[i]));
  }
  return x;
}

}  // namespace paretod
