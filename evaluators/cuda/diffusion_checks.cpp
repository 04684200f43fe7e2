#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>

#include "evaluators/cuda/checks.hpp"
#include "evaluators/cuda/denoiser_batch.hpp"
#include "evaluators/diffusion/schedule.hpp"
#include "evaluators/diffusion/tiles.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::cuda {
namespace {

using Row = std::vector<double>;

/// The network and its solvers in double, a sample at a time, by the formulas of the headers of
/// evaluators/diffusion.
class PlainDenoiser {
 public:
  PlainDenoiser(const DenoiserShape& shape, const float* weights) : shape_(shape) {
    const float* at = weights;
    for (const TensorSpec& spec : denoiser_layout(shape)) {
      tensors_[spec.name] = Row(at, at + element_count(spec));
      at += element_count(spec);
    }
  }

  Row sample(Row x, const std::vector<SolverStep>& steps, std::size_t label) const {
    std::vector<Row> images;
    std::vector<Row> noises;
    for (const SolverStep& step : steps) {
      const Row v = predict(x, step, label);
      const double a = static_cast<double>(step.coefficients.signal);
      const double s = static_cast<double>(step.coefficients.noise);
      const double next_a = static_cast<double>(step.coefficients.next_signal);
      const double next_s = static_cast<double>(step.coefficients.next_noise);
      Row image(x.size());
      Row noise(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        image[i] = std::clamp(a * x[i] - s * v[i], -1.0, 1.0);
        noise[i] = (x[i] - a * image[i]) / s;
      }
      images.push_back(image);
      noises.push_back(noise);
      for (std::size_t i = 0; i < x.size(); ++i) {
        double combined = 0;
        for (std::size_t back = 0; back < step.order; ++back) {
          const auto& from = step.solver == Solver::dpm_solver ? images : noises;
          combined += static_cast<double>(step.weights[back]) * from[from.size() - 1 - back][i];
        }
        if (step.order == 1) {
          x[i] = next_a * image[i] + next_s * noise[i];
        } else if (step.solver == Solver::plms) {
          x[i] = next_a * std::clamp((x[i] - s * combined) / a, -1.0, 1.0) + next_s * combined;
        } else {
          x[i] = next_s / s * x[i] + (next_a - next_s * a / s) * combined;
        }
      }
    }
    return x;
  }

  static Row apply(const Row& weights, const Row& bias, const Row& x) {
    Row out = bias;
    for (std::size_t o = 0; o < out.size(); ++o) {
      for (std::size_t i = 0; i < x.size(); ++i) out[o] += weights[o * x.size() + i] * x[i];
    }
    return out;
  }

 private:
  [[nodiscard]] const Row& of(const std::string& name) const { return tensors_.at(name); }
  [[nodiscard]] Row layer(const std::string& name, const Row& x) const {
    return apply(of(name + ".w"), of(name + ".b"), x);
  }
  static void silu(Row& x) {
    for (double& z : x) z /= 1 + std::exp(-z);
  }
  [[nodiscard]] Row norm(const std::string& name, const Row& x) const {
    double mean = 0;
    double variance = 0;
    for (const double value : x) mean += value / static_cast<double>(x.size());
    for (const double value : x) {
      variance += (value - mean) * (value - mean) / static_cast<double>(x.size());
    }
    Row out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      out[i] = (x[i] - mean) / std::sqrt(variance + 1e-5) * of(name + ".w")[i] + of(name + ".b")[i];
    }
    return out;
  }
  [[nodiscard]] Row predict(const Row& x, const SolverStep& step, std::size_t label) const {
    const std::size_t width = shape_.width;
    Row embedding(width);
    for (std::size_t i = 0; i < width / 2; ++i) {
      const double f = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(width / 2));
      embedding[i] = std::sin(step.time * f);
      embedding[width / 2 + i] = std::cos(step.time * f);
    }
    Row hidden = layer("t1", embedding);
    silu(hidden);
    Row condition = layer("t2", hidden);
    for (std::size_t i = 0; i < width; ++i) condition[i] += of("cls")[label * width + i];
    Row h = layer("in", x);
    for (std::size_t b = 0; b < shape_.blocks; ++b) {
      if (!step.dropped.empty() && step.dropped[b] != 0) continue;
      const std::string block = std::to_string(b) + ".";
      Row u = norm(block + "ln", h);
      for (std::size_t i = 0; i < width; ++i) u[i] += condition[i];
      Row wide = layer(block + "1", u);
      silu(wide);
      const Row change = layer(block + "2", wide);
      for (std::size_t i = 0; i < width; ++i) h[i] += change[i];
    }
    return layer("out", norm("out.ln", h));
  }

  DenoiserShape shape_;
  std::map<std::string, Row> tensors_;
};

