#pragma once
// The denoiser of evaluators/diffusion/denoiser.hpp and its samplers written plainly, one sample at
// a time in double precision, from the papers' formulas: what the tiled code is compared with.

#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "evaluators/diffusion/denoiser.hpp"
#include "evaluators/diffusion/solver.hpp"

namespace paretod::test {

using Vector = std::vector<double>;

class ReferenceDenoiser {
 public:
  ReferenceDenoiser(const DenoiserShape& shape, const std::vector<float>& parameters)
      : shape_(shape) {
    std::size_t at = 0;
    for (const TensorSpec& spec : denoiser_layout(shape)) {
      const std::size_t count = element_count(spec);
      tensors_[spec.name].assign(parameters.begin() + static_cast<std::ptrdiff_t>(at),
                                 parameters.begin() + static_cast<std::ptrdiff_t>(at + count));
      at += count;
    }
  }

  [[nodiscard]] Vector velocity(const Vector& x, double time, std::size_t label,
                                const std::vector<std::uint8_t>& dropped) const {
    const std::size_t width = shape_.width;
    Vector embedding(width);
    for (std::size_t i = 0; i < width / 2; ++i) {
      const double f = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(width / 2));
      embedding[i] = std::sin(time * f);
      embedding[width / 2 + i] = std::cos(time * f);
    }
    Vector condition = linear("t2", silu(linear("t1", embedding)));
    for (std::size_t i = 0; i < width; ++i) {
      condition[i] += tensors_.at("cls")[label * width + i];
    }
    Vector h = linear("in", x);
    for (std::size_t b = 0; b < shape_.blocks; ++b) {
      if (!dropped.empty() && dropped[b] != 0) continue;
      const std::string block = std::to_string(b) + ".";
      const Vector out =
          linear(block + "2", silu(linear(block + "1", sum(norm(block + "ln", h), condition))));
      h = sum(h, out);
    }
    return linear("out", norm("out.ln", h));
  }

 private:
  static Vector sum(Vector a, const Vector& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    return a;
  }
  static Vector silu(Vector z) {
    for (double& v : z) v /= 1 + std::exp(-v);
    return z;
  }
  [[nodiscard]] Vector linear(const std::string& name, const Vector& x) const {
    const Vector& weights = tensors_.at(name + ".w");
    Vector y = tensors_.at(name + ".b");
    for (std::size_t row = 0; row < y.size(); ++row) {
      for (std::size_t i = 0; i < x.size(); ++i) y[row] += weights[row * x.size() + i] * x[i];
    }
    return y;
  }
  [[nodiscard]] Vector norm(const std::string& name, Vector x) const {
    const auto n = static_cast<double>(x.size());
    double mean = 0;
    double variance = 0;
    for (const double v : x) mean += v / n;
    for (const double v : x) variance += (v - mean) * (v - mean) / n;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = (x[i] - mean) / std::sqrt(variance + 1e-5) * tensors_.at(name + ".w")[i] +
             tensors_.at(name + ".b")[i];
    }
    return x;
  }

  DenoiserShape shape_;
  std::map<std::string, Vector> tensors_;
};

/// One sample along nodes in descending time.
inline Vector reference_sample(const ReferenceDenoiser& denoiser,
                               const std::vector<double>& alpha_bar_at_nodes,
                               const std::vector<ScheduleNode>& nodes, Vector x, std::size_t label,
                               double guidance, std::size_t null_class) {
  std::vector<Vector> images;
  std::vector<Vector> noises;
  const auto lambda = [&](std::size_t i) {
    return std::log(std::sqrt(alpha_bar_at_nodes[i]) / std::sqrt(1 - alpha_bar_at_nodes[i]));
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const bool last = i + 1 == nodes.size();
    const double a = std::sqrt(alpha_bar_at_nodes[i]);
    const double s = std::sqrt(1 - alpha_bar_at_nodes[i]);
    const double next_a = last ? 1 : std::sqrt(alpha_bar_at_nodes[i + 1]);
    const double next_s = last ? 0 : std::sqrt(1 - alpha_bar_at_nodes[i + 1]);
    Vector v = denoiser.velocity(x, nodes[i].time, label, nodes[i].dropped);
    if (guidance != 1) {
      // Of noises, as the paper combines them: e = s x + a v.
      const Vector none = denoiser.velocity(x, nodes[i].time, null_class, nodes[i].dropped);
      for (std::size_t p = 0; p < v.size(); ++p) {
        const double conditional = s * x[p] + a * v[p];
        const double free = s * x[p] + a * none[p];
        v[p] = (free + guidance * (conditional - free) - s * x[p]) / a;
      }
    }
    Vector image(x.size());
    Vector noise(x.size());
    for (std::size_t p = 0; p < x.size(); ++p) {
      image[p] = std::min(1.0, std::max(-1.0, a * x[p] - s * v[p]));
      noise[p] = (x[p] - a * image[p]) / s;
    }
    images.push_back(image);
    noises.push_back(noise);
    if (nodes[i].solver == Solver::dpm_solver && i > 0 && !last) {
      const double h = lambda(i + 1) - lambda(i);
      const double r = (lambda(i) - lambda(i - 1)) / h;
      for (std::size_t p = 0; p < x.size(); ++p) {
        const double d = (1 + 1 / (2 * r)) * image[p] - 1 / (2 * r) * images[i - 1][p];
        x[p] = next_s / s * x[p] - next_a * (std::exp(-h) - 1) * d;
      }
    } else if (nodes[i].solver == Solver::plms && i > 0) {
      for (std::size_t p = 0; p < x.size(); ++p) {
        const auto e = [&](std::size_t back) { return noises[i - back][p]; };
        const double combined =
            i == 1   ? (3 * e(0) - e(1)) / 2
            : i == 2 ? (23 * e(0) - 16 * e(1) + 5 * e(2)) / 12
                     : (55 * e(0) - 59 * e(1) + 37 * e(2) - 9 * e(3)) / 24;
        const double moved = std::min(1.0, std::max(-1.0, (x[p] - s * combined) / a));
        x[p] = next_a * moved + next_s * combined;
      }
    } else {
      for (std::size_t p = 0; p < x.size(); ++p) {
        x[p] = next_a * image[p] + next_s * noise[p];
      }
    }
  }
  return x;
}

}  // namespace paretod::test
