#pragma once
// One coordinate of `cmaes` between its latent scale, where the sampling box of the space is the
// unit interval (logarithmic where the space says so), and the space's own.  A plain value.

#include "optimizers/core/space.hpp"

namespace paretod {

class CmaesAxis {
 public:
  explicit CmaesAxis(const Coordinate& coordinate);

  /// In the space's own scale; of a continuous coordinate the nearest value within its bounds.
  [[nodiscard]] double value(double latent) const;
  [[nodiscard]] double latent(double value) const;
  /// Where a mean may rest: whole coordinates keep off the border.
  [[nodiscard]] double home(double latent) const;
  /// How far outside the bounds; 0 for whole coordinates.
  [[nodiscard]] double excess(double latent) const;

  [[nodiscard]] bool whole() const { return whole_; }
  /// Latent distance of neighbouring whole numbers; 0 for continuous coordinates.
  [[nodiscard]] double step() const { return step_; }

 private:
  [[nodiscard]] double scaled(double x) const;
  [[nodiscard]] double to_unit(double x) const;

  bool whole_;
  bool log_;
  bool bounded_ = false;
  double step_ = 0;
  double origin_ = 0, width_ = 0;
  double low_ = 0, high_ = 1;
};

}  // namespace paretod