std::vector<float> draw(Rng& rng, std::size_t count, double scale) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(scale * rng.normal());
  return values;
}

/// Weights that keep numbers of order one: matrices by their width, scales around one.
std::vector<float> draw_denoiser(Rng& rng, const DenoiserShape& shape) {
  std::vector<float> weights;
  for (const TensorSpec& spec : denoiser_layout(shape)) {
    const bool matrix = spec.shape.size() == 2;
    std::vector<float> values =
        draw(rng, element_count(spec),
             matrix ? 0.7 / std::sqrt(static_cast<double>(spec.shape[1])) : 0.1);
    if (spec.name.ends_with("ln.w")) {
      for (float& value : values) value += 1;
    }
    weights.insert(weights.end(), values.begin(), values.end());
  }
  return weights;
}

FeatureWeights draw_features(Rng& rng, std::size_t pixels, std::size_t hidden,
                             std::size_t outputs) {
  FeatureWeights features;
  features.hidden = hidden;
  features.outputs = outputs;
  features.first = draw(rng, hidden * pixels, 1 / std::sqrt(static_cast<double>(pixels)));
  features.first_bias = draw(rng, hidden, 0.1);
  features.last = draw(rng, outputs * hidden, 1 / std::sqrt(static_cast<double>(hidden)));
  features.last_bias = draw(rng, outputs, 0.1);
  features.pixel_weight = 0.4F;
  return features;
}

Row features_of(const FeatureWeights& features, const Row& image) {
  const auto wide = [](const std::vector<float>& values) {
    return Row(values.begin(), values.end());
  };
  Row hidden = PlainDenoiser::apply(wide(features.first), wide(features.first_bias), image);
  for (double& value : hidden) value = std::tanh(value);
  Row out = PlainDenoiser::apply(wide(features.last), wide(features.last_bias), hidden);
  for (double& value : out) value = std::tanh(value);
  for (const double pixel : image) {
    out.push_back(static_cast<double>(features.pixel_weight) * pixel);
  }
  return out;
}

struct Case {
  std::string name;
  DenoiserShape shape;
  std::optional<std::size_t> null_class = {};
  std::size_t hidden = 5;
  std::size_t outputs = 3;
  /// Of each candidate: samples, and the times of its steps.
  std::vector<std::pair<std::size_t, std::vector<double>>> candidates;
  std::vector<Solver> solvers = {Solver::ddim};  ///< dealt out to the steps
  double dropped = 0;                            ///< share of blocks
  bool shared_weights = false;
};

std::vector<BatchCandidate> draw_candidates(Rng& rng, const Case& what) {
  const auto alpha_bar = cosine_alpha_bar(1000);
  std::vector<BatchCandidate> candidates;
  for (const auto& [samples, times] : what.candidates) {
    std::vector<ScheduleNode> nodes;
    for (const double time : times) {
      ScheduleNode node{time, what.solvers[nodes.size() % what.solvers.size()], {}};
      for (std::size_t b = 0; b < what.shape.blocks; ++b) {
        node.dropped.push_back(rng.bernoulli(what.dropped) ? 1 : 0);
      }
      nodes.push_back(std::move(node));
    }
    candidates.push_back({solver_steps(alpha_bar, nodes), samples, candidates.size() % 2});
  }
  return candidates;
}

void compare(double got, double expected, double scale, double& error) {
  const double off = std::abs(got - expected) / scale;
  error = std::max(error, std::isnan(off) ? INFINITY : off);
}

std::vector<CheckResult> run_case(const Case& what, std::uint64_t seed) {
  Rng rng(seed, 7);
  // Float32 through many layers and divisions by the noise level.
  CheckResult images{what.name + ": images", 0, 2e-4, {}};
  CheckResult features{what.name + ": features", 0, 2e-4, {}};
  CheckResult sums{what.name + ": sums of features and products", 0, 1e-12, {}};
  CheckResult influence{what.name + ": influences", 0, 1e-4, {}};
  const FeatureWeights network = draw_features(rng, what.shape.pixels, what.hidden, what.outputs);
  const std::uint64_t noise_seed = rng.bits64();
  DenoiserBatch batch(what.shape, what.null_class, network, noise_seed);
  std::vector<BatchCandidate> candidates = draw_candidates(rng, what);
  const std::size_t stride = batch.parameters() + 3;  // not aligned to four
  std::vector<float> weights;
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    const auto mine = draw_denoiser(rng, what.shape);
    weights.insert(weights.end(), mine.begin(), mine.end());
    weights.resize((c + 1) * stride, NAN);
  }
  DeviceBuffer<float> device(weights.size());
  upload(weights.data(), weights.size(), device.data(), batch.stream());
  const std::size_t device_stride = what.shared_weights ? 0 : stride;
  const auto results = batch.sample(candidates, device.data(), device_stride);

  NoiseSource noise(noise_seed, what.shape.pixels, 1 << 20);
  const std::size_t d = batch.dimension();
  std::vector<Moments> moments(candidates.size());
  std::vector<FrechetDistance::Expansion> expansions(candidates.size());
  std::vector<const FrechetDistance::Expansion*> asked;
  std::vector<std::vector<float>> rows;
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    const BatchCandidate& candidate = candidates[c];
    const PlainDenoiser plain(what.shape, &weights[what.shared_weights ? 0 : c * stride]);
    const auto block = noise.block(candidate.replicate, candidate.samples, 1);
    const auto got_images = batch.images(c, candidate.samples);
    rows.push_back(batch.features(c, candidate.samples));
    if (!results[c].finite) images.fault = "a candidate counts as overflowed";
    Row sum(d);
    Row products(d * d);
    // Beyond some samples only what the device itself computed is summed.
    const std::size_t checked = std::min<std::size_t>(candidate.samples, 200);
    for (std::size_t i = 0; i < candidate.samples; ++i) {
      const float* row = &rows[c][i * d];
      for (std::size_t a = 0; a < d; ++a) {
        sum[a] += static_cast<double>(row[a]);
        for (std::size_t b = a; b < d; ++b) {
          products[a * d + b] += static_cast<double>(row[a]) * static_cast<double>(row[b]);
        }
      }
      if (i >= checked) continue;
      Row x(what.shape.pixels);
      for (std::size_t p = 0; p < x.size(); ++p) {
        x[p] = static_cast<double>(
            (*block)[(i / tile_lanes * x.size() + p) * tile_lanes + i % tile_lanes]);
      }
      std::size_t label = i % batch.labels();
      if (what.null_class && label >= *what.null_class) ++label;
      const Row image = plain.sample(x, candidate.steps, label);
      for (std::size_t p = 0; p < x.size(); ++p) {
        compare(static_cast<double>(got_images[i * x.size() + p]), image[p], 1, images.error);
      }
      const Row expected = features_of(network, image);
      for (std::size_t a = 0; a < d; ++a) {
        compare(static_cast<double>(row[a]), expected[a], 1, features.error);
      }
    }
    if (results[c].sums.count != candidate.samples) {
      sums.fault = "a wrong number of samples";
      continue;
    }
    const double scale = static_cast<double>(candidate.samples);
    for (std::size_t a = 0; a < d; ++a) {
      compare(results[c].sums.sum[a], sum[a], scale, sums.error);
      for (std::size_t b = a; b < d; ++b) {
        compare(results[c].sums.products[a * d + b], products[a * d + b], scale, sums.error);
      }
    }
    moments[c].count = candidate.samples;
    for (const double total : results[c].sums.sum) moments[c].mean.push_back(total / scale);
    const auto linear = draw(rng, d, 1);
    expansions[c].gradient.assign(linear.begin(), linear.end());
    expansions[c].curvature.resize(d * d);
    for (std::size_t a = 0; a < d; ++a) {
      for (std::size_t b = a; b < d; ++b) {
        expansions[c].curvature[a * d + b] = expansions[c].curvature[b * d + a] =
            rng.normal() / static_cast<double>(d);
      }
    }
    asked.push_back(c == 1 ? nullptr : &expansions[c]);
  }
  if (asked.size() == candidates.size()) {
    const auto got = batch.influences(moments, asked);
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      if (asked[c] == nullptr) continue;
      for (std::size_t i = 0; i < candidates[c].samples; ++i) {
        double expected = 0;
        for (std::size_t a = 0; a < d; ++a) {
          double change = expansions[c].gradient[a];
          for (std::size_t b = 0; b < d; ++b) {
            change += expansions[c].curvature[a * d + b] *
                      (static_cast<double>(rows[c][i * d + b]) - moments[c].mean[b]);
          }
          expected += change * (static_cast<double>(rows[c][i * d + a]) - moments[c].mean[a]);
        }
        compare(static_cast<double>(got[c][i]), expected, 1, influence.error);
      }
    }
  }

  // Again, alone, and after another batch has been through: the same bits.
  CheckResult again{what.name + ": the same alone and again", 0, 0, {}};
  const auto repeated = batch.sample(candidates, device.data(), device_stride);
  const auto alone = batch.sample({candidates.data(), 1}, device.data(), device_stride);
  const auto differs = [](const BatchResult& a, const BatchResult& b) {
    return a.finite != b.finite || a.sums.sum != b.sums.sum || a.sums.products != b.sums.products;
  };
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    if (differs(results[c], repeated[c])) again.fault = "a second run gave other sums";
  }
  if (differs(results[0], alone[0])) again.fault = "a candidate alone gave other sums";
  return {images, features, sums, influence, again};
}

CheckResult check_overflow(std::uint64_t seed) {
  CheckResult result{"overflow of one candidate", 0, 0, {}};
  Rng rng(seed, 8);
  const DenoiserShape shape{6, 1, 2, 5};
  DenoiserBatch batch(shape, {}, draw_features(rng, 5, 4, 3), 1);
  const auto alpha_bar = cosine_alpha_bar(1000);
  const BatchCandidate candidate{solver_steps(alpha_bar, {{500, Solver::ddim, {}}}), 20, 0};
  std::vector<float> weights = draw_denoiser(rng, shape);
  weights.resize(2 * batch.parameters());
  std::copy_n(weights.begin(), batch.parameters(),
              weights.begin() + static_cast<std::ptrdiff_t>(batch.parameters()));
  weights.back() = INFINITY;
  DeviceBuffer<float> device(weights.size());
  upload(weights.data(), weights.size(), device.data(), batch.stream());
  const std::vector<BatchCandidate> both(2, candidate);
  const auto results = batch.sample(both, device.data(), batch.parameters());
  if (!results[0].finite || results[1].finite) result.fault = "the wrong one counts as overflowed";
  return result;
}

}  // namespace

std::vector<CheckResult> check_diffusion_kernels(bool large, std::uint64_t seed) {
  const std::size_t n = large ? 2'000 : 75;
  std::vector<Case> cases = {
      {"odd shape, steps and samples differ",
       {10, 2, 3, 13},
       {},
       5,
       3,
       {{n, {900, 400.5, 20}}, {2, {999}}, {n / 2 + 1, {700, 100}}},
       {Solver::ddim},
       0.4},
      {"a class that stands for none", {8, 1, 4, 6}, 2, 4, 2, {{30, {500, 100}}}},
      {"all solvers, one network",
       {12, 1, 2, 9},
       {},
       4,
       3,
       {{20, {950, 800, 600, 400, 200, 50}}, {33, {900, 500, 300, 100, 10}}},
       {Solver::dpm_solver, Solver::plms, Solver::plms, Solver::plms, Solver::plms, Solver::ddim},
       0.2,
       true},
      {"wider than a tile", {70, 1, 3, 66}, {}, 65, 67, {{large ? n : 70, {800, 200}}}},
  };
  if (large) {
    Case digits{"digits", {64, 8, 10, 64}, {}, 128, 32, {}, {Solver::ddim}, 0.1};
    for (std::size_t c = 0; c < 16; ++c) {
      digits.candidates.push_back({1'000 + 61 * c, {936, 774, 562, 374, 182}});
    }
    cases.push_back(digits);
  }
  std::vector<CheckResult> results;
  for (const Case& what : cases) {
    const auto some = run_case(what, seed);
    results.insert(results.end(), some.begin(), some.end());
  }
  results.push_back(check_overflow(seed));
  return results;
}

}  // namespace paretod::cuda
